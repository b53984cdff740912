package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

// publishUntilClosed publishes on one connection, as fast as it can, until the
// broker closes it, and returns the bodies that were confirmed.
func publishUntilClosed(t *testing.T, b *instance, name string, began func()) (confirmed []string) {
	defer began() // however it ends, nobody waits for it
	c := b.dial(t)
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			body := fmt.Sprintf("%s-%d", name, i)
			if _, err := c.conn.Write([]byte(request("produce topic=T id="+body, body))); err != nil {
				return
			}
		}
	})
	defer writing.Wait()
	defer c.conn.Close()
	for {
		a, err := c.next()
		if isTimeout(err) {
			t.Error("a connection is neither answered nor closed")
		}
		if err != nil {
			return confirmed
		}
		switch a.Status {
		case 200:
			confirmed = append(confirmed, a.Get("id"))
		case 503: // not stored
		default:
			t.Errorf("%d %q", a.Status, a.Body)
		}
		if len(confirmed) == 100 {
			began()
		}
	}
}

func TestAStopUnderLoadKeepsWhatWasConfirmed(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	const publishers = 4
	var load, underWay sync.WaitGroup
	underWay.Add(publishers)
	confirmed := make([][]string, publishers)
	for i := range publishers {
		load.Go(func() {
			confirmed[i] = publishUntilClosed(t, b, fmt.Sprint("p", i), sync.OnceFunc(underWay.Done))
		})
	}
	underWay.Wait()
	began := time.Now()
	b.stop(t)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopping took %v", took)
	}
	load.Wait()

	c := run(t, b.cfg).dial(t)
	var topic struct{ MessageDepth int }
	if err := json.Unmarshal(c.ok("query topic=T").Body, &topic); err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	c.send(fmt.Sprintf("consume topic=T id=c window=%d", topic.MessageDepth))
	for range topic.MessageDepth {
		a := c.recv()
		if stored[string(a.Body)] {
			t.Errorf("%s is there twice", a.Body)
		}
		stored[string(a.Body)] = true
	}
	total := 0
	for _, ids := range confirmed {
		for _, id := range ids {
			if total++; !stored[id] {
				t.Errorf("%s was confirmed and is lost", id)
			}
		}
	}
	t.Logf("%d confirmed, %d stored", total, len(stored))
}

func TestAStopDoesNotWaitForThoseWhoAskNothing(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	b := start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	b.dial(t).ok("declare topic=T")
	for _, first := range map[string]string{
		"nothing":           "",
		"half a head":       "GET / HTTP/1.1\r\ncmd: pro",
		"half a body":       "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\ncontent-length: 10\r\n\r\nabc",
		"a waiting consume": request("consume topic=T", ""),
		"an HTTP consume":   http11("GET", "/T?cmd=consume", "", ""),
		"idle HTTP":         http11("GET", "/healthz", "", ""),
		"half a handshake":  "\x16\x03\x01\x02\x00",
	} {
		c := b.dial(t)
		c.write(first)
	}
	eventually(t, "the consumers wait", func() bool {
		return strings.Contains(string(b.dialOnce(t, "query topic=T").Body), `"consumerCount":2`)
	})
	began := time.Now()
	b.stop(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestAStopAnswersWhatWasSentBeforeIt(t *testing.T) {
	t.Parallel()
	b := start(t)
	clients := make([]*client, 8)
	for i := range clients {
		clients[i] = b.dial(t)
		clients[i].ok("declare topic=T")
		for k := range 50 {
			clients[i].send(fmt.Sprintf("produce topic=T id=%d", k))
		}
		clients[i].recv().header(t, "id", "0") // the rest is in the broker or on its way
	}
	b.stop(t)
	for _, c := range clients {
		for k := 1; ; k++ {
			a, err := c.next()
			if isTimeout(err) {
				t.Fatal("neither answered nor closed")
			}
			if err != nil {
				break
			}
			if a.Status != 200 || a.Get("id") != fmt.Sprint(k) {
				t.Errorf("reply %d: %d, id %s", k, a.Status, a.Get("id"))
			}
		}
	}
}
