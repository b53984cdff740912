package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// errFieldsJSON is the base of all errors of RangeJSON.
var errFieldsJSON = errors.New("bad header object")

// AppendJSON appends fields as one JSON object of strings, in order, and of
// fields with the same name only the last; nothing at all if there are no fields.
//
// The result is valid JSON for any bytes and RangeJSON gives back the same
// bytes. A byte b that is not part of valid UTF-8 is written as the lone
// surrogate U+DC00+b, \udc80 to \udcff, which valid UTF-8 cannot contain; other
// readers of the JSON see a replacement character there.
func AppendJSON(dst []byte, fields []Field) []byte {
	if len(fields) == 0 {
		return dst
	}
	separator := byte('{')
	for i := range fields {
		if repeated(fields[i].Name, fields[i+1:]) {
			continue
		}
		dst = append(dst, separator)
		dst = appendQuoted(dst, fields[i].Name)
		dst = append(dst, ':')
		dst = appendQuoted(dst, fields[i].Value)
		separator = ','
	}
	return append(dst, '}')
}

func repeated(name string, later []Field) bool {
	for i := range later {
		if later[i].Name == name {
			return true
		}
	}
	return false
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s) {
		dst = append(dst, s...)
		return append(dst, '"')
	}
	for len(s) > 0 {
		c, size := utf8.DecodeRuneInString(s)
		switch {
		case c == utf8.RuneError && size == 1:
			dst = appendEscape(dst, 0xdc00|uint16(s[0]))
		case c < ' ':
			dst = appendEscape(dst, uint16(c))
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		default:
			dst = append(dst, s[:size]...)
		}
		s = s[size:]
	}
	return append(dst, '"')
}

// plain reports whether s is ASCII that JSON needs no escape for.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendEscape(dst []byte, u uint16) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}

// RangeJSON calls fn for each member of a JSON object of strings, in order,
// until fn returns false. The empty string has no members. Names and values
// without escapes are parts of s. An object that is not of this form is an
// error, after the members before it have been given to fn.
func RangeJSON(s string, fn func(name, value string) bool) error {
	if s == "" {
		return nil
	}
	p := jsonParser{rest: s}
	if !p.take('{') {
		return p.fail("an object")
	}
	if p.take('}') {
		return p.end()
	}
	for {
		name, ok := p.quoted()
		if !ok {
			return p.fail("a name in quotes")
		}
		if !p.take(':') {
			return p.fail("a colon")
		}
		value, ok := p.quoted()
		if !ok {
			return p.fail("a value in quotes")
		}
		if !fn(name, value) {
			return nil
		}
		if p.take('}') {
			return p.end()
		}
		if !p.take(',') {
			return p.fail("a comma or the end of the object")
		}
	}
}

type jsonParser struct{ rest string }

func (p *jsonParser) fail(want string) error {
	return fmt.Errorf("%w: want %s %d bytes before its end", errFieldsJSON, want, len(p.rest))
}

func (p *jsonParser) end() error {
	if p.skipSpace(); p.rest != "" {
		return p.fail("nothing")
	}
	return nil
}

func (p *jsonParser) skipSpace() {
	for p.rest != "" && (p.rest[0] == ' ' || p.rest[0] == '\t' || p.rest[0] == '\n' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

func (p *jsonParser) take(c byte) bool {
	p.skipSpace()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// quoted takes a string. It is copied only if it has an escape.
func (p *jsonParser) quoted() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	for i := range len(p.rest) {
		switch c := p.rest[i]; {
		case c == '"':
			s := p.rest[:i]
			p.rest = p.rest[i+1:]
			return s, true
		case c == '\\':
			return p.unescape(i)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// unescape takes the rest of a string whose first escape is at i.
func (p *jsonParser) unescape(i int) (string, bool) {
	var b strings.Builder
	b.WriteString(p.rest[:i])
	s := p.rest[i:]
	for s != "" {
		switch c := s[0]; {
		case c == '"':
			p.rest = s[1:]
			return b.String(), true
		case c == '\\':
			n := writeEscape(&b, s)
			if n == 0 {
				return "", false
			}
			s = s[n:]
		case c < ' ':
			return "", false
		default:
			b.WriteByte(c)
			s = s[1:]
		}
	}
	return "", false
}

// writeEscape writes what the escape at the start of s stands for and returns
// its length, 0 if it is none.
func writeEscape(b *strings.Builder, s string) int {
	const short, meaning = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if len(s) < 2 {
		return 0
	}
	if i := strings.IndexByte(short, s[1]); i >= 0 {
		b.WriteByte(meaning[i])
		return 2
	}
	u, ok := escapedUnit(s)
	if !ok {
		return 0
	}
	if low, ok := escapedUnit(s[6:]); ok {
		if pair := utf16.DecodeRune(u, low); pair != utf8.RuneError {
			b.WriteRune(pair)
			return 12
		}
	}
	if u >= 0xdc80 && u <= 0xdcff { // a byte that was not UTF-8
		b.WriteByte(byte(u))
	} else {
		b.WriteRune(u) // other lone surrogates become U+FFFD
	}
	return 6
}

// escapedUnit reads \u and its four hex digits.
func escapedUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	u := rune(0)
	for i := 2; i < 6; i++ {
		v, ok := hexDigit(s[i])
		if !ok {
			return 0, false
		}
		u = u<<4 | rune(v)
	}
	return u, true
}
