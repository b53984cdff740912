package cluster_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// mapping is an address at which a server is reached that listens at another one.
type mapping struct {
	addr string

	mu    sync.Mutex
	to    string
	ln    net.Listener // guarded by mu; nil when the mapping is closed
	conns []net.Conn   // guarded by mu
	made  int          // guarded by mu; connections that came by it
	all   sync.WaitGroup
}

func newMapping(t *testing.T) *mapping {
	t.Helper()
	m := &mapping{addr: "127.0.0.1:0"}
	m.open(t)
	t.Cleanup(m.shut)
	return m
}

// open opens it, at the same address as before.
func (m *mapping) open(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.addr, m.ln = ln.Addr().String(), ln
	m.mu.Unlock()
	m.all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			m.all.Go(func() { m.pass(conn) })
		}
	})
}

// shut closes it and all connections that came by it.
func (m *mapping) shut() {
	m.mu.Lock()
	if m.ln != nil {
		_ = m.ln.Close()
		m.ln = nil
	}
	for _, c := range m.conns {
		_ = c.Close()
	}
	m.conns = nil
	m.mu.Unlock()
	m.all.Wait()
}

func (m *mapping) pass(outer net.Conn) {
	defer outer.Close()
	m.mu.Lock()
	to := m.to
	m.mu.Unlock()
	inner, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer inner.Close()
	m.mu.Lock()
	if m.ln == nil {
		m.mu.Unlock()
		return
	}
	m.conns, m.made = append(m.conns, outer, inner), m.made+1
	m.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(outer, inner)
		_ = outer.Close()
	})
	_, _ = io.Copy(inner, outer)
	_ = inner.Close()
	back.Wait()
}

func (m *mapping) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made
}

// behindMappings starts servers that advertise the addresses of mappings, by which they join each other.
func behindMappings(t *testing.T, n int) (maps []*mapping, list []string) {
	t.Helper()
	for range n {
		m := newMapping(t)
		maps, list = append(maps, m), append(list, m.addr)
	}
	for _, m := range maps {
		b := zbustest.Start(t, tracked(list...), func(c *config.Config) { c.Advertise = m.addr })
		m.mu.Lock()
		m.to = b.Addr
		m.mu.Unlock()
	}
	return maps, list
}

// Servers are known by the addresses that they advertise, and by nothing else: trackers connect back to these,
// requests are passed on to them, clients and browsers go there.
func TestServersAreReachedAtTheAddressesThatTheyAdvertise(t *testing.T) {
	t.Parallel()
	maps, list := behindMappings(t, 2)
	for _, a := range list {
		subscribe(t, a).until(list...)
	}
	connect(t, list[1]).ok("declare", "topic", "orders")
	c := connect(t, list[0])
	before := maps[1].count()
	eventually(t, "a message is passed on", func() bool { return c.ask("produce", nil, "topic", "orders").Status == 200 })
	served(t, c.ask("produce", nil, "topic", "orders"), list[1], 200, "")
	if a, v := ask(t, list[0], "GET", "/topics/orders", ""); a.Header.Get("Zbus-Served-By") != list[1] {
		t.Errorf("over HTTP: %s by %q: %v", a.Status, a.Header.Get("Zbus-Served-By"), v)
	}
	if maps[1].count() < before+2 {
		t.Errorf("%d connections to the server with the topic after what was passed on, before it %d", maps[1].count(), before)
	}
	goes(t, maps, list)
	// The page Servers links to the consoles of the others by these addresses.
	for a := range servers(t, list[0]) {
		if !slices.Contains(list, a) {
			t.Errorf("the API lists %s, want %q", a, list)
		}
		resp, err := http.Get("http://" + a + "/ui/") //nolint:noctx // ends with the broker
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("the console at %s: %s", a, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	// A server whose address leads nowhere is not listed, though it runs.
	s := subscribe(t, list[0])
	maps[1].shut()
	s.until(list[0])
	maps[1].open(t)
	s.until(list...)
}

// goes checks that a client uses the advertised addresses.
func goes(t *testing.T, maps []*mapping, list []string) {
	t.Helper()
	before := maps[1].count()
	cl, err := zbus.Dial(t.Context(), list[0], zbus.Options{AllServers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	eventually(t, "the client is connected to both", func() bool {
		return !slices.ContainsFunc(list, func(a string) bool { return cl.Server(a) == nil || cl.Server(a).Address() != a })
	})
	if _, err := cl.Publish(t.Context(), "orders", zbus.Message{Body: []byte("hello")}); err != nil {
		t.Error(err)
	}
	if maps[1].count() == before {
		t.Error("the client has not connected to the advertised address")
	}
}

// conditions are the texts on the board of a server.
func conditions(t *testing.T, addr string) (texts []string) {
	t.Helper()
	_, v := ask(t, addr, "GET", "/server", "")
	for _, c := range v["conditions"].([]any) {
		texts = append(texts, c.(map[string]any)["text"].(string))
	}
	return texts
}

// An address by which others do not reach the server is said to be that, at the server that has it.
func TestWrongAdvertisedAddressIsExplained(t *testing.T) {
	t.Parallel()
	tracker, alone := zbustest.Start(t), zbustest.Start(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := silent.Addr().String()
	_ = silent.Close()
	for advertised, want := range map[string]string{
		nobody:           "can't connect back to " + nobody + ", which it advertises (--advertise): dial tcp",
		alone.Addr:       "can't connect back to " + alone.Addr + ", which it advertises (--advertise): another server has this address",
		tracker.Addr:     "it has the same address as this server: give one of them another, with --advertise",
		"169.254.1.1:80": "address 169.254.1.1: must not be link-local",
	} {
		b := zbustest.Start(t, tracked(tracker.Addr), func(c *config.Config) { c.Advertise = advertised })
		eventually(t, advertised+" is explained", func() bool {
			return slices.ContainsFunc(conditions(t, b.Addr), func(text string) bool { return strings.Contains(text, want) })
		})
	}
	if got := names(table(t, connect(t, tracker.Addr).ask("tracker", nil))); !slices.Equal(got, []string{tracker.Addr}) {
		t.Errorf("the tracker lists %q", got)
	}
}

// Behind some routers a server does not reach itself at the address that it advertises. As one of its trackers it
// is joined all the same.
func TestServerThatDoesNotReachItselfKnowsItself(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	outside := newMapping(t)
	outside.shut()
	b := zbustest.Start(t, tracked(outside.addr, tracker.Addr), func(c *config.Config) { c.Advertise = outside.addr })
	outside.to = b.Addr
	eventually(t, "the other tracker is not joined", func() bool { return len(conditions(t, b.Addr)) > 0 })
	if all := conditions(t, b.Addr); len(all) != 1 || !strings.Contains(all[0], "can't connect back to "+outside.addr) {
		t.Errorf("%q", all)
	}
	outside.open(t)
	subscribe(t, tracker.Addr).until(tracker.Addr, outside.addr)
	eventually(t, "all is well", func() bool { return len(conditions(t, b.Addr)) == 0 })
}
