package contract

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// promptly is how long a single change may take to hold for what is open. A second is promised, and measured by
// TestARevocationHoldsWithinASecond; the rest is for a machine that is busy with other tests.
const promptly = 10 * time.Second

// opened opens with a token what stays open: a native consumer, a WebSocket, a stream of events and a
// pull that waits. It returns what waits for the end of each.
func (g *guarded) opened(t *testing.T, token string) (ends map[string]func() error) {
	t.Helper()
	root := as(g.token)
	n := g.native(t)
	n.send("consume topic=t consume_group=g id=1 token=" + token)
	ws := g.socket(t, token)
	stream, err := g.admin.request("GET", base+"/topics/t/events", as(token))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(stream)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	eventually(t, "all three consume", func() bool { return len(g.unchecked.get("/sessions?topic=t", root).list("sessions")) == 2 })
	pulled := make(chan int, 1)
	go func() {
		r, err := g.client(t).try("POST", "/topics/t/groups/g:pull", object{"timeout": 60_000}, as(token))
		if err != nil {
			pulled <- 0
			return
		}
		pulled <- r.status
	}()
	eventually(t, "the pull waits, too", func() bool { return len(g.unchecked.get("/sessions?topic=t", root).list("sessions")) == 3 })
	return map[string]func() error{
		"native": func() error {
			_ = n.SetReadDeadline(time.Now().Add(patience))
			for {
				if _, err := n.r.Read(); err != nil {
					return endOf(err)
				}
			}
		},
		"websocket": func() error {
			for {
				if _, _, err := ws.Read(t.Context()); err != nil {
					if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
						return err
					}
					return nil
				}
			}
		},
		"events": func() error {
			buf := make([]byte, 4096)
			for {
				if _, err := resp.Body.Read(buf); err != nil {
					return nil
				}
			}
		},
		"pull": func() error {
			if status := <-pulled; status == 200 {
				return fmt.Errorf("it was answered with %d", status)
			}
			return nil
		},
	}
}

// allEnd waits for all that was opened, which has to end no earlier than at a time and soon after it.
func allEnd(t *testing.T, ends map[string]func() error, since time.Time) {
	t.Helper()
	took := map[string]time.Duration{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for name, end := range ends {
		all.Go(func() {
			err := end()
			mu.Lock()
			defer mu.Unlock()
			if took[name] = time.Since(since); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	for name, took := range took {
		if t.Logf("%s ended after %v", name, took); took < 0 || took > promptly {
			t.Errorf("%s: that is too early or too late", name)
		}
	}
}

// A token that expires ends what is open, without a request that would notice.
func TestExpiredTokensEndWhatIsOpen(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	g.fixture()
	g.account("c", []string{"consumer", "viewer"})
	expires := time.Now().Add(12 * time.Second).Truncate(time.Millisecond)
	r := g.unchecked.post("/tokens", object{"account": "c", "expires": expires.Format(time.RFC3339Nano)}, as(g.token)).want(201)
	ends := g.opened(t, r.str("token"))
	if time.Now().After(expires) {
		t.Fatal("opening it took so long that it tells nothing")
	}
	allEnd(t, ends, expires)
}
