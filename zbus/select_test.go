package zbus_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestMostConsumersThenLeastLagThenTurns(t *testing.T) {
	t.Parallel()
	server := func(address string, consumers int, lag int64) zbus.ServerInfo {
		topic := zbus.TopicInfo{Consumers: consumers, Groups: []zbus.GroupInfo{{Lag: 1}, {Lag: lag}}}
		return zbus.ServerInfo{Address: address, Topics: map[string]zbus.TopicInfo{"t": topic}}
	}
	without, draining := zbus.ServerInfo{Address: "without"}, zbus.ServerInfo{Address: "draining", Draining: true}
	last := server("last", 9, 0) // being drained, and the only one with its topics
	last.Draining = true
	for _, c := range []struct {
		name    string
		servers []zbus.ServerInfo
		want    string
	}{
		{"consumers", []zbus.ServerInfo{server("a", 1, 0), server("b", 3, 1e6), server("c", 2, 0)}, "b c a"},
		{"lag", []zbus.ServerInfo{server("a", 1, 1e6), server("b", 1, 1e5), server("c", 1, 5000)}, "c b a"},
		{"a little lag is none", []zbus.ServerInfo{server("a", 1, 999), server("b", 1, 0)}, "a b"},
		{"nearly as much lag", []zbus.ServerInfo{server("a", 1, 15_999), server("b", 1, 8_000)}, "a b"},
		{"without the topic", []zbus.ServerInfo{draining, without, server("a", 0, 1e9)}, "a without draining"},
		{"what it still lists is to be used there", []zbus.ServerInfo{without, last}, "last without"},
	} {
		if got := strings.Join(zbus.MostConsumers("t", c.servers), " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// joined starts servers that know of each other, and waits until all of them do.
func joined(t *testing.T, n int, more ...func(*config.Config)) (all []*zbustest.Broker, addresses []string) {
	t.Helper()
	for range n {
		b := zbustest.Start(t, more...)
		all, addresses = append(all, b), append(addresses, b.Addr)
	}
	for _, b := range all {
		b.Configure(func(c *config.Config) { c.Trackers = addresses })
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addresses {
		eventually(t, "a tracker lists all servers", func() bool {
			b, err := zbus.Dial(within(t), a, zbus.Options{AllServers: true})
			if err != nil {
				return false
			}
			defer b.Close()
			return len(b.Servers()) == n
		})
	}
	return all, addresses
}

// messages are the ids of a topic on each server.
func messages(t *testing.T, b *zbus.Client, topic string, addresses []string) (on []map[string]int) {
	t.Helper()
	for _, a := range addresses {
		on = append(on, stored(t, b.Server(a), topic))
	}
	return on
}

func TestMessagesOfOneKeyGoToOneServer(t *testing.T) {
	t.Parallel()
	all, addresses := joined(t, 3)
	b := dialCluster(t, hurried, addresses...)
	if _, err := b.DeclareTopic(within(t), zbus.TopicSpec{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	listed := func() (n int) {
		for _, s := range b.Servers() {
			if _, ok := s.Topics["orders"]; ok {
				n++
			}
		}
		return n
	}
	eventually(t, "the topic is known on all servers", func() bool { return listed() == 3 })
	const keys = 60
	round := func(name string) {
		for k := range keys {
			id := fmt.Sprint(k, " ", name)
			for errOf(b.Publish(within(t), "orders", zbus.Message{ID: id, Key: fmt.Sprint("customer ", k)})) != nil {
			}
		}
	}
	// place is where each key is, of those that were published in a round.
	place := func(round string) (where [keys]int) {
		for i := range where {
			where[i] = -1
		}
		for i, ids := range messages(t, b, "orders", addresses) {
			for id := range ids {
				var k int
				var name string
				if _, err := fmt.Sscan(id, &k, &name); err == nil && name == round {
					where[k] = i
				}
			}
		}
		return where
	}
	round("first")
	round("second")
	first := place("first")
	if second := place("second"); second != first {
		t.Errorf("keys moved: %v, %v", first, second)
	}
	for i := range all {
		if !slices.Contains(first[:], i) {
			t.Errorf("server %d has no key: %v", i, first)
		}
	}
	// Without one server its keys move, and no others.
	if err := all[2].Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is gone", func() bool { return b.Server(addresses[2]) == nil })
	addresses = addresses[:2]
	round("third")
	for k, now := range place("third") {
		if first[k] != 2 && now != first[k] || first[k] == 2 && now < 0 {
			t.Errorf("key %d was on server %d, and is on %d", k, first[k], now)
		}
	}
	// The key arrives.
	for d, err := range b.Server(addresses[0]).Messages(within(t), "orders", "g", zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Start: zbus.Earliest()}}) {
		if err != nil || !strings.HasPrefix(d.Header("key"), "customer ") {
			t.Errorf("%+v, %v", d, err)
		}
		break
	}
}

// A client with a list of addresses whose server is drained goes to the next one, once.
func TestClientWithAddressesGoesWhereItIsSent(t *testing.T) {
	t.Parallel()
	_, addresses := joined(t, 2)
	for _, a := range addresses {
		declare(t, dial(t, a, zbus.Options{}), "jobs")
	}
	connects := make(chan string, 100)
	opts := hurried
	opts.OnState = func(s zbus.State) {
		if s.Connected {
			connects <- s.Address
		}
	}
	c := dialServer(t, strings.Join(addresses, ","), opts)
	got := make(chan string, 100)
	if _, err := c.Subscribe(within(t), "jobs", "", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		got <- string(d.Body)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, "the first connection", connects); a != addresses[0] {
		t.Fatalf("connected to %s", a)
	}
	post(t, addresses[0], "/servers/"+addresses[0]+":drain")
	if a := receive(t, "the second connection", connects); a != addresses[1] {
		t.Fatalf("connected to %s", a)
	}
	other := dial(t, addresses[1], zbus.Options{})
	eventually(t, "the consumer is there", func() bool {
		info, err := other.QueryTopic(within(t), "jobs")
		return err == nil && info.Consumers == 1
	})
	if _, err := other.Publish(within(t), "jobs", zbus.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the message", got)
	if len(connects) > 0 {
		t.Errorf("and once more to %s", <-connects)
	}
	// One that comes to the drained server is sent on, too.
	late := dialServer(t, strings.Join(addresses, ","), opts)
	receive(t, "a connection", connects)
	if _, err := late.Publish(within(t), "jobs", zbus.Message{}); err == nil {
		t.Error("a drained server has taken a message that another one takes")
	}
}

// post asks the API of a broker to do something.
func post(t *testing.T, addr, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodPost, "http://"+addr+"/api/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", path, resp.Status)
	}
}
