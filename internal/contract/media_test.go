package contract

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

// zip makes a body of what comes in repeats of a text.
func zip(t testing.TB, text string, repeats int) rawJSON {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range repeats {
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return rawJSON(b.String())
}

// A body that is zipped is limited by what it holds, and holds memory like one that is not.
func TestZippedBodiesAreReadWithinTheLimits(t *testing.T) {
	b := start(t, func(c *config.Config) { c.MaxBody, c.MaxMemory, c.TailCache = 1<<20, 512<<20, 0 })
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	zipped, ndjson := header{"Content-Encoding", "GZIP"}, header{"Content-Type", "application/x-ndjson"}
	publish := func(body rawJSON, more ...any) *reply {
		return c.do("POST", "/topics/T/messages", append([]any{body, zipped, anyway}, more...)...)
	}
	publish(zip(t, `{"body":"hello"}`, 1)).want(201)
	publish(zip(t, "{\"body\":\"hello\"}\n", 20_000), ndjson).want(201).is("count", "20000")
	c.get("/topics/T").is("depth", "20001")
	spaces := strings.Repeat(" ", 1<<20)
	publish(zip(t, spaces, 100)).refused(413, "too_large")
	publish(zip(t, spaces, 100), ndjson).refused(413, "too_large")
	publish(zip(t, strings.Repeat(spaces[:1023]+"\n", 1<<10), 129), ndjson).refused(413, "too_large") // lines without end
	whole := zip(t, `{"body":"hello"}`, 1)
	publish(whole[:len(whole)-3]).refused(400, "invalid", "gzip")
	publish("{}").refused(400, "invalid", "gzip")
	publish(rawJSON("x")+whole).refused(400, "invalid", "gzip")
	c.post("/topics", object{"name": "plain"}, zipped, anyway).refused(400, "invalid", "gzip")

	// Its memory counts while it is unzipped, and this is more than there ever is for one.
	c = start(t, func(c *config.Config) { c.MaxMemory, c.TailCache = 64<<20, 0 }).client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	publish(zip(t, spaces, 20)).refused(413, "too_large", "max-memory")
	publish(whole).want(201)
}

// Lines are stored while they are read: a body of them may be several times as large as what there
// is for all bodies.
func TestLinesMayBeMoreThanThereIsMemoryForBodies(t *testing.T) {
	c := start(t, func(c *config.Config) { c.MaxMemory, c.TailCache, c.MaxBody = 64<<20, 0, 1<<20 }).client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	line := `{"body":"` + strings.Repeat("x", 100<<10) + "\"}\n"
	c.do("POST", "/topics/T/messages", rawJSON(strings.Repeat(line, 100)), anyway, header{"Content-Type", "application/x-ndjson"}).want(201).is("count", "100")
}

// A body that is too large is refused by what its head says of it.
func TestTooLargeABodyIsNotWaitedFor(t *testing.T) {
	b := start(t)
	for _, path := range []string{"/api/v1/topics", "/api/v1/topics/T/messages", "/api/v1/server:confirm-clock", "/produce/T", "/T"} {
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			answer := b.raw(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: 999999999\r\n\r\n", path, expect))
			if !strings.HasPrefix(answer, "HTTP/1.1 413 ") || strings.Count(answer, "HTTP/1.1") != 1 {
				t.Errorf("%s with %q: %q", path, expect, answer)
			}
		}
	}
}

func TestBodiesAreReadByTheirMediaType(t *testing.T) {
	c := startClient(t)
	for i, kind := range []string{
		"", "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8", "application/x-www-form-urlencoded",
	} {
		c.post("/topics", object{"name": fmt.Sprint("T", i)}, anyway, header{"Content-Type", kind}).want(201)
	}
	for _, kind := range []string{"application/jsonfoo", "text/plain", "application/json; charset=latin1", "json", "multipart/form-data; boundary=x", ";"} {
		c.post("/topics", object{"name": "no"}, anyway, header{"Content-Type", kind}).refused(415, "invalid", "")
	}
	for _, coding := range []string{"br", "identity, gzip", "gzip, gzip", "deflate"} {
		c.post("/topics", object{"name": "no"}, anyway, header{"Content-Encoding", coding}).refused(415, "invalid", "encoded as")
	}
	c.post("/topics", object{"name": "plain"}, anyway, header{"Content-Encoding", "Identity"}).want(201)
	c.do("GET", "/topics/no").refused(404, "not_found", "")
}

// Of two values for one name nobody knows which was meant.
func TestMembersAndHeadersThatRepeatAreRefused(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	for body, word := range map[string]string{
		`{"body":"x","headers":{"A":"1","a":"2"}}`:           `the header "a" is there twice`,
		`{"body":"x","headers":{"a":"1","a":"1"}}`:           `the header "a" is there twice`,
		`[{"body":"x"},{"headers":{"k\u0041":"1","KA":""}}]`: `message 2: the header "KA" is there twice`,
		`{"body":"x","body":"y"}`:                            `the member body is there twice`,
	} {
		c.do("POST", "/topics/T/messages", rawJSON(body), anyway).refused(400, "invalid", word)
		if body[0] == '{' {
			c.do("POST", "/topics/T/messages", lines(body), anyway).refused(400, "invalid", "line 1: ")
		}
	}
	c.do("POST", "/topics/T/messages", object{"body": "x"}, anyway, header{"Content-Type", "text/plain"}).refused(415, "invalid", "")
	c.get("/topics/T").is("depth", "0")
}

func TestLinesMayBeginWithAMarkAndEndInCRLF(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.do("POST", "/topics/T/messages", lines("\ufeff{\"body\":\"a\"}\r\n\r\n{\"body\":\"b\"}\r\n"), anyway).want(201)
	c.do("POST", "/topics/T/messages", lines("{\"body\":\"a\"}\n\ufeff{\"body\":\"b\"}\n"), anyway).refused(400, "invalid", "line 2: it begins with a byte order mark")
	c.get("/topics/T").is("depth", "3")
}

// raw sends bytes on a connection of its own and gives all that comes until it ends.
func (b *instance) raw(t testing.TB, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%q, then %v", answer, err)
	}
	return string(answer)
}

// The document names what each operation may be refused with before it sees the request, and each
// that takes a body does refuse one that is too large, or of a type that nobody reads.
func TestEveryOperationNamesWhatItIsRefusedWith(t *testing.T) {
	c := start(t, func(cfg *config.Config) { cfg.MaxBody = 1 << 10 }).client(t)
	hole := regexp.MustCompile(`\{[^}]*\}`)
	for _, o := range theContract().operations {
		for _, status := range before {
			if needsBody := status == 413 || status == 415; o.lists(status) != (o.sends || !needsBody) {
				t.Errorf("%s: the contract names %d: %v", o.id, status, o.lists(status))
			}
		}
		if !o.sends {
			continue
		}
		path := hole.ReplaceAllString(o.template, "1")
		c.do(o.method, path, anyway, rawJSON("{}"), header{"Content-Type", "image/png"}).refused(415, "invalid", "image/png")
		c.do(o.method, path, anyway, rawJSON(strings.Repeat(" ", 4<<10)+"{}")).refused(413, "too_large")
	}
}
