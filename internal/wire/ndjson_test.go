package wire

import "testing"

func TestLinesOfJSON(t *testing.T) {
	for _, c := range []struct {
		line   string
		number int
		want   string
		ok     bool
	}{
		{"{}\n", 1, "{}", true},
		{"\ufeff{}\r\n", 1, "{}", true},
		{"{}\r\n", 2, "{}", true},
		{" \t\r\n", 3, "", true},
		{"\ufeff", 1, "", true},
		{"\ufeff{}\n", 2, "", false},
		{"\xff\xfe{\x00}\x00\n", 1, "", false},
	} {
		got, err := JSONLine([]byte(c.line), c.number)
		if string(got) != c.want || (err == nil) != c.ok {
			t.Errorf("%q, line %d: %q, %v", c.line, c.number, got, err)
		}
	}
}
