package cluster_test

import (
	"fmt"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// servers is what the API says of the servers that a broker knows, by address.
func servers(t *testing.T, addr string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, s := range request(t, addr, "GET", "/servers", "", false)["servers"].([]any) {
		s := s.(map[string]any)
		address := s["address"].(string)
		if all[address] != nil {
			t.Errorf("%s lists %s twice", addr, address)
		}
		all[address] = s
	}
	return all
}

func TestAPIListsTheServers(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	server := launch(t, t.TempDir(), "127.0.0.1:0", tracker.Addr)
	connect(t, server.addr).ok("declare", "topic", "orders")
	is := func(at, address, state string, this bool, topics any) func() bool {
		return func() bool {
			s := servers(t, at)[address]
			return s["state"] == state && s["live"] == (state == "up") && s["this"] == this && s["topics"] == topics && s["since"] != nil && s["age"].(float64) >= 0
		}
	}
	eventually(t, "the tracker lists the server", is(tracker.Addr, server.addr, "up", false, 1.0))
	eventually(t, "the server lists its tracker", is(server.addr, tracker.Addr, "up", false, 0.0))
	eventually(t, "the server lists itself", is(server.addr, server.addr, "up", true, 1.0))
	server.kill()
	eventually(t, "the server that was killed is not reached", is(tracker.Addr, server.addr, "unreachable", false, 1.0))
	if all := servers(t, tracker.Addr); len(all) != 2 || all[tracker.Addr]["connections"] == nil {
		t.Errorf("%v", all)
	}
	// A server that leaves in order is gone.
	other := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{tracker.Addr} })
	eventually(t, "the tracker lists the other", is(tracker.Addr, other.Addr, "up", false, 0.0))
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other is gone", func() bool { return servers(t, tracker.Addr)[other.Addr] == nil })
}

// Every server shows what the others have and do, also a server that only a tracker knows.
func TestAPITellsWhatOtherServersHaveAndDo(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	join := func(c *config.Config) { c.Trackers = []string{tracker.Addr} }
	busy, idle := zbustest.Start(t, join), zbustest.Start(t, join)
	c := connect(t, busy.Addr)
	c.ok("declare", "topic", "orders")
	for i := range 7 {
		c.ok("produce", "topic", "orders", "n", fmt.Sprint(i))
	}
	for _, at := range []string{tracker.Addr, idle.Addr} {
		eventually(t, at+" shows what "+busy.Addr+" has", func() bool {
			s := servers(t, at)[busy.Addr]
			return s["messages"] == "7" && s["groups"] == 1.0 && s["connections"].(float64) >= 1 && s["uptime"].(float64) > 0 && s["diskFree"] != nil && s["disk"].(map[string]any)["stopped"] == false
		})
	}
	// Rates are told while they last.
	for _, at := range []string{tracker.Addr, idle.Addr} {
		eventually(t, at+" shows how much comes in at "+busy.Addr, func() bool {
			c.ok("produce", "topic", "orders")
			s := servers(t, at)[busy.Addr]
			return s["rates"] != nil && s["rates"].(map[string]any)["in"].(float64) > 0 && s["age"].(float64) < 15_000
		})
	}
	if err := busy.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is shown of it any longer", func() bool { return servers(t, idle.Addr)[busy.Addr] == nil })
}
