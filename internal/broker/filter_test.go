package broker

import (
	"strings"
	"testing"
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
		f, err := ParseFilter(c.filter)
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
		if _, err := ParseFilter(text); CodeOf(err) != Invalid || err == nil {
			t.Errorf("filter %.20q: %v, want invalid", text, err)
		}
	}
	if _, err := ParseFilter(strings.Repeat("a", maxFilter)); err != nil {
		t.Errorf("filter of the largest size: %v", err)
	}
}

// Patterns with many # must not take for ever on a tag that fits almost.
func TestHardFilterIsQuick(t *testing.T) {
	f, err := ParseFilter(strings.Repeat("#.a.", 12) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if f.Match(strings.Repeat("a.", MaxTag/2) + "c") {
		t.Error("matches")
	}
}
