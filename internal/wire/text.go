package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// CheckJSON says what a document of JSON has that no text can: bytes that are not
// UTF-8, or the escape of half a surrogate pair. Decoders put a replacement character
// in its place, and what is stored then is not what was sent. The error is the rest
// of a sentence about the document. It is nil for much that is not JSON.
func CheckJSON(raw []byte) error {
	if !utf8.Valid(raw) {
		return fmt.Errorf("is not UTF-8 at byte %d", invalidAt(raw))
	}
	for at := 0; ; {
		i := bytes.IndexByte(raw[at:], '\\')
		if i < 0 || at+i+1 >= len(raw) {
			return nil
		}
		at += i
		u, ok := unitAt(raw, at)
		switch {
		case !ok:
			at += 2
		case !utf16.IsSurrogate(u):
			at += escapeLen
		default:
			if low, _ := unitAt(raw, at+escapeLen); utf16.DecodeRune(u, low) == utf8.RuneError {
				return errors.New("has half a character, " + string(raw[at:at+escapeLen]) + " at byte " + strconv.Itoa(at))
			}
			at += 2 * escapeLen
		}
	}
}

// CountJSON is how many values a JSON document has in objects and arrays, and how many of
// these there are: what is decoded takes memory for each, however short its text is. It is
// about that for what is not JSON.
func CountJSON(raw []byte) (n int) {
	for at := 0; at < len(raw); at++ {
		switch raw[at] {
		case ',', '{', '[':
			n++
		case '"':
			for at++; at < len(raw) && raw[at] != '"'; at++ {
				if raw[at] == '\\' {
					at++
				}
			}
		}
	}
	return n
}

// escapeLen is the length of an escape like \u00e9.
const escapeLen = 6

// unitAt reads such an escape, if there is one.
func unitAt(raw []byte, at int) (u rune, ok bool) {
	if at+escapeLen > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[at+2:at+escapeLen]), 16, 16)
	return rune(n), err == nil
}

// invalidAt finds the first byte that is not part of UTF-8.
func invalidAt(raw []byte) (at int) {
	for at < len(raw) {
		r, size := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return at
}
