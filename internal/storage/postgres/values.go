package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// encode turns values into parameters in PostgreSQL's binary format: of bigint, text, bytea or
// boolean columns.
func encode(values []any) [][]byte {
	list := make([][]byte, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case int64:
			list[i] = binary.BigEndian.AppendUint64(nil, uint64(v))
		case string:
			list[i] = escape(v)
		case []byte:
			list[i] = v
		case bool:
			list[i] = []byte{0}
			if v {
				list[i][0] = 1
			}
		}
	}
	return list
}

const escaped = `\x`

// escape is a text as a column can hold it: it can't hold a zero byte, nor what is no UTF-8.
func escape(s string) []byte {
	if utf8.ValidString(s) && !strings.Contains(s, "\x00") && !strings.HasPrefix(s, escaped) {
		return []byte(s)
	}
	return hex.AppendEncode([]byte(escaped), []byte(s))
}

// text reads what escape wrote.
func text(b []byte) string {
	if strings.HasPrefix(string(b), escaped) {
		if raw, err := hex.DecodeString(string(b[len(escaped):])); err == nil {
			return string(raw)
		}
	}
	return string(b)
}

// integer reads a bigint. NULL is 0.
func integer(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func truth(b []byte) bool { return len(b) == 1 && b[0] != 0 }
