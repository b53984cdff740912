package contract

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// within is how long what is open outlives its credential or its grants, at most.
const within = time.Second

// A measurement is repeated, and the median counts: one may meet a machine that is busy with other tests, but a
// broker that is too slow is too slow in most of them. They are all repeated for a machine that is busy for longer.
// Each has to end before the test loses its patience.
const (
	measurements = 5
	rounds       = 4
)

// What is open ends within a second of the answer to what takes its credential or its grants away: a native
// consumer, a subscription of a WebSocket, a stream of events, a pull that waits, and a plan to move the group.
func TestARevocationHoldsWithinASecond(t *testing.T) {
	t.Parallel()
	for what, take := range map[string]func(g *guarded, id string){
		"the token is revoked": func(g *guarded, id string) {
			g.unchecked.do("DELETE", "/tokens/"+id, as(g.token)).want(204)
		},
		"the account is disabled": func(g *guarded, _ string) {
			g.unchecked.do("PATCH", "/accounts/c", object{"disabled": true}, as(g.token)).want(200)
		},
		"the account is removed": func(g *guarded, _ string) {
			g.unchecked.do("DELETE", "/accounts/c", as(g.token)).want(204)
		},
		"the account has another role": func(g *guarded, _ string) {
			g.unchecked.do("PATCH", "/accounts/c", object{"roles": list{"publisher"}}, as(g.token)).want(200)
		},
		"the role allows less": func(g *guarded, _ string) {
			g.unchecked.do("PUT", "/roles/clerk", object{"grants": list{"publish:#"}}, as(g.token)).want(200)
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := startGuarded(t)
			g.fixture()
			var took map[string][]time.Duration
			for n := range rounds {
				took = map[string][]time.Duration{}
				for range measurements {
					g.measure(t, take, took)
				}
				if slowest(took) <= within {
					break
				}
				t.Logf("round %d: %v", n, took)
			}
			for name, all := range took {
				if t.Logf("%s: %v", name, all); median(all) > within {
					t.Errorf("%s: it took %v, of which %v is the median; at most %v are promised", name, all, median(all), within)
				}
			}
		})
	}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// slowest is the largest of the medians.
func slowest(took map[string][]time.Duration) (d time.Duration) {
	for _, all := range took {
		d = max(d, median(all))
	}
	return d
}

// measure opens what stays open, takes away what it is open by, and adds how long after the answer to that each of
// them ended. What has ended before the answer was here has taken no time.
func (g *guarded) measure(t *testing.T, take func(g *guarded, id string), took map[string][]time.Duration) {
	t.Helper()
	root := as(g.token)
	g.unchecked.do("DELETE", "/accounts/c", root)
	g.unchecked.do("PUT", "/roles/clerk", object{"grants": list{"consume,move:t"}}, root).want(200)
	token, id := g.account("c", []string{"clerk"})
	plan := "/plans/" + g.unchecked.post("/topics/t/groups/g/plans", object{"to": "earliest"}, as(token)).want(201).str("id")
	ends := g.consumers(t, token)

	ended := map[string]time.Time{}
	var mu sync.Mutex
	var all sync.WaitGroup
	note := func(name string, end func() error) {
		err := end()
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if ended[name] = now; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, end := range ends {
		all.Go(func() { note(name, end) })
	}
	take(g, id)
	answered := time.Now()
	note("plan", func() error {
		for time.Since(answered) < patience {
			if r, err := g.unchecked.try("GET", plan, as(token)); err != nil || r.status != http.StatusOK {
				return err
			}
		}
		return fmt.Errorf("it can still be read")
	})
	if r := g.unchecked.do("POST", plan+":apply", as(token)); r.status < 401 || r.status > 404 {
		t.Errorf("the plan can be applied: %d %s", r.status, r.raw)
	}
	all.Wait()
	for name, at := range ended {
		took[name] = append(took[name], max(0, at.Sub(answered)))
	}
}

// consumers consume the topic t in four ways. It returns what waits for the end of each: of the connection, or of
// the consuming alone.
func (g *guarded) consumers(t *testing.T, token string) map[string]func() error {
	t.Helper()
	n := g.native(t)
	n.send("consume topic=t consume_group=g id=1 token=" + token)
	ws := g.socket(t, token)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"subscribe","topic":"t","group":"g"}`)); err != nil {
		t.Fatal(err)
	}
	if m := socketAnswer(t, ws); m["type"] != "subscribed" {
		t.Fatalf("the subscription: %v", m)
	}
	req, err := g.admin.request("GET", base+"/topics/t/events", as(token))
	if err != nil {
		t.Fatal(err)
	}
	events, err := http.DefaultClient.Do(req)
	if err != nil || events.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", events, err)
	}
	t.Cleanup(func() { _ = events.Body.Close() })
	pulled := make(chan error, 1)
	pull := &client{t, &http.Client{Timeout: 2 * patience}, g.addr}
	go func() {
		r, err := pull.try("POST", "/topics/t/groups/g:pull", object{"timeout": 60_000}, as(token))
		if err == nil && (r.status < 401 || r.status > 404) {
			err = fmt.Errorf("it was answered with %d %s", r.status, r.raw)
		}
		pulled <- err
	}()
	eventually(t, "all four consume", func() bool {
		return len(g.unchecked.get("/sessions?topic=t", as(g.token)).list("sessions")) == 4
	})
	return map[string]func() error{
		"native": func() error {
			_ = n.SetReadDeadline(time.Now().Add(patience))
			m, err := n.r.Read()
			if err == nil && (m.Status < 401 || m.Status > 404) {
				return fmt.Errorf("it was answered with %d %s", m.Status, m.Body)
			}
			if err != nil {
				return endOf(err)
			}
			return nil
		},
		"websocket": func() error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for {
				_, frame, err := ws.Read(ctx)
				if websocket.CloseStatus(err) == websocket.StatusPolicyViolation || strings.Contains(string(frame), `"ended"`) {
					return nil
				}
				if err != nil {
					return err
				}
			}
		},
		"events": func() error {
			for buf := make([]byte, 4096); ; {
				if _, err := events.Body.Read(buf); err != nil {
					return nil
				}
			}
		},
		"long poll": func() error { return <-pulled },
	}
}
