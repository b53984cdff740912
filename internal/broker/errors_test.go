package broker

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExcerptIsShortAndCutBetweenCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		strings.Repeat("a", 64): strings.Repeat("a", 64),
		strings.Repeat("a", 65): strings.Repeat("a", 64) + "…",
		strings.Repeat("ä", 33): strings.Repeat("ä", 32) + "…",
		strings.Repeat("€", 22): strings.Repeat("€", 21) + "…",
	} {
		if got := Excerpt(in); got != want || !utf8.ValidString(got) {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
