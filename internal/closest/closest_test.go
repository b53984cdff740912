package closest

import (
	"strings"
	"testing"
)

func TestHintNamesWhatWasMeantAndNothingElse(t *testing.T) {
	names := []string{"actor", "after", "id", "tag", "key", "to", "body", "bodyBase64", "headers", "group", "filter", "maxDeliver", "produce"}
	for given, want := range map[string]string{
		"gruop":         "group",
		"filtre":        "filter",
		"Filter":        "filter",
		"FILTRE":        "filter",
		"AFTER":         "after", // and not the one that is as far off when case counts
		"boddy":         "body",
		"bodybase":      "bodyBase64", // it was cut short
		"maxDeliveries": "maxDeliver", // it is longer
		"tga":           "tag",
		"ids":           "id",
		"header":        "headers",

		"":       "",
		"x":      "",
		"if":     "id", // one edit, as small as it is
		"no":     "to",
		"xy":     "",
		"foo":    "", // two edits from "to" leave nothing of it
		"colour": "",
		"dance":  "",
		"pr":     "",
	} {
		if want != "" {
			want = ` (did you mean "` + want + `"?)`
		}
		if got := Hint(given, "%q", names); got != want {
			t.Errorf("%q: got %s, want %s", given, got, want)
		}
	}
	if got := Hint("gruop", "--%s", nil); got != "" {
		t.Errorf("without names: got %s", got)
	}
}

func TestHintForALongWordIsQuick(t *testing.T) {
	long := strings.Repeat("filter", 10<<20)
	if got := Hint(long, "%q", []string{"filter", "tag"}); got != "" {
		t.Errorf("got %.100s", got)
	}
}

func TestClosestIsTheFirstOfThoseWithTheFewestEdits(t *testing.T) {
	for _, c := range []struct {
		given, want string
		names       []string
	}{
		{"lisen", "listen", []string{"data", "listen", "lisp"}},
		{"ab", "aa", []string{"aa", "bb"}},
		{"anything", "z", []string{"z"}},
		{"anything", "", nil},
	} {
		if got := To(c.given, c.names); got != c.want {
			t.Errorf("%s: got %q, want %q", c.given, got, c.want)
		}
	}
}
