package bytesize

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "12B": 12, "1kb": 1000, "1KiB": 1024, "2 k": 2048, "64MiB": 64 << 20, "10GB": 10_000_000_000, "10gib": 10 << 30, "512Mi": 512 << 20, "1ki": 1024, "2 Gi": 2 << 30, "3Ti": 3 << 40, "3T": 3 << 40, "1TB": 1e12,
		"9223372036854775807": 1<<63 - 1,
	} {
		if n, ok := Parse(text); !ok || n != want {
			t.Errorf("%s is read as %d, %v, want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{"", "B", "GiB", "-1", "+1", "1.5GiB", "1PB", "1 0", "8388608TiB", "9223372036854775808", "one"} {
		if n, ok := Parse(text); ok {
			t.Errorf("%q is read as %d", text, n)
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		if shift := rapid.IntRange(0, 40).Draw(t, "shift"); shift > 0 {
			n = n >> 41 << shift
		}
		if got, ok := Parse(Format(n)); !ok || got != n {
			t.Fatalf("%d is written as %s, and read as %d, %v", n, Format(n), got, ok)
		}
	})
}
