package wire

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestOffsetsAreAListOfRanges(t *testing.T) {
	for text, want := range map[string][]int64{
		"0": {0}, "3,5-9": {3, 5, 6, 7, 8, 9}, "0-1,3,7-8": {0, 1, 3, 7, 8}, "9223372036854775806": {math.MaxInt64 - 1},
	} {
		got, ok := ParseOffsets(text, 10)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s is read as %v, %v", text, got, ok)
		}
		if back := string(AppendOffsets(nil, want)); back != text {
			t.Errorf("%v is written as %s, want %s", want, back, text)
		}
	}
	for _, text := range []string{"", ",", "-1", "1-", "3,2", "2,2", "5-3", "1,,2", "0-10", "1-9223372036854775807", "a", "1-2-3", "99999999999999999999"} {
		if got, ok := ParseOffsets(text, 10); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func FuzzParseOffsets(f *testing.F) {
	f.Add("3,5-9")
	f.Add("9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseOffsets(text, 100)
		if !ok {
			return
		}
		if len(got) == 0 || len(got) > 100 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%q is read as %v", text, got)
		}
		again, ok := ParseOffsets(string(AppendOffsets(nil, got)), 100)
		if !ok || !slices.Equal(again, got) {
			t.Fatalf("%q is %v, and then %v", text, got, again)
		}
		if strings.ContainsAny(text, " \t") {
			t.Fatalf("%q is read", text)
		}
	})
}
