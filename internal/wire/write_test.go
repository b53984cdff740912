package wire

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parseOne parses data, which has to be exactly one message.
func parseOne(tb testing.TB, data []byte) *Message {
	tb.Helper()
	all := parseAll(tb, bytes.NewReader(data))
	if len(all) != 1 {
		tb.Fatalf("%d messages in %q, want 1", len(all), data)
	}
	return all[0]
}

func rendered(m *Message) string {
	var out strings.Builder
	render(&out, m)
	return out.String()
}

func TestAppendStatus(t *testing.T) {
	for status, want := range map[int]string{
		200: "HTTP/1.1 200 OK\r\n", 404: "HTTP/1.1 404 Not Found\r\n", 507: "HTTP/1.1 507 Insufficient Storage\r\n",
		299: "HTTP/1.1 299 Unknown\r\n", 999: "HTTP/1.1 999 Unknown\r\n", 100: "HTTP/1.1 100 Continue\r\n",
		0: "HTTP/1.1 500 Internal Server Error\r\n", -1: "HTTP/1.1 500 Internal Server Error\r\n", 1000: "HTTP/1.1 500 Internal Server Error\r\n",
	} {
		if got := string(AppendStatus([]byte("x"), status)); got != "x"+want {
			t.Errorf("%d: %q", status, got)
		}
	}
}

func TestEveryStatusHasItsText(t *testing.T) {
	statuses := []int{100, 101, 200, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 429, 431, 500, 501, 502, 503, 504, 505, 507}
	for _, status := range statuses {
		m := parseOne(t, AppendBody(AppendStatus(nil, status), nil))
		if m.Status != status || m.Reason == "" || m.Reason != StatusText(status) || m.Malformed {
			t.Errorf("%d: %+v, text %q", status, m, StatusText(status))
		}
	}
	for _, status := range []int{-1, 0, 99, 299, 508, 1000} {
		if got := StatusText(status); got != "" {
			t.Errorf("%d: text %q", status, got)
		}
	}
}

func TestAppendRequestLine(t *testing.T) {
	for _, tt := range []struct{ method, url, want string }{
		{"GET", "/", "GET / HTTP/1.1\r\n"},
		{"", "", "GET / HTTP/1.1\r\n"},
		{"\xad\xe6GET", "/\xff", "GET /\xff HTTP/1.1\r\n"},
		{"G ET", "/a b\r\nc\x7f", "GET /a%20b%0D%0Ac%7F HTTP/1.1\r\n"},
		{"HTTP", "/", "GET / HTTP/1.1\r\n"},
		{"httpx", "/", "GET / HTTP/1.1\r\n"},
		{"HTT", "/", "HTT / HTTP/1.1\r\n"},
	} {
		if got := string(AppendRequestLine(nil, tt.method, tt.url)); got != tt.want {
			t.Errorf("%q %q: got %q", tt.method, tt.url, got)
		}
	}
}

func TestAppendField(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"id", "1", "id: 1\r\n"},
		{"Content-Type", "", "content-type: \r\n"},
		{"a", "b\r\nc: d\x00\x1b\x7f\te\xff", "a: b  c: d   \te\xff\r\n"},
		{"", "v", ""},
		{"a b", "v", ""},
		{"a:", "v", ""},
		{"a\r\nb", "v", ""},
		{"\u00e9", "v", ""},
		{strings.Repeat("n", 64), "v", strings.Repeat("n", 64) + ": v\r\n"},
		{strings.Repeat("n", 65), "v", ""},
		{"content-length", "5", ""},
		{"Content-Length", "5", ""},
		{"Transfer-encoding", "chunked", ""},
	} {
		if got := string(AppendField([]byte("x"), tt.name, tt.value)); got != "x"+tt.want {
			t.Errorf("%q: %q: got %q", tt.name, tt.value, got)
		}
	}
}

func TestAppendInt(t *testing.T) {
	got := AppendInt(nil, "Offset", -9223372036854775808)
	got = AppendInt(got, "a b", 1)
	got = AppendInt(got, "content-length", 1)
	if want := "offset: -9223372036854775808\r\n"; string(got) != want {
		t.Errorf("got %q", got)
	}
}

func TestValidNamesAndValues(t *testing.T) {
	for c := range 256 {
		s := string([]byte{byte(c)})
		token := strings.Contains("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", s)
		if ValidName(s) != token {
			t.Errorf("ValidName(%q) is %v", s, !token)
		}
		value := c == '\t' || c >= ' ' && c != 0x7f
		for at := range 20 { // in every place of a word, and behind the last word
			long := strings.Repeat("\xff", at) + s + strings.Repeat("\t", 19-at)
			if ValidValue(long) != value {
				t.Errorf("ValidValue with %q at %d is %v", s, at, !value)
			}
		}
	}
	for s, want := range map[string]bool{"": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if ValidName(s) != want {
			t.Errorf("ValidName of %d bytes is %v", len(s), !want)
		}
	}
	if !ValidValue("") {
		t.Error("an empty value is valid")
	}
}

// TestNothingBreaksFraming puts what an attacker would into every part of a
// message and looks for exactly that message and the one behind it.
func TestNothingBreaksFraming(t *testing.T) {
	evil := "\r\ncontent-length: 0\r\n\r\nGET /evil HTTP/1.1\r\ncmd: remove\r\n\r\n"
	next := (&Message{Method: "GET", URL: "/next"}).Append(nil)
	for name, m := range map[string]*Message{
		"value":             {Method: "GET", URL: "/", Fields: []Field{{"tag", evil}}},
		"name":              {Method: "GET", URL: "/", Fields: []Field{{"tag: x" + evil, "v"}}},
		"URL":               {Method: "GET", URL: "/" + evil},
		"method":            {Method: "GET" + evil, URL: "/"},
		"reason":            {Status: 200, Reason: evil},
		"length":            {Method: "GET", URL: "/", Fields: []Field{{"Content-Length", "0"}}, Body: []byte(evil)},
		"transfer-encoding": {Method: "GET", URL: "/", Fields: []Field{{"transfer-encoding", "chunked"}}, Body: []byte("0\r\n\r\n" + evil)},
		"body":              {Method: "GET", URL: "/", Body: []byte(evil)},
	} {
		t.Run(name, func(t *testing.T) {
			all := parseAll(t, bytes.NewReader(append(m.Append(nil), next...)))
			if len(all) != 2 || all[1].URL != "/next" {
				t.Fatalf("%d messages", len(all))
			}
			if got := all[0]; !bytes.Equal(got.Body, m.Body) || len(got.Fields) > 1 || got.Malformed || got.Status != m.Status {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	token := rapid.StringMatching("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
	value := rapid.Map(rapid.SliceOf(rapid.Byte().Filter(func(c byte) bool { return !isControl(c) })),
		func(b []byte) string { return strings.Trim(string(b), " \t") })
	field := rapid.Custom(func(t *rapid.T) Field {
		name := token.Filter(func(s string) bool { return !framing(s) }).Draw(t, "name")
		return Field{strings.ToLower(name), value.Draw(t, "value")}
	})
	rapid.Check(t, func(t *rapid.T) {
		m := &Message{Minor: 1}
		if rapid.Bool().Draw(t, "response") {
			m.Status = rapid.IntRange(100, 999).Draw(t, "status")
			m.Reason = value.Filter(func(s string) bool { return s != "" }).Draw(t, "reason")
		} else {
			m.Method = token.Filter(validMethod[string]).Draw(t, "method")
			m.URL = value.Filter(validTarget[string]).Draw(t, "url")
		}
		m.Fields = rapid.SliceOfN(field, 0, 40).Draw(t, "fields")
		m.Body = rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		if len(m.Body) == 0 {
			m.Body = nil
		}
		frame := m.Append(nil)
		got, err := NewReader(bytes.NewReader(frame), Limits{Head: len(frame)}).Read()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := rendered(got), rendered(m); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := parseOne(t, typicalProduce())
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = m.Append(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := rendered(parseOne(t, buf)); got != rendered(m) {
		t.Errorf("got %s", got)
	}
}
