package contract

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// telling replays the exchanges of docs/protocol.md. Each line of one begins with the letter of a
// connection and what happens on it: ">" is sent, "<" is received, "-" is the end of it by the
// client, "x" its end by the broker. "! restart" ends the broker and starts it again.
type telling struct {
	t     *testing.T
	b     *instance
	conns map[string]*told
	known map[string]string // what placeholders stood for
	sent  int               // frames
	got   int
}

// told is one connection.
type told struct {
	net.Conn
	r *bufio.Reader
}

func TestProtocolDocumentSaysWhatIsSentAndReceived(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```zbus\n(.*?)^```$").FindAllStringSubmatchIndex(string(text), -1)
	s := &telling{t: t, b: start(t), conns: map[string]*told{}, known: map[string]string{}}
	for _, at := range blocks {
		line := strings.Count(string(text[:at[2]]), "\n") + 1
		s.block(strings.Split(strings.TrimSuffix(string(text[at[2]:at[3]]), "\n"), "\n"), line)
	}
	if len(blocks) < 8 || s.sent < 20 || s.got < 20 {
		t.Errorf("only %d blocks with %d frames sent and %d received", len(blocks), s.sent, s.got)
	}
}

var step = regexp.MustCompile(`^([A-Z])([<>])(?: (.*))?$`)

// block replays one block, which begins at a line of the document. Its connections end with it.
func (s *telling) block(lines []string, at int) {
	s.t.Helper()
	for i := 0; i < len(lines); {
		where := fmt.Sprintf("docs/protocol.md:%d", at+i)
		m := step.FindStringSubmatch(lines[i])
		if m == nil {
			s.event(lines[i], where)
			i++
			continue
		}
		frame, n := frameOf(lines[i:], m[1]+m[2])
		i += n
		if m[2] == ">" {
			s.send(m[1], frame)
		} else {
			s.receive(m[1], frame, where)
		}
	}
	for name, c := range s.conns {
		s.quiet(c, fmt.Sprintf("docs/protocol.md:%d: %s", at, name))
		_ = c.Close()
		delete(s.conns, name)
	}
}

// frameOf is the frame that begins the lines, and how many of them it takes: a start line, headers,
// an empty line, and a body where one is announced.
func frameOf(lines []string, prefix string) (frame string, n int) {
	content := func(line string) string { return strings.TrimPrefix(strings.TrimPrefix(line, prefix), " ") }
	for ; n < len(lines) && strings.HasPrefix(lines[n], prefix) && content(lines[n]) != ""; n++ {
		frame += content(lines[n]) + "\r\n"
	}
	frame += "\r\n"
	n++ // the empty line
	if !strings.Contains(frame, "content-length: ") || strings.Contains(frame, "content-length: 0\r\n") {
		return frame, n
	}
	if n < len(lines) && strings.HasPrefix(lines[n], prefix) {
		frame += content(lines[n])
		n++
	}
	return frame, n
}

func (s *telling) event(line, where string) {
	s.t.Helper()
	name, what, _ := strings.Cut(line, " ")
	switch {
	case line == "! restart":
		s.b.stop(s.t)
		s.b.cfg.Listen = []string{s.b.addr}
		s.b = run(s.t, s.b.cfg)
		clear(s.conns) // they ended with it
	case strings.HasSuffix(name, "-"):
		_ = s.conn(name[:1]).Close()
		delete(s.conns, name[:1])
	case strings.HasSuffix(name, "x"):
		c := s.conn(name[:1])
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			s.t.Fatalf("%s: the connection stays open (%v)", where, err)
		}
		delete(s.conns, name[:1])
	default:
		s.t.Fatalf("%s: what is %q %q?", where, name, what)
	}
}

func (s *telling) conn(name string) *told {
	if c := s.conns[name]; c != nil {
		return c
	}
	c, err := net.Dial("tcp", s.b.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	s.conns[name] = &told{c, bufio.NewReader(c)}
	return s.conns[name]
}

var placeholder = regexp.MustCompile(`\{([a-z]+[0-9]*|…)\}`)

func (s *telling) send(name, frame string) {
	frame = placeholder.ReplaceAllStringFunc(frame, func(p string) string {
		if value, ok := s.known[p]; ok {
			return value
		}
		return p
	})
	if _, err := io.WriteString(s.conn(name), frame); err != nil {
		s.t.Fatal(err)
	}
	s.sent++
}

// kinds are what placeholders stand for, by what is before their number. Those of the second list
// may be something else each time.
var kinds = map[string]string{
	"session": `[0-9a-f]{8}-[0-9a-f-]{27}`, "id": `[0-9a-f]{8}-[0-9a-f-]{27}`, "handle": `[A-Za-z0-9.:_-]+`, "time": `[0-9]{13}`, "address": `127\.0\.0\.1:[0-9]+`, "n": `[0-9]+`, "…": `[^\r\n]*`,
}

func (s *telling) receive(name, frame, where string) {
	s.t.Helper()
	got := s.read(s.conn(name), where)
	pattern, at, names := "(?s)^", 0, []string(nil)
	for _, p := range placeholder.FindAllStringSubmatchIndex(frame, -1) {
		pattern += regexp.QuoteMeta(frame[at:p[0]])
		word, kind := frame[p[0]:p[1]], strings.TrimRight(frame[p[2]:p[3]], "0123456789")
		at = p[1]
		if value, ok := s.known[word]; ok && kind != "n" && kind != "…" && kind != "time" {
			pattern += regexp.QuoteMeta(value)
			continue
		}
		if kinds[kind] == "" {
			s.t.Fatalf("%s: no placeholder is called %s", where, word)
		}
		pattern += "(" + kinds[kind] + ")"
		names = append(names, word)
	}
	pattern += regexp.QuoteMeta(frame[at:]) + "$"
	whole := regexp.MustCompile(pattern)
	m := whole.FindStringSubmatch(got)
	for m == nil && pushed(got) { // of something else that has changed
		got = s.read(s.conn(name), where)
		m = whole.FindStringSubmatch(got)
	}
	if m == nil {
		s.t.Fatalf("%s: the broker sends\n%s\nnot\n%s", where, got, frame)
	}
	for i, name := range names {
		s.known[name] = m[i+1]
	}
	s.got++
}

// pushed reports whether a frame is what comes whenever something changes.
func pushed(frame string) bool {
	return strings.Contains(frame, "\r\ncmd: track_pub\r\n") && !strings.Contains(frame, "\r\nid: ")
}

// read is the next frame, as it is.
func (s *telling) read(c *told, where string) string {
	s.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	head, length := "", 0
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := c.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: no frame comes, but %v after %q", where, err, head+line)
		}
		head += line
		if n, ok := strings.CutPrefix(line, "content-length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.r, body); err != nil {
		s.t.Fatalf("%s: %v in the body behind %q", where, err, head)
	}
	return head + string(body)
}

// quiet checks that nothing else was sent than the document says.
func (s *telling) quiet(c *told, where string) {
	s.t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\ncmd: ping\r\nid: quiet\r\n\r\n"); err != nil {
		s.t.Fatalf("%s: %v", where, err)
	}
	got := s.read(c, where)
	for pushed(got) {
		got = s.read(c, where)
	}
	if !slices.Contains(strings.Split(got, "\r\n"), "id: quiet") {
		s.t.Errorf("%s: the broker sends more than the document says:\n%s", where, got)
	}
}
