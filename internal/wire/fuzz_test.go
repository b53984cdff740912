package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var fuzzLimits = Limits{Head: 1 << 10, Fields: 16, Body: 1 << 10}

// addSeeds adds the golden streams, each of their frames, and a few starting
// points for what they do not have.
func addSeeds(f *testing.F, add func([]byte)) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		_, input, _ := readGolden(f, file)
		add(input)
		for _, m := range parseAll(f, bytes.NewReader(input)) {
			add(m.Append(nil))
		}
	}
	for _, s := range []string{
		"\r\n" + startGET + "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n" + startGET + "\r\n",
		startGET + "content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
		startGET + "a : b\r\n c\r\n\r\n",
		startGET + "A:\t x\ty\xff \t\r\nexpect: 100-continue\r\n\r\n",
		"HTTP/1.0 604\r\ncontent-length: 1\r\n\r\nx",
		"\xadGET  /\x01 HTTP/9\r\ncmd: x\n\r\n",
		"POST http://h/p?q#f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nTrailer: x\r\nPragma: no-cache\r\nConnection: close\r\n\r\n00a\r\n0123456789\r\n0\r\n\r\n",
	} {
		add([]byte(s))
	}
}

// FuzzReader: no input panics or hangs; how it is cut into reads does not
// matter; what parses can be written, parses again to the same, and its headers
// survive storage.
func FuzzReader(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data, uint8(7)) })
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		sameInPieces(t, data, int(step)+1, fuzzLimits)
		r := NewReader(bytes.NewReader(data), fuzzLimits)
		for {
			m, err := r.Read()
			if err != nil {
				return
			}
			checkMessage(t, m)
			checkRewrite(t, m)
			checkStorage(t, m)
		}
	})
}

// checkMessage looks for what must never come out of a Reader.
func checkMessage(t *testing.T, m *Message) {
	for _, field := range m.Fields {
		if !ValidName(field.Name) || strings.ToLower(field.Name) != field.Name || framing(field.Name) {
			t.Fatalf("bad name %q", field.Name)
		}
		if !ValidValue(field.Value) || strings.Trim(field.Value, " \t") != field.Value {
			t.Fatalf("bad value %q", field.Value)
		}
	}
	if strings.ContainsAny(m.Method+m.URL+m.Reason, "\r\n\x00") {
		t.Fatalf("bad start line %q %q %q", m.Method, m.URL, m.Reason)
	}
	if len(m.Fields) > fuzzLimits.Fields || int64(len(m.Body)) > fuzzLimits.Body {
		t.Fatalf("%d fields, body of %d bytes", len(m.Fields), len(m.Body))
	}
}

// checkRewrite compares a message with itself, written and parsed. A malformed
// start line and version 1.0 are not written as they were.
func checkRewrite(t *testing.T, m *Message) {
	again := parseOne(t, m.Append(nil))
	if again.Malformed || again.Minor != 1 || again.Status != m.Status {
		t.Fatalf("written %+v", again)
	}
	want := *m
	want.Minor = 1
	if m.Malformed {
		want.Malformed, want.Method, want.URL, want.Reason = false, again.Method, again.URL, again.Reason
	}
	if m.Status != 0 && m.Reason == "" {
		want.Reason = again.Reason
	}
	if got, want := rendered(again), rendered(&want); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

func checkStorage(t *testing.T, m *Message) {
	stored := AppendJSON(nil, m.Fields)
	if len(m.Fields) > 0 && !json.Valid(stored) {
		t.Fatalf("not JSON: %s", stored)
	}
	for _, field := range fieldsOf(t, string(stored)) {
		if m.Get(field.Name) != field.Value {
			t.Fatalf("%q became %q", m.Get(field.Name), field.Value)
		}
	}
}

// FuzzDifferential: a request that net/http accepts too means the same to it.
func FuzzDifferential(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data), Limits{})
		m, err := r.Read()
		if err != nil || m.Malformed || m.Status != 0 || data[0] == '\r' {
			return // refused, not meant for HTTP, or with empty lines that net/http refuses
		}
		rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(r.Buffered()), r.src))
		if err != nil {
			t.Fatal(err)
		}
		theirs := bytes.NewReader(data)
		buffered := bufio.NewReader(theirs)
		req, err := http.ReadRequest(buffered)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if left := theirs.Len() + buffered.Buffered(); left != len(rest) {
			t.Fatalf("%d bytes left, net/http leaves %d", len(rest), left)
		}
		if req.Method != m.Method || req.RequestURI != m.URL || req.ProtoMinor > 0 != (m.Minor == 1) {
			t.Fatalf("%s %s 1.%d, net/http: %s %s %s", m.Method, m.URL, m.Minor, req.Method, req.RequestURI, req.Proto)
		}
		if !bytes.Equal(body, m.Body) {
			t.Fatalf("body %q, net/http: %q", m.Body, body)
		}
		compareHeaders(t, m, req)
	})
}

// compareHeaders knows the headers that net/http moves or makes up.
func compareHeaders(t *testing.T, m *Message, req *http.Request) {
	ours := http.Header{}
	for _, field := range m.Fields {
		ours.Add(field.Name, field.Value)
	}
	if hosts := ours["Host"]; len(hosts) > 0 && !strings.Contains(m.URL, "://") && m.Method != "CONNECT" && hosts[0] != req.Host {
		t.Fatalf("host %q, net/http: %q", hosts, req.Host)
	}
	delete(req.Header, "Content-Length")
	for name := range ours {
		if slices.Contains([]string{"Host", "Trailer", "Cache-Control"}, name) {
			continue
		}
		if !slices.Equal(ours[name], req.Header[name]) {
			t.Fatalf("%s: %q, net/http: %q", name, ours[name], req.Header[name])
		}
	}
	for name := range req.Header {
		if _, ok := ours[name]; !ok && name != "Cache-Control" {
			t.Fatalf("net/http has %s: %q", name, req.Header[name])
		}
	}
}
