package contract

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// Every path of the document refuses the methods that it does not have there, and says which
// it has.
func TestEveryPathRefusesOtherMethods(t *testing.T) {
	c := startClient(t)
	hole := regexp.MustCompile(`\{[^}]*\}`)
	methods := map[string][]string{}
	for _, o := range theContract().operations {
		methods[o.template] = append(methods[o.template], o.method)
	}
	for template, has := range methods {
		others := []string{"TRACE", "PROPFIND"}
		// With an action's path, these are about something of that name.
		if action := strings.Contains(hole.ReplaceAllString(template, ""), ":"); !action {
			others = append(others, "GET", "POST", "PUT", "PATCH", "DELETE")
		}
		for _, method := range others {
			if slices.Contains(has, method) {
				continue
			}
			r := c.do(method, hole.ReplaceAllString(template, "1"), anyway).refused(405, "invalid", "use ")
			allow := strings.Split(r.header.Get("Allow"), ", ")
			for _, m := range has {
				if !slices.Contains(allow, m) {
					t.Errorf("%s %s: Allow %v lacks %s", method, template, allow, m)
				}
			}
		}
	}
}

// tryLater checks that a refusal says when to come again.
func (r *reply) tryLater() {
	r.t.Helper()
	if r.header.Get("Retry-After") == "" {
		r.t.Errorf("%s: %d without Retry-After", r.what, r.status)
	}
}

// What there may be only so many of is refused with 429 by each operation that adds one.
func TestTooManyIs429(t *testing.T) {
	b := start(t, func(c *config.Config) { c.MaxTopics, c.MaxGroups, c.AddressSockets, c.LimitLoopback = 2, 2, 1, true })
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics", object{"name": "U"}).want(201)
	for _, group := range []string{"g", "h"} {
		c.post("/topics/T/groups", object{"name": group}).want(201)
	}
	c.post("/topics", object{"name": "V"}).refused(429, "quota", "--max-topics").tryLater()
	c.post("/topics/T/groups", object{"name": "i"}).refused(429, "quota", "--max-groups").tryLater()
	c.do("GET", "/topics/T/events").refused(429, "quota", "--max-groups").tryLater()
	c.post("/definitions", object{"topics": list{object{"name": "V"}}}).refused(429, "quota", "--max-topics").tryLater()
	c.post("/definitions", object{"topics": list{object{"name": "A"}, object{"name": "B"}, object{"name": "C"}}}).refused(429, "quota", "--max-topics").tryLater()

	stream := b.open(t, "GET "+base+"/topics/T/events?group=g HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.ReadFull(stream, make([]byte, len("HTTP/1.1 200"))); err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/topics/T/events?group=g").refused(429, "quota", "this address has 1").tryLater()
}

// What there is no memory for is refused with 503 by each guard of memory.
func TestNoRoomIs503(t *testing.T) {
	b := start(t, func(c *config.Config) { c.MaxMemory, c.TailCache, c.MaxBody = 64<<20, 0, 8<<20 })
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	large := object{"body": strings.Repeat("x", 8<<20)}
	c.post("/topics/T/messages", large).want(201)

	t.Run("of bodies", func(t *testing.T) {
		var halves []net.Conn
		eventually(t, "no room for a body", func() bool {
			// One more each time: this one may be refused while ours is being read.
			halves = append(halves, b.open(t, fmt.Sprintf("POST %s/topics/T/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				base, 8<<20, strings.Repeat(" ", 7<<20))))
			r := c.post("/topics/T/messages", large)
			if r.status == http.StatusServiceUnavailable {
				r.refused(503, "unavailable", "receive buffers").tryLater()
			}
			return r.status == http.StatusServiceUnavailable
		})
		c.get("/topics/T") // small ones have a pot of their own
		c.post("/topics/T/messages", object{"body": "x"}).want(201)
		for _, half := range halves {
			_ = half.Close()
		}
	})
	t.Run("of answers", func(t *testing.T) {
		eventually(t, "no room for an answer", func() bool {
			// One more each time: this one may be refused while we are being answered.
			b.open(t, "GET "+base+"/topics/T/messages/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
			r := c.do("GET", "/topics/T/messages/0")
			if r.status == http.StatusServiceUnavailable {
				r.refused(503, "unavailable", "slow to read").tryLater()
			}
			return r.status == http.StatusServiceUnavailable
		})
	})
	t.Run("of topics in memory", func(t *testing.T) {
		c.post("/topics", object{"name": "M", "kind": "memory"}).want(201)
		c.post("/topics/M/groups", object{"name": "g"}).want(201) // keeps all of it
		eventually(t, "no room in memory", func() bool {
			r := c.post("/topics/M/messages", object{"body": strings.Repeat("x", 1<<20)})
			if r.status == http.StatusServiceUnavailable {
				r.refused(503, "unavailable", "memory topics").tryLater()
			}
			return r.status == http.StatusServiceUnavailable
		})
	})
}

// One import of definitions is done at a time.
func TestOneOfTwoImportsIs503(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, other := b.client(t), b.client(t)
	var many list
	for n := range 1000 {
		many = append(many, object{"name": fmt.Sprint("T", n)})
	}
	over := make(chan error, 1)
	go func() {
		for {
			r, err := other.try("POST", "/definitions", object{"topics": many})
			if err != nil || r.status != http.StatusServiceUnavailable { // the other one may be first
				over <- err
				return
			}
		}
	}()
	defer func() {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "two imports at once", func() bool {
		r := c.post("/definitions?dryRun=true", object{"topics": list{}})
		if r.status == http.StatusServiceUnavailable {
			r.refused(503, "unavailable", "other definitions").tryLater()
		}
		return r.status == http.StatusServiceUnavailable
	})
}

// open sends the beginning of a request on a connection of its own, as far as it is taken.
func (b *instance) open(t testing.TB, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.WriteString(conn, text) }()
	t.Cleanup(func() { _ = conn.Close(); <-sent })
	return conn
}
