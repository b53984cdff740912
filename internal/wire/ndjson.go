package wire

import (
	"bytes"
	"errors"
)

// JSONLine is what a line of newline-delimited JSON has, without its end (LF or CR LF),
// white space, and on the first line, number 1, a byte order mark. It is empty for a line
// to be passed over. An error is for the one who wrote the line.
func JSONLine(line []byte, number int) ([]byte, error) {
	for _, mark := range [][]byte{{0xff, 0xfe}, {0xfe, 0xff}} {
		if bytes.HasPrefix(line, mark) {
			return nil, errors.New("it is not in UTF-8 but in UTF-16")
		}
	}
	rest, marked := bytes.CutPrefix(line, []byte("\ufeff"))
	if marked && number > 1 {
		return nil, errors.New("it begins with a byte order mark, which only the first line may")
	}
	return bytes.TrimSpace(rest), nil
}
