package cluster_test

import (
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
