package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// outcome is everything that a stream comes to: its messages, then its error.
func outcome(src io.Reader, lim Limits, read func(*Reader) (*Message, error)) string {
	var out strings.Builder
	r := NewReader(src, lim)
	for {
		m, err := read(r)
		if err == nil {
			render(&out, m)
			continue
		}
		var refused *Error
		if errors.As(err, &refused) {
			fmt.Fprintf(&out, "%d %s", refused.Status, refused.Reason)
		} else {
			out.WriteString(err.Error())
		}
		if _, again := r.Read(); !errors.Is(again, err) {
			fmt.Fprintf(&out, "; then %v", again)
		}
		return out.String()
	}
}

// peekAndRead is Read by a caller who asks everything that may be asked first.
func peekAndRead(r *Reader) (*Message, error) {
	for {
		r.Peek()
		r.WantsContinue()
		r.PeekField("cmd")
		if m, err := r.Next(); m != nil || err != nil {
			return m, err
		}
		if err := r.Fill(); err != nil {
			return nil, err
		}
	}
}

// pieces returns at most n bytes a read.
type pieces struct {
	src io.Reader
	n   int
}

func (p pieces) Read(b []byte) (int, error) { return p.src.Read(b[:min(len(b), p.n)]) }

// sameInPieces fails unless data comes to the same outcome in reads of every
// kind, step bytes at a time among them. It returns the outcome.
func sameInPieces(t *testing.T, data []byte, step int, lim Limits) string {
	t.Helper()
	whole := outcome(bytes.NewReader(data), lim, (*Reader).Read)
	for _, tt := range []struct {
		name string
		src  io.Reader
		read func(*Reader) (*Message, error)
	}{
		{"one byte a read", iotest.OneByteReader(bytes.NewReader(data)), (*Reader).Read},
		{"some bytes a read", pieces{bytes.NewReader(data), step}, (*Reader).Read},
		{"the error with a read", iotest.DataErrReader(pieces{bytes.NewReader(data), step}), (*Reader).Read},
		{"peeking", bytes.NewReader(data), peekAndRead},
		{"peeking at each byte", iotest.OneByteReader(bytes.NewReader(data)), peekAndRead},
	} {
		if got := outcome(tt.src, lim, tt.read); got != whole {
			t.Errorf("%s: got\n%s\nwant, as in one read,\n%s", tt.name, got, whole)
		}
	}
	return whole
}

const (
	startGET = "GET / HTTP/1.1\r\n"
	headCmd  = startGET + "cmd: x\r\n"
	plainMsg = "request 1.1 \"GET\" \"/\"\n"
	cmdMsg   = plainMsg + "  cmd: \"x\"\n"
)

func TestFraming(t *testing.T) {
	small := Limits{Head: 80, Fields: 3, Body: 10}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing is a clean end", "", "EOF"},
		{"absent length is an empty body", startGET + "\r\n" + startGET + "\r\n", plainMsg + plainMsg + "EOF"},
		{"body of the limit", startGET + "content-length: 10\r\n\r\n0123456789", plainMsg + "  body \"0123456789\"\nEOF"},
		{"length with leading zeros", startGET + "content-length: 0002\r\n\r\nab", plainMsg + "  body \"ab\"\nEOF"},
		{"length in any case, with blanks", startGET + "Content-LENGTH:\t 2 \r\n\r\nab", plainMsg + "  body \"ab\"\nEOF"},
		{"end in the start line", "GET /", "unexpected EOF"},
		{"end in the head", headCmd, "unexpected EOF"},
		{"end in the body", startGET + "content-length: 3\r\n\r\nab", "unexpected EOF"},
		{"end in a chunk", startGET + "transfer-encoding: chunked\r\n\r\n3\r\nab", "unexpected EOF"},
		{"end before the last chunk", startGET + "transfer-encoding: chunked\r\n\r\n", "unexpected EOF"},
		{"two empty lines before a start line", "\r\n\r\n" + headCmd + "\r\n\r\n\r\n" + headCmd + "\r\n", cmdMsg + cmdMsg + "EOF"},
		{"empty lines at the end", headCmd + "\r\n\r\n\r\n", cmdMsg + "EOF"},
		{"three empty lines", "\r\n\r\n\r\n" + headCmd + "\r\n", "400 empty lines"},
		{"half an empty line at the end", headCmd + "\r\n\r", cmdMsg + "unexpected EOF"},

		{"bare LF after the start line", "GET / HTTP/1.1\n\r\n", "400 bare line feed"},
		{"bare LF after a header", startGET + "a: b\n\r\n", "400 bare line feed"},
		{"bare LF as the empty line", startGET + "\n", "400 bare line feed"},
		{"bare LF first", "\nGET / HTTP/1.1\r\n", "400 bare line feed"},
		{"bare CR in the start line", "GET /\r HTTP/1.1\r\n\r\n", "400 NUL or bare carriage return"},
		{"two CR in the start line", "GET / HTTP/1.1\r\r\n\r\n", "400 NUL or bare carriage return"},
		{"bare CR in a value", startGET + "a: b\rc: d\r\n\r\n", "400 control character in the value of header \"a\""},
		{"bare CR as the empty line", startGET + "\r\r\n", "400 byte 0x0d in a header name"},

		{"space before the colon", startGET + "a : b\r\n\r\n", "400 space in a header name"},
		{"tab before the colon", startGET + "a\t: b\r\n\r\n", "400 space in a header name"},
		{"space in a name", startGET + "a b: c\r\n\r\n", "400 space in a header name"},
		{"folded line", startGET + "a: b\r\n c\r\n\r\n", "400 folded header line"},
		{"folded with a tab", startGET + "a: b\r\n\tc: d\r\n\r\n", "400 folded header line"},
		{"space before the first header", startGET + " a: b\r\n\r\n", "400 folded header line"},
		{"no colon", startGET + "abc\r\n\r\n", "400 header line without a colon"},
		{"no name", startGET + ": b\r\n\r\n", "400 header line without a name"},
		{"control in a name", startGET + "a\x01: b\r\n\r\n", "400 byte 0x01 in a header name"},
		{"UTF-8 in a name", startGET + "\u00e9: b\r\n\r\n", "400 byte 0xc3 in a header name"},
		{"bracket in a name", startGET + "a(b: c\r\n\r\n", "400 byte 0x28 in a header name"},
		{"NUL in a value", startGET + "a: b\x00\r\n\r\n", "400 control character"},
		{"escape in a long value", startGET + "a: 0123456789\x1b0123456789\r\n\r\n", "400 control character"},
		{"DEL in a value", startGET + "a: 0123456\x7f\r\n\r\n", "400 control character"},
		{"tab and high bytes in a value", startGET + "a: 012\t3456\xff\xe4\xb8\xad\r\n\r\n", plainMsg + "  a: \"012\\t3456\\xff中\"\nEOF"},
		{"value with colons and blanks around", startGET + "A:\t x: y \t\r\n\r\n", plainMsg + "  a: \"x: y\"\nEOF"},
		{"empty values are kept", startGET + "ack: \r\nack:\r\n\r\n", plainMsg + "  ack: \"\"\n  ack: \"\"\nEOF"},

		{"length twice", startGET + "content-length: 1\r\ncontent-length: 2\r\n\r\nab", "400 content-length given twice"},
		{"equal length twice", startGET + "content-length: 1\r\nContent-Length: 1\r\n\r\na", "400 content-length given twice"},
		{"length with a sign", startGET + "content-length: +1\r\n\r\na", "400 bad content-length"},
		{"negative length", startGET + "content-length: -1\r\n\r\na", "400 bad content-length"},
		{"empty length", startGET + "content-length:\r\n\r\na", "400 bad content-length"},
		{"length in hex", startGET + "content-length: 0x1\r\n\r\na", "400 bad content-length"},
		{"list of lengths", startGET + "content-length: 1, 1\r\n\r\na", "400 bad content-length"},
		{"length of 19 digits", startGET + "content-length: 0000000000000000001\r\n\r\na", "400 bad content-length"},
		{"length of other digits", startGET + "content-length: \u0661\r\n\r\na", "400 bad content-length"},
		{"body over the limit", startGET + "content-length: 11\r\n\r\n", "413 body of more than 10 bytes"},
		{"body far over the limit", startGET + "content-length: 999999999999999999\r\n\r\n", "413 body"},

		{"length, then coding", startGET + "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "400 transfer-encoding together"},
		{"coding, then length", startGET + "transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", "400 content-length together"},
		{"coding twice", startGET + "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", "400 transfer-encoding given twice"},
		{"coding in HTTP/1.0", "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", "400 transfer-encoding in an HTTP/1.0"},
		{"another coding", startGET + "transfer-encoding: gzip\r\n\r\n", "501 unknown transfer-encoding \"gzip\""},
		{"two codings", startGET + "transfer-encoding: gzip, chunked\r\n\r\n", "501 unknown"},
		{"coding and junk", startGET + "transfer-encoding: chunked;x\r\n\r\n", "501 unknown"},
		{"empty coding", startGET + "transfer-encoding:\r\n\r\n", "501 unknown"},

		{"head over the limit without an end", startGET + "a: " + strings.Repeat("x", 80), "431 head of more than 80 bytes"},
		{"head over the limit with an end", startGET + "a: " + strings.Repeat("x", 80) + "\r\n\r\n", "431 head of more than 80 bytes"},
		{"head of the limit", startGET + "a: " + strings.Repeat("x", 57) + "\r\n\r\n", plainMsg + "  a: \"" + strings.Repeat("x", 57) + "\"\nEOF"},
		{"head one over the limit", startGET + "a: " + strings.Repeat("x", 58) + "\r\n\r\n", "431 head"},
		{"start line over the limit", strings.Repeat("x", 81), "431 head"},
		{"too many fields", startGET + "a:1\r\nb:2\r\nc:3\r\nd:4\r\n", "431 more than 3 header lines"},
		{"a framing field counts", startGET + "a:1\r\nb:2\r\nc:3\r\ncontent-length:0\r\n", "431 more than 3 header lines"},
		{"as many fields as allowed", startGET + "a:1\r\nb:2\r\nc:3\r\n\r\n", plainMsg + "  a: \"1\"\n  b: \"2\"\n  c: \"3\"\nEOF"},
	} {
		t.Run(tt.name, func(t *testing.T) { checkOutcome(t, sameInPieces(t, []byte(tt.in), 3, small), tt.want) })
	}
}

// checkOutcome compares the beginning only where want ends in an error's status
// and first words.
func checkOutcome(t *testing.T, got, want string) {
	t.Helper()
	if got != want && (strings.HasSuffix(want, "EOF") || !strings.HasPrefix(got, want)) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestChunkedBody(t *testing.T) {
	const chunked = startGET + "Transfer-Encoding: Chunked\r\n\r\n"
	const badSize = "400 bad chunk size line"
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "0\r\n\r\n", plainMsg + "EOF"},
		{"two chunks and another message", "3\r\nabc\r\n02\r\nde\r\n000\r\n\r\n" + headCmd + "\r\n", plainMsg + "  body \"abcde\"\n" + cmdMsg + "EOF"},
		{"size in hex of either case", "a\r\n0123456789\r\n0\r\n\r\n" + chunked + "A\r\n0123456789\r\n0\r\n\r\n", plainMsg + "  body \"0123456789\"\n" + plainMsg + "  body \"0123456789\"\nEOF"},
		{"data that looks like chunks", "7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n", plainMsg + "  body \"0\\r\\n\\r\\n0\\r\"\nEOF"},
		{"size of 15 digits", "000000000000001\r\na\r\n0\r\n\r\n", plainMsg + "  body \"a\"\nEOF"},
		{"size of 16 digits", "0000000000000001\r\na\r\n0\r\n\r\n", badSize},
		{"endless size line", strings.Repeat("0", 18), badSize},
		{"extension", "1;x=y\r\na\r\n0\r\n\r\n", badSize},
		{"no size", "\r\n", badSize},
		{"sign", "+1\r\na\r\n", badSize},
		{"blank behind the size", "1 \r\na\r\n", badSize},
		{"0x", "0x1\r\na\r\n", badSize},
		{"size line with a bare LF", "1\na\r\n", badSize},
		{"size line with a bare CR", "1\ra\r\n\r\n", badSize},
		{"data longer than its size", "1\r\nab\r\n", "400 chunk longer than its size"},
		{"bare LF after data", "1\r\na\n0\r\n\r\n", "400 chunk longer than its size"},
		{"bare CR after data", "1\r\na\r0\r\n\r\n", "400 chunk longer than its size"},
		{"trailer", "0\r\na: b\r\n\r\n", "400 trailer"},
		{"bare LF at the end", "0\r\n\n", "400 trailer"},
		{"one chunk over the limit", "b\r\n", "413 body of more than 10 bytes"},
		{"chunks over the limit", "5\r\n01234\r\n6\r\n", "413 body"},
		{"size near 2^60", "fffffffffffffff\r\n", "413 body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sameInPieces(t, []byte(chunked+tt.in), 3, Limits{Body: 10})
			checkOutcome(t, got, tt.want)
		})
	}
}

func TestStartLine(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"POST /a/b?c=d HTTP/1.0", `request 1.0 "POST" "/a/b?c=d"`},
		{"any-token! * HTTP/1.9", `request 1.1 "any-token!" "*"`},
		{"get /\xff\xe4 HTTP/1.1", `request 1.1 "get" "/\xff\xe4"`},
		{"\xad\xe6GET / HTTP/1.1", `request 1.1 "\xad\xe6GET" "/" malformed`},
		{"{}GET / HTTP/1.1", `request 1.1 "{}GET" "/" malformed`},
		{"GET /a b HTTP/1.1", `request 1.1 "GET" "/a b" malformed`},
		{"GET  / HTTP/1.1", `request 1.1 "GET" " /" malformed`},
		{"GET /\x01 HTTP/1.1", `request 1.1 "GET" "/\x01" malformed`},
		{"GET / HTTP/2.0", `request 1.1 "GET" "/" malformed`},
		{"GET / http/1.1", `request 1.1 "GET" "/" malformed`},
		{"GET / ", `request 1.1 "GET" "/" malformed`},
		{"GET /", `request 1.1 "GET" "/" malformed`},
		{"GET", `request 1.1 "GET" "" malformed`},
		{" ", `request 1.1 "" "" malformed`},
		{"a\x00 / HTTP/1.1", "400 NUL or bare carriage return in the start line; use METHOD SP URL SP HTTP/1.1"},
		{"HTTP/1.1 200 OK", `response 1.1 200 "OK"`},
		{"HTTP/1.0 404 Not Found", `response 1.0 404 "Not Found"`},
		{"HTTP/1.1 604", `response 1.1 604 ""`},
		{"HTTP/1.1 604 ", `response 1.1 604 ""`},
		{"HTTP/1.1 200  OK ", `response 1.1 200 " OK "`},
		{"http/1.1 200 OK", `response 1.1 200 "OK" malformed`},
		{"HTTPS 200 OK", `response 1.1 200 "OK" malformed`},
		{"HTTP/1.1 200 a\x01b", `response 1.1 200 "a\x01b" malformed`},
		{"HTTP/1.1 20 OK", `request 1.1 "HTTP/1.1" "20" malformed`},
		{"HTTP/1.1 2000 OK", `request 1.1 "HTTP/1.1" "2000" malformed`},
		{"HTTP/1.1 099 OK", `request 1.1 "HTTP/1.1" "099" malformed`},
		{"HTTPX / HTTP/1.1", `request 1.1 "HTTPX" "/" malformed`},
		{"HTTP/1.1", `request 1.1 "HTTP/1.1" "" malformed`},
		{"HTTP/1.1 200\x00OK", "400 NUL or bare carriage return in the start line; use METHOD SP URL SP HTTP/1.1"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			got := sameInPieces(t, []byte(tt.line+"\r\n\r\n"), 3, Limits{})
			if want := strings.TrimSuffix(tt.want, "\n"); got != want+"\nEOF" && got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestNameLength(t *testing.T) {
	for n, want := range map[int]string{64: "EOF", 65: "400 header name of more than 64 bytes"} {
		got := sameInPieces(t, []byte(startGET+strings.Repeat("n", n)+": v\r\n\r\n"), 3, Limits{})
		if !strings.HasSuffix(got, want) {
			t.Errorf("%d bytes: got %q, want %q", n, got, want)
		}
	}
}

// TestDefaultLimits goes to each default and one past it.
func TestDefaultLimits(t *testing.T) {
	pad := func(n int) string {
		return startGET + "a: " + strings.Repeat("x", n-len(startGET)-len("a: \r\n\r\n")) + "\r\n\r\n"
	}
	body := func(n int) string {
		return fmt.Sprintf("%scontent-length: %d\r\n\r\n%s", startGET, n, strings.Repeat("b", n))
	}
	for _, tt := range []struct{ name, in, want string }{
		{"head", pad(32 << 10), "EOF"},
		{"head", pad(32<<10 + 1), "431"},
		{"fields", startGET + strings.Repeat("a:\r\n", 64) + "\r\n", "EOF"},
		{"fields", startGET + strings.Repeat("a:\r\n", 65) + "\r\n", "431"},
		{"body", body(16 << 20), "EOF"},
		{"body", body(16<<20 + 1), "413"},
	} {
		got := outcome(strings.NewReader(tt.in), Limits{}, (*Reader).Read)
		if tt.want == "EOF" && !strings.HasSuffix(got, "\nEOF") || tt.want != "EOF" && !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s of %d bytes: want %s, got %.80q", tt.name, len(tt.in), tt.want, got)
		}
	}
}

func TestNextNeverReads(t *testing.T) {
	src := iotest.TimeoutReader(strings.NewReader(headCmd + "\r\n" + headCmd + "\r\n" + "GET"))
	r := NewReader(src, Limits{})
	if m, err := r.Next(); m != nil || err != nil {
		t.Fatalf("before any Fill: %v, %v", m, err)
	}
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m, err := r.Next(); err != nil || m.Get("cmd") != "x" {
			t.Fatalf("buffered message: %v, %v", m, err)
		}
	}
	if m, err := r.Next(); m != nil || err != nil {
		t.Fatalf("part of a message: %v, %v", m, err)
	}
	if err := r.Fill(); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("error of the source: %v", err)
	}
	if err := r.Fill(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the source continues after its error: %v", err)
	}
}

func TestPeekConsumesNothing(t *testing.T) {
	const first = "POST /ui/?a=b HTTP/1.1\r\nHost: h\r\nHOST: i\r\nTransfer-Encoding: chunked\r\n\r\n"
	const rest = "3\r\nabc\r\n0\r\n\r\n"
	r := NewReader(strings.NewReader("\r\n"+first+rest), Limits{Body: 1})
	if _, ok := r.Peek(); ok {
		t.Fatal("a head before any Fill")
	}
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	if head, ok := r.Peek(); !ok || string(head) != first {
		t.Errorf("head %q, %v", head, ok)
	}
	if got := string(r.PeekURL()); got != "/ui/?a=b" {
		t.Errorf("URL %q", got)
	}
	if v, ok := r.PeekField("host"); !ok || string(v) != "i" {
		t.Errorf("host %q, %v", v, ok)
	}
	if v, ok := r.PeekField("cmd"); ok {
		t.Errorf("cmd %q", v)
	}
	if got := string(r.Buffered()); got != first+rest {
		t.Errorf("buffered %q", got)
	}
	var refused *Error
	if _, err := r.Next(); !errors.As(err, &refused) || refused.Status != 413 {
		t.Errorf("Next after Peek: %v", err)
	}
	if _, ok := r.Peek(); ok {
		t.Error("a head after an error")
	}
}

func TestWantsContinue(t *testing.T) {
	const expect = "expect: 100-Continue\r\n"
	for _, tt := range []struct {
		name, head, body string
		want             bool
	}{
		{"length", startGET + expect + "content-length: 3\r\n\r\n", "abc", true},
		{"chunked", startGET + expect + "transfer-encoding: chunked\r\n\r\n", "0\r\n\r\n", true},
		{"no expectation", startGET + "content-length: 3\r\n\r\n", "abc", false},
		{"another expectation", startGET + "expect: more\r\ncontent-length: 3\r\n\r\n", "abc", false},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n" + expect + "content-length: 3\r\n\r\n", "abc", false},
		{"no body", startGET + expect + "\r\n", "", false},
		{"body already here", startGET + expect + "content-length: 3\r\n\r\nabc", "", false},
		{"body too long", startGET + expect + "content-length: 99999999999\r\n\r\n", "", false},
		{"head not complete", startGET + expect, "\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(io.MultiReader(strings.NewReader(tt.head), strings.NewReader(tt.body+tt.head+tt.body)), Limits{})
			for round := range 2 {
				if round == 0 {
					if err := r.Fill(); err != nil {
						t.Fatal(err)
					}
				}
				if got := r.WantsContinue(); round == 0 && got != tt.want {
					t.Errorf("got %v", got)
				}
				if r.WantsContinue() {
					t.Error("wanted twice")
				}
				if _, err := r.Read(); err != nil && tt.name != "body too long" {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestRecycledMessageLeavesNothingBehind(t *testing.T) {
	r := NewReader(strings.NewReader("GET /a HTTP/1.1\r\nx: 1\r\ny: 2\r\ncontent-length: 3\r\n\r\nabc"+
		"HTTP/1.1 404 Gone\r\nz: 3\r\n\r\n"), Limits{})
	first, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	body, x := first.Body, first.Get("x")
	r.Recycle(first)
	second, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != "abc" || x != "1" {
		t.Errorf("parts of the first message changed: body %q, x %q", body, x)
	}
	if second.Method != "" || second.URL != "" || second.Body != nil || len(second.Fields) != 1 ||
		second.Status != 404 || second.Get("z") != "3" {
		t.Errorf("second message has parts of the first: %+v", second)
	}
}
