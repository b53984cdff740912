package cli

import (
	"fmt"
	"unicode/utf8"
)

// Visible is text for a terminal: what would steer it (control characters but for line
// ends and tabs, and those that turn the direction of the text) and what is no UTF-8 is
// shown as an escape, such as \x1b. Names, headers and bodies are what others have sent.
func Visible(text []byte) []byte {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if steers(r, size) {
			return visible(text, at)
		}
		at += size
	}
	return text
}

// visible is Visible for text with something at an offset.
func visible(text []byte, at int) []byte {
	shown := append(make([]byte, 0, len(text)+64), text[:at]...)
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		switch {
		case !steers(r, size):
			shown = append(shown, text[at:at+size]...)
		case size == 1:
			shown = fmt.Appendf(shown, `\x%02x`, text[at])
		default:
			shown = fmt.Appendf(shown, `\u%04x`, r)
		}
		at += size
	}
	return shown
}

// steers reports whether a terminal obeys a character instead of showing it, or, for a size
// of 1, whether it is a byte that is part of none.
func steers(r rune, size int) bool {
	switch {
	case r == utf8.RuneError:
		return size == 1
	case r == '\n' || r == '\t':
		return false
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return true
	}
	return r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
