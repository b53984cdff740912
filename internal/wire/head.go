package wire

import (
	"bytes"
	"fmt"
	"strconv"
)

const (
	maxBlankLines   = 2  // skipped before a start line
	maxLengthDigits = 18 // of a content-length; any such number fits an int64
	codingChunked   = "chunked"
)

// head is how far the head of the frame at the front of the buffer has been
// scanned. It is owned by the Reader. All positions count from the start of the
// frame, so they stay true when the buffer moves, and no byte is looked at
// twice however slowly it arrives.
type head struct {
	size    int // length with the empty line; 0 while that has not arrived
	line    int // where the line being scanned starts
	seen    int // no LF between line and here
	blank   int // empty lines skipped before the start line
	lines   int // header lines, framing ones included
	started bool

	start  startLine
	fields []fieldSpan // without the framing ones

	length    int64 // content-length
	hasLength bool
	chunked   bool
	expects   bool // 100-continue
}

type startLine struct {
	method, url, urlEnd int // the method is [0:method], the URL [url:urlEnd]
	status, reason, end int // the reason is [reason:end]
	minor               int
	malformed           bool
}

// fieldSpan is where one header line is: [name:colon] and [value:end].
type fieldSpan struct{ name, colon, value, end int32 }

// scanHead continues with the head at the front of the buffer and reports whether
// it is complete. What it decides depends only on the bytes up to the line that
// it decides on, never on how many have arrived after it.
func (r *Reader) scanHead() (bool, error) {
	if r.err != nil {
		return false, r.err
	}
	h := &r.head
	for h.size == 0 {
		b := r.Buffered()
		i := bytes.IndexByte(b[h.seen:], '\n')
		if i < 0 {
			h.seen = len(b)
			if len(b) > r.lim.Head {
				return false, r.headTooLong()
			}
			return false, nil
		}
		lf := h.seen + i
		if lf >= r.lim.Head {
			return false, r.headTooLong()
		}
		if lf == h.line || b[lf-1] != '\r' {
			return false, r.refuse(400, "bare line feed in the head; lines end in CR LF")
		}
		h.seen = lf + 1
		if err := r.scanLine(b[h.line : lf-1]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// scanLine takes the next line of the head, without its CR LF.
func (r *Reader) scanLine(line []byte) error {
	h := &r.head
	switch {
	case len(line) == 0 && !h.started:
		if h.blank == maxBlankLines {
			return r.refuse(400, "empty lines in place of a start line; at most 2 are skipped")
		}
		r.start += h.seen
		*h = head{fields: h.fields, blank: h.blank + 1}
		return nil
	case len(line) == 0:
		h.size = h.seen
		return nil
	case !h.started:
		h.started = true
		h.start = parseStart(line)
		if h.start.malformed && bytes.ContainsAny(line, "\x00\r") {
			return r.refuse(400, "NUL or bare carriage return in the start line; use METHOD SP URL SP HTTP/1.1")
		}
	default:
		if err := r.scanField(line); err != nil {
			return err
		}
	}
	h.line = h.seen
	return nil
}

func parseStart(line []byte) startLine {
	response := startsLikeResponse(line)
	if response {
		if s, ok := parseStatus(line); ok {
			return s
		}
	}
	s := startLine{minor: 1, malformed: true, method: len(line), url: len(line), urlEnd: len(line)}
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 {
		return s
	}
	s.method, s.url = first, first+1
	if first == last {
		return s
	}
	s.urlEnd = last
	minor, ok := parseVersion(line[last+1:])
	s.minor = minor
	s.malformed = response || !ok || !validMethod(line[:first]) || !validTarget(line[s.url:last])
	return s
}

// parseStatus takes a status line apart. A line without a status of three
// digits is not one.
func parseStatus(line []byte) (startLine, bool) {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return startLine{}, false
	}
	status := 0
	for _, c := range rest[:3] {
		if c < '0' || c > '9' {
			return startLine{}, false
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return startLine{}, false
	}
	minor, ok := parseVersion(version)
	s := startLine{status: status, minor: minor, end: len(line)}
	s.reason = min(len(version)+len(" 200 "), len(line))
	s.malformed = !ok || !noControls(line[s.reason:])
	return s, true
}

// parseVersion reads HTTP/1.x. Every other version token is taken for 1.1 and
// is not ok.
func parseVersion(v []byte) (minor int, ok bool) {
	if len(v) != len("HTTP/1.1") || string(v[:7]) != "HTTP/1." || v[7] < '0' || v[7] > '9' {
		return 1, false
	}
	return min(int(v[7]-'0'), 1), true
}

// scanField takes one header line, which starts at head.line.
func (r *Reader) scanField(line []byte) error {
	h := &r.head
	if h.lines++; h.lines > r.lim.Fields {
		return r.refuse(431, fmt.Sprintf("more than %d header lines", r.lim.Fields))
	}
	colon, _ := scanToken(line)
	if colon == 0 || colon > maxName || colon == len(line) || line[colon] != ':' {
		return r.badName(line, colon)
	}
	value, end := colon+1, len(line)
	for value < end && isBlank(line[value]) {
		value++
	}
	for end > value && isBlank(line[end-1]) {
		end--
	}
	if !noControls(line[value:end]) {
		return r.refuse(400, fmt.Sprintf("control character in the value of header %q", line[:colon]))
	}
	switch name := line[:colon]; {
	case foldEqual(name, HeaderContentLength):
		return r.scanLength(line[value:end])
	case foldEqual(name, HeaderTransferEncoding):
		return r.scanCoding(line[value:end])
	case foldEqual(name, HeaderExpect):
		h.expects = h.start.minor == 1 && foldEqual(line[value:end], "100-continue")
	}
	at := int32(h.line)
	h.fields = append(h.fields, fieldSpan{at, at + int32(colon), at + int32(value), at + int32(end)})
	return nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// badName says what is wrong with a header line whose first colon is not where
// its token ends.
func (r *Reader) badName(line []byte, token int) error {
	switch {
	case isBlank(line[0]):
		return r.refuse(400, "folded header line; write each header on one line")
	case token > maxName:
		return r.refuse(400, fmt.Sprintf("header name of more than %d bytes", maxName))
	case token == len(line):
		return r.refuse(400, "header line without a colon; write name: value")
	case token == 0 && line[0] == ':':
		return r.refuse(400, "header line without a name; write name: value")
	case isBlank(line[token]):
		return r.refuse(400, "space in a header name or before its colon; write name: value")
	}
	return r.refuse(400, fmt.Sprintf("byte %#02x in a header name; use letters, digits, - and _", line[token]))
}

func (r *Reader) scanLength(value []byte) error {
	h := &r.head
	switch {
	case h.hasLength:
		return r.refuse(400, "content-length given twice; give it once")
	case h.chunked:
		return r.refuse(400, "content-length together with transfer-encoding; give one of them")
	case len(value) == 0 || len(value) > maxLengthDigits:
		return r.refuse(400, "bad content-length; give 1 to 18 decimal digits")
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return r.refuse(400, "bad content-length; give 1 to 18 decimal digits")
		}
		h.length = h.length*10 + int64(c-'0')
	}
	h.hasLength = true
	return nil
}

func (r *Reader) scanCoding(value []byte) error {
	h := &r.head
	switch {
	case h.chunked:
		return r.refuse(400, "transfer-encoding given twice; give it once")
	case h.hasLength:
		return r.refuse(400, "transfer-encoding together with content-length; give one of them")
	case h.start.minor == 0:
		return r.refuse(400, "transfer-encoding in an HTTP/1.0 message; give a content-length")
	case !foldEqual(value, codingChunked):
		return r.refuse(501, "unknown transfer-encoding "+strconv.Quote(string(value))+"; only chunked is known")
	}
	h.chunked = true
	return nil
}

func (r *Reader) headTooLong() error {
	return r.refuse(431, fmt.Sprintf("head of more than %d bytes", r.lim.Head))
}
