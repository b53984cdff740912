package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFilterMatches(t *testing.T) {
	for _, c := range []struct {
		filter, tag string
		want        bool
	}{
		{"", "", true},
		{"", "a.b", true},
		{"a.b", "a.b", true},
		{"a.b", "a.B", false},
		{"a.b", "a", false},
		{"a.b", "a.b.c", false},

		{"Stock.A.*", "Stock.A.600", true},
		{"Stock.A.*", "Stock.A.b.c", true},
		{"Stock.A.*", "Stock.A", false},
		{"Stock.*.x", "Stock.A.x", true},
		{"Stock.*.x", "Stock.A.b.x", false},
		{"Stock.+.x", "Stock.A.x", true},
		{"Stock.+", "Stock.A.x", false},
		{"Stock.#", "Stock", true},
		{"Stock.#", "Stock.A.b", true},
		{"Stock.#", "Stockholm", false},
		{"#.x", "a.b.x", true},
		{"#.x", "x", true},
		{"#.x", "a.b", false},
		{"a.#.z", "a.z", true},
		{"a.#.z", "a.b.c.z", true},
		{"a.#.b.#", "a.x.b", true},
		{"a.#.b.#", "a.x.c", false},

		{"a.*;b.*", "b.1", true},
		{"a.*;b.*", "c.1", false},
		{" a ; b ", "b", true},
		{";;", "x", true}, // no pattern at all

		{"*", "", false},
		{"+", "", false},
		{"#", "", true},
		{"a", "", false},
		{"*", "a", true},
		{"*", "a.b", true},
		{"a..b", "a..b", true},
		{"a.+.b", "a..b", true}, // an empty part is a part
		{"a..b", "a.b", false},
		{".a", ".a", true},
		{".a", "a", false},
		{"a.", "a.", true},
		{"a.", "a", false},
		{"a.*", "a.", true},

		{"!a.*", "a.x", false},
		{"!a.*", "b", true},
		{"!a.*", "", true},
		{"a.*;!a.x", "a.x", false},
		{"a.*;!a.x", "a.y", true},
		{"!a.x;a.*", "a.x", false}, // wherever it stands
		{"a.*;!a.x", "b", false},
		{"!a;!b", "c", true},
		{"!#", "a", false},
		{"!#", "", false},
	} {
		f, err := Parse(c.filter)
		if err != nil {
			t.Errorf("filter %q: %v", c.filter, err)
			continue
		}
		if got := f.Match(c.tag); got != c.want {
			t.Errorf("filter %q, tag %q: %t, want %t", c.filter, c.tag, got, c.want)
		}
		if f.String() != c.filter {
			t.Errorf("filter %q gives %q", c.filter, f)
		}
	}
}

func TestBadFilterIsRefused(t *testing.T) {
	for _, text := range []string{"!", "a;!", "! ", strings.Repeat("a", maxFilter+1)} {
		if _, err := Parse(text); !errors.As(err, new(*SyntaxError)) {
			t.Errorf("filter %.20q: %v, want a syntax error", text, err)
		}
	}
	if _, err := Parse(strings.Repeat("a", maxFilter)); err != nil {
		t.Errorf("filter of the largest size: %v", err)
	}
}

// Patterns with many # must not take forever on a tag that fits almost.
func TestHardFilterIsQuick(t *testing.T) {
	f, err := Parse(strings.Repeat("#.a.", 12) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if f.Match(strings.Repeat("a.", maxFilter/2) + "c") {
		t.Error("matches")
	}
}

func TestFilterSaysWhyItDoesNotMatch(t *testing.T) {
	for _, c := range []struct {
		filter, tag, pattern string
		part                 int
	}{
		{"a.b.c", "a.x.c", "a.b.c", 2},
		{"a.b.c", "x", "a.b.c", 1},
		{"a.b.c", "a.b", "a.b.c", 3},   // it ends too early
		{"a.b", "a.b.c", "a.b", 3},     // it is longer
		{"a.*", "a", "a.*", 2},         // a part is missing
		{"+.b", "a.c", "+.b", 2},       //
		{"x.y;a.b", "a.c", "a.b", 2},   // the one that came closest
		{"a.c;a.d", "a.b", "a.c", 2},   // the first of equals
		{"a.#.z", "a.b.c", "a.#.z", 3}, // what follows # is held against the end
		{"#.z.y", "a", "#.z.y", 2},     // which may be too near
		{"a", "", "a", 1},              // no tag
		{"a.*;!a.x", "a.x", "!a.x", 0}, // shut out
		{"!a.#", "a.x", "!a.#", 0},     //
		{"a;!b", "c", "a", 1},          // not let in, rather than shut out
		{"#;!#", "", "!#", 0},
	} {
		f, err := Parse(c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if pattern, part, ok := f.Mismatch(c.tag); pattern != c.pattern || part != c.part || !ok {
			t.Errorf("filter %q, tag %q: %q at %d (%t), want %q at %d", c.filter, c.tag, pattern, part, ok, c.pattern, c.part)
		}
	}
}

func TestMismatchIsTheContraryOfMatch(t *testing.T) {
	words := rapid.SampledFrom([]string{"a", "b", "+", "*", "#", "", "!a"})
	joined := func(sep string) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(words, 1, 4), func(w []string) string { return strings.Join(w, sep) })
	}
	texts := rapid.Map(rapid.SliceOfN(joined("."), 1, 3), func(p []string) string { return strings.Join(p, ";") })
	rapid.Check(t, func(t *rapid.T) {
		f, err := Parse(texts.Draw(t, "filter"))
		if err != nil {
			t.Skip(err)
		}
		tag := joined(".").Draw(t, "tag")
		pattern, part, ok := f.Mismatch(tag)
		if ok == f.Match(tag) {
			t.Fatalf("filter %q, tag %q: matches %t, does not: %t", f, tag, f.Match(tag), ok)
		}
		if !ok {
			return
		}
		shuts, err := Parse(pattern)
		if err != nil || shuts.Match(tag) || !slices.Contains(strings.Split(f.String(), ";"), pattern) {
			t.Fatalf("filter %q, tag %q: it is said to be %q", f, tag, pattern)
		}
		if excluded := strings.HasPrefix(pattern, "!"); excluded != (part == 0) || part < 0 || part > strings.Count(tag, ".")+2 {
			t.Fatalf("filter %q, tag %q: %q at part %d", f, tag, pattern, part)
		}
	})
}
