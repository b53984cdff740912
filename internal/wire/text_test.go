package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzJSONThatIsCheckedIsDecodedAsItWasWritten(f *testing.F) {
	for _, s := range []string{`"é"`, "\"\xe9\"", `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\\ud83d"`, `"\ud83d\n"`, `"\u`, `\`, `"\ufffd"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := CheckJSON([]byte(text))
		if !utf8.ValidString(text) && err == nil {
			t.Fatal("it is not UTF-8")
		}
		var s string
		if json.Unmarshal([]byte(text), &s) != nil {
			return
		}
		written := strings.Count(text, "\ufffd") + strings.Count(strings.ToLower(text), `\ufffd`)
		switch read := strings.Count(s, "\ufffd"); {
		case err == nil && read > written:
			t.Fatalf("%q has become %q", text, s)
		case err != nil && read <= strings.Count(text, "\ufffd") && !strings.Contains(strings.ToLower(text), `\ufffd`):
			t.Fatalf("%q is refused: %v", text, err)
		}
	})
}
