package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func dialCluster(t testing.TB, opts zbus.Options, trackers ...string) *zbus.Client {
	t.Helper()
	opts.AllServers = true
	b, err := zbus.Dial(within(t), strings.Join(trackers, ";"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestClusterOfOneServer(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	b := dialCluster(t, zbus.Options{}, addr)
	if _, err := b.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("no topic: %v", err)
	}
	if _, err := b.DeclareTopic(within(t), zbus.TopicSpec{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	sub, err := b.Subscribe(within(t), "log", "", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		got <- string(d.Body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(within(t), "log", zbus.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the message", got)
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Subscribe(within(t), "missing", "", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil }); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("subscribe to no topic: %v", err)
	}
	servers := b.Servers()
	if len(servers) != 1 || servers[0].Address != addr || b.Server(addr) == nil || b.Server("other") != nil {
		t.Errorf("servers %+v", servers)
	}
	if err := b.Drain(within(t)); err != nil {
		t.Error(err)
	}
	if _, err := b.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("after Drain: %v", err)
	}
}

func TestClusterOfIndependentServers(t *testing.T) {
	t.Parallel()
	servers := []*zbustest.Broker{zbustest.Start(t), zbustest.Start(t), zbustest.Start(t)}
	b := dialCluster(t, hurried, servers[0].Addr, servers[1].Addr, servers[2].Addr, "127.0.0.1:1")
	if got := b.Servers(); len(got) != 3 {
		t.Fatalf("servers %+v", got)
	}
	if _, err := b.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
		t.Fatal(err)
	}
	got := make(chan *zbus.Delivery, 100)
	_, err := b.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		got <- d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := b.Publish(within(t), "jobs", zbus.Message{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for len(seen) < 30 {
		seen[receive(t, "a message", got).ID] = true
	}
	for _, s := range servers { // they took turns
		if info, err := b.Server(s.Addr).QueryTopic(within(t), "jobs"); err != nil || info.Messages == 0 {
			t.Errorf("%s: %+v, %v", s.Addr, info, err)
		}
	}
	// Without two of them everything goes to the third.
	for _, s := range servers[:2] {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 10; {
		_, err := b.Publish(within(t), "jobs", zbus.Message{ID: fmt.Sprint("later ", i)})
		if errors.Is(err, zbus.ErrUnknownOutcome) { // it noticed with this one
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		i++
	}
	// And when one is back, it is used again.
	if err := servers[0].Restart(); err != nil {
		t.Fatal(err)
	}
	if err := servers[2].Stop(); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := b.Publish(within(t), "jobs", zbus.Message{ID: "back"})
		if err == nil {
			break
		}
		if !errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Fatal(err)
		}
	}
	for receive(t, "the message of the server that is back", got).ID != "back" {
	}
}

func TestClusterReachesNobody(t *testing.T) {
	t.Parallel()
	if _, err := zbus.Dial(within(t), "127.0.0.1:1,127.0.0.1:2", zbus.Options{AllServers: true}); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := zbus.Dial(within(t), " ", zbus.Options{AllServers: true}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	silent := listen(t, func(*silentConn) {})
	if _, err := zbus.Dial(timed(t, 50*time.Millisecond), silent, zbus.Options{AllServers: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A tracker that is no member itself tells of two servers, and then of one.
func TestClusterFollowsItsTracker(t *testing.T) {
	t.Parallel()
	servers := []*zbustest.Broker{zbustest.Start(t), zbustest.Start(t)}
	table := func(revision int, listed ...*zbustest.Broker) string {
		all := map[string]any{}
		for _, s := range listed {
			all[s.Addr] = map[string]any{"serverAddress": map[string]any{"address": s.Addr}, "infoVersion": revision, "topicTable": map[string]any{}}
		}
		text, err := json.Marshal(map[string]any{
			"serverAddress": map[string]any{"address": "10.0.0.1:15555"}, "infoVersion": revision, "serverTable": all,
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	push := make(chan string)
	tracker := listen(t, func(conn *silentConn) {
		m, err := conn.requests.Read()
		if err != nil || m.Get(wire.HeaderCmd) != wire.CmdTrackSub {
			return
		}
		pub := wire.Field{Name: wire.HeaderCmd, Value: wire.CmdTrackPub}
		conn.answer(m, 200, table(1, servers...), pub)
		for text := range push {
			conn.answer(&wire.Message{}, 200, text, pub)
		}
	})
	defer close(push)
	var chosen []string
	b := dialCluster(t, zbus.Options{Select: func(_ string, all []zbus.ServerInfo) []string {
		chosen = append(chosen, fmt.Sprint(len(all)))
		return zbus.MostConsumers("", all)
	}}, tracker)
	for len(b.Servers()) != 2 || b.Server(servers[0].Addr).Ping(within(t)) != nil || b.Server(servers[1].Addr).Ping(within(t)) != nil {
	}
	if _, err := b.DeclareTopic(within(t), zbus.TopicSpec{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(within(t), "log", zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	push <- table(1, servers[0]) // not newer: nothing changes
	push <- table(2, servers[1])
	for b.Server(servers[0].Addr) != nil {
	}
	if _, err := b.Publish(within(t), "log", zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(chosen, " "); got != "2 1" {
		t.Errorf("the selector had %s servers to choose from, want 2 1", got)
	}
}

func TestClusterCallsWhereAProviderIs(t *testing.T) {
	t.Parallel()
	servers := []*zbustest.Broker{zbustest.Start(t), zbustest.Start(t)}
	b := dialCluster(t, zbus.Options{}, servers[0].Addr, servers[1].Addr)
	if _, err := b.DeclareTopic(within(t), zbus.TopicSpec{Name: "calc", RPC: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.Call(within(t), "calc", "add", nil); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("without a provider: %v", err)
	}
	c := dial(t, servers[1].Addr, zbus.Options{})
	serve(t, calculator(c, zbus.ServiceOptions{}), c, "calc")
	for range 4 {
		var sum int
		if err := b.Call(within(t), "calc", "add", &sum, 1, 2); err != nil || sum != 3 {
			t.Errorf("%d, %v", sum, err)
		}
	}
}

// Servers that have joined one tracker are a set for who knows the tracker alone, and when
// one of them goes, publishing continues with the others.
func TestClusterOfServersThatHaveJoined(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	join := func(c *config.Config) { c.Trackers = []string{tracker.Addr} }
	others := []*zbustest.Broker{zbustest.Start(t, join), zbustest.Start(t, join)}
	eventually(t, "all have joined", func() bool {
		b, err := zbus.Dial(within(t), tracker.Addr, zbus.Options{AllServers: true})
		if err != nil {
			return false
		}
		defer b.Close()
		return len(b.Servers()) == 3
	})
	b := dialCluster(t, hurried, tracker.Addr)
	for _, s := range others {
		if c := b.Server(s.Addr); c == nil || c.Address() == "" {
			t.Fatalf("%s is not connected", s.Addr)
		}
	}
	got := make(chan *zbus.Delivery, 100)
	if _, err := b.DeclareTopic(within(t), zbus.TopicSpec{Name: "jobs"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(within(t), "jobs", "", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		got <- d
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := others[1].Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server that has left is no longer known", func() bool { return b.Server(others[1].Addr) == nil })
	for i := range 10 {
		if _, err := b.Publish(within(t), "jobs", zbus.Message{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for len(seen) < 10 {
		seen[receive(t, "a message", got).ID] = true
	}
	if err := others[1].Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is back", func() bool { return b.Server(others[1].Addr) != nil })
}
