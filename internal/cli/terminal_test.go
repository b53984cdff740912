package cli

import "testing"

func TestTerminalsAreNotSteered(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ünïcode 世界 🙂\n\tindented\n":          "plain, ünïcode 世界 🙂\n\tindented\n",
		"\x1b[31mred\x1b]0;title\a":                  `\x1b[31mred\x1b]0;title\x07`,
		"over\rwritten\b\x7f":                        `over\x0dwritten\x08\x7f`,
		"C1: \u009b31m":                              `C1: \u009b31m`,
		"turned: \u202egpj.exe\u2066\u200f":          `turned: \u202egpj.exe\u2066\u200f`,
		"no UTF-8: \xff\x9b31m":                      `no UTF-8: \xff\x9b31m`,
		"a replacement that was written: \ufffd\x00": "a replacement that was written: \ufffd" + `\x00`,
	} {
		if got := string(Visible([]byte(text))); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
