package broker

import "strings"

// Filter decides by its tag whether a group gets a message. It is compiled once
// and never changed, so any number of goroutines may use it.
//
// A filter is a list of patterns separated by ";". A message passes when one of
// them matches its tag; a pattern with a leading "!" shuts out what it matches,
// whatever the others say, and a list of only such patterns lets all the rest
// through. Pattern and tag are compared part by part, parts being separated by
// ".", with regard to case: "+" is one part, whatever it is; "*" is one or more
// parts at the end of a pattern, and one part elsewhere; "#" is any number of
// parts, none included.
//
// A message without a tag passes the empty filter and "#" only.
type Filter struct {
	text    string
	include [][]string
	exclude [][]string
}

// maxFilter bounds the text of a filter, in bytes.
const maxFilter = 1024

// ParseFilter compiles a filter. The empty text lets everything through.
func ParseFilter(text string) (*Filter, error) {
	if len(text) > maxFilter {
		return nil, errorf(Invalid, "filter has %d bytes: at most %d are allowed", len(text), maxFilter)
	}
	f := &Filter{text: text}
	for pattern := range strings.SplitSeq(text, ";") {
		pattern = strings.TrimSpace(pattern)
		pattern, negated := strings.CutPrefix(pattern, "!")
		if pattern == "" {
			if negated {
				return nil, errorf(Invalid, "filter %q: nothing follows the !", text)
			}
			continue
		}
		if parts := strings.Split(pattern, "."); negated {
			f.exclude = append(f.exclude, parts)
		} else {
			f.include = append(f.include, parts)
		}
	}
	return f, nil
}

// String gives the text the filter was made from.
func (f *Filter) String() string { return f.text }

// All reports whether the filter lets everything through.
func (f *Filter) All() bool { return len(f.include) == 0 && len(f.exclude) == 0 }

// Match reports whether a message with this tag ("" for none) passes.
func (f *Filter) Match(tag string) bool {
	for _, p := range f.exclude {
		if matchParts(p, tag, tag != "") {
			return false
		}
	}
	for _, p := range f.include {
		if matchParts(p, tag, tag != "") {
			return true
		}
	}
	return len(f.include) == 0
}

// matchParts compares a pattern with a tag; more says whether the tag has a part
// left (a part may be empty, so the text alone cannot tell). Only the last "#"
// met is ever tried again, with one part more: what an earlier one could take,
// this one can take as well. So the cost is at most pattern times tag.
func matchParts(pattern []string, tag string, more bool) bool {
	var again []string // behind the last "#"
	var rest string    // what it has not taken
	met, left := false, false
	for {
		switch {
		case len(pattern) == 0 && !more, len(pattern) == 1 && pattern[0] == "*" && more:
			return true
		case len(pattern) > 0 && pattern[0] == "#":
			pattern = pattern[1:]
			again, rest, met, left = pattern, tag, true, more
			continue
		case len(pattern) > 0 && more:
			part, behind, follows := strings.Cut(tag, ".")
			if want := pattern[0]; want == "+" || want == "*" || want == part {
				pattern, tag, more = pattern[1:], behind, follows
				continue
			}
		}
		if !met || !left {
			return false
		}
		_, rest, left = strings.Cut(rest, ".")
		pattern, tag, more = again, rest, left
	}
}
