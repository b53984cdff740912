// Package filter has the patterns that tags and names are held against.
package filter

import (
	"fmt"
	"strings"
)

// Filter decides by its tag whether a group gets a message. It is compiled once
// and never changed, so any number of goroutines may use it.
//
// A filter is a list of patterns separated by ";". A message passes when one of
// them matches its tag; a pattern with a leading "!" shuts out what it matches,
// whatever the others say, and a list of only such patterns lets all the rest
// through. Pattern and tag are compared part by part, parts being separated by
// ".", with regard to case: "+" is one part, whatever it is; "*" is one or more
// parts at the end of a pattern, and one part elsewhere; "#" is any number of
// parts, none included. A part may be empty: a tag may be any text, and "a..b"
// matches the tag "a..b".
//
// A message without a tag passes the empty filter and "#" only.
type Filter struct {
	text    string
	include [][]string
	exclude [][]string
}

// SyntaxError says what is wrong with the text of a filter.
type SyntaxError struct{ text string }

func (e *SyntaxError) Error() string { return e.text }

// ClientText is what a client may read.
func (e *SyntaxError) ClientText() string { return e.text }

// maxFilter bounds the text of a filter, in bytes.
const maxFilter = 1024

// Parse compiles a filter. The empty text lets everything through. An error is a [*SyntaxError].
func Parse(text string) (*Filter, error) {
	if len(text) > maxFilter {
		return nil, &SyntaxError{fmt.Sprintf("filter has %d bytes: at most %d are allowed", len(text), maxFilter)}
	}
	f := &Filter{text: text}
	for pattern := range strings.SplitSeq(text, ";") {
		pattern = strings.TrimSpace(pattern)
		pattern, negated := strings.CutPrefix(pattern, "!")
		if pattern == "" {
			if negated {
				return nil, &SyntaxError{fmt.Sprintf("filter %q: the pattern after ! is missing", text)}
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

// Mismatch says why a message with this tag does not pass: the pattern that came
// closest and the part of the tag, from 1, where it gave up; or the exclusion that
// matched, and part 0. It reports false when the message passes.
func (f *Filter) Mismatch(tag string) (pattern string, part int, ok bool) {
	if f.Match(tag) {
		return "", 0, false
	}
	for _, p := range f.exclude {
		if matchParts(p, tag, tag != "") {
			return "!" + strings.Join(p, "."), 0, true
		}
	}
	for _, p := range f.include {
		if n := reach(p, tag); n > part {
			pattern, part = strings.Join(p, "."), n
		}
	}
	return pattern, part, true
}

// reach is the part, from 1, at which a tag first differs from a pattern that does
// not match it. What follows a "#" is held against the end of the tag.
func reach(pattern []string, tag string) int {
	parts := strings.Split(tag, ".")
	if tag == "" {
		return 1
	}
	shift := 0
	for i, want := range pattern {
		if want == "#" {
			if shift = len(parts) - len(pattern); shift < -1 {
				return len(parts) + 1 // it is too short
			}
			continue
		}
		if at := i + shift; at >= len(parts) || want != "+" && want != "*" && want != parts[at] {
			return at + 1
		}
	}
	return len(pattern) + 1
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
