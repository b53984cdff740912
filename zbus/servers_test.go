package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// put publishes a message on one server.
func put(t *testing.T, addr, topic, body string) {
	t.Helper()
	if _, err := dial(t, addr, zbus.Options{}).Publish(within(t), topic, zbus.Message{Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// bodies are those of some deliveries, in order.
func bodies(got []*zbus.Delivery) (all []string) {
	for _, d := range got {
		all = append(all, string(d.Body))
	}
	return slices.Sorted(slices.Values(all))
}

func TestFetchTakesMessagesOfAllServers(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	for i, b := range []*zbustest.Broker{first, second} {
		c := dial(t, b.Addr, zbus.Options{})
		for n := range 30 {
			if _, err := c.Publish(within(t), "jobs", zbus.Message{Body: fmt.Append(nil, i, " ", n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]bool{}
	for len(seen) < 60 {
		got, err := cl.Fetch(within(t), "jobs", "g", min(25, 60-len(seen)), patience)
		if err != nil || len(got) != min(25, 60-len(seen)) {
			t.Fatalf("%d messages after %d, %v", len(got), len(seen), err)
		}
		for _, d := range got {
			if seen[string(d.Body)] || d.Attempt != 1 {
				t.Errorf("%s comes in attempt %d", d.Body, d.Attempt)
			}
			seen[string(d.Body)] = true
		}
		if err := zbus.AckAll(within(t), got); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []*zbustest.Broker{first, second} {
		settledAt(t, cl.Server(b.Addr), "jobs", "g")
	}
	if got, err := cl.Fetch(within(t), "jobs", "g", 10, 50*time.Millisecond); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", bodies(got), err)
	}
	if _, err := cl.Fetch(within(t), "jobs", "missing", 10, patience); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("a group that is nowhere: %v", err)
	}
	ended, cancel := context.WithCancel(within(t))
	cancel()
	if _, err := cl.Fetch(ended, "jobs", "g", 1, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("when the context has ended: %v", err)
	}
}

// Each server may have a message when one is asked for. The others are for the next Fetch, and are not lost
// in a group where the server takes them for consumed.
func TestWhatAFetchDoesNotTakeIsForTheNextOne(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	if _, err := cl.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "plain"}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		put(t, first.Addr, "jobs", "a")
		put(t, second.Addr, "jobs", "b")
		for _, group := range []string{"g", "plain"} {
			var both []*zbus.Delivery
			for len(both) < 2 {
				got, err := cl.Fetch(within(t), "jobs", group, 1, patience)
				if err != nil || len(got) != 1 || got[0].Attempt != 1 {
					t.Fatalf("%v, %v", got, err)
				}
				both = append(both, got...)
			}
			if got := bodies(both); !slices.Equal(got, []string{"a", "b"}) {
				t.Fatalf("group %s: %v", group, got)
			}
			if err := zbus.AckAll(within(t), both); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAFetchThatWaitsHearsOfServersThatComeBack(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	put(t, second.Addr, "jobs", "from the second")
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second server is lost", func() bool { return cl.Server(second.Addr) == nil || cl.Server(second.Addr).Address() == "" })
	type outcome struct {
		got []*zbus.Delivery
		err error
	}
	fetched := make(chan outcome, 1)
	fetch := func() {
		got, err := cl.Fetch(within(t), "jobs", "g", 1, patience)
		fetched <- outcome{got, err}
	}
	go fetch()
	put(t, first.Addr, "jobs", "from the first")
	if o := receive(t, "the message of the server that is there", fetched); o.err != nil || !slices.Equal(bodies(o.got), []string{"from the first"}) {
		t.Errorf("%v, %v", bodies(o.got), o.err)
	}
	go fetch()
	if err := second.Restart(); err != nil {
		t.Fatal(err)
	}
	if o := receive(t, "the message of the server that came back", fetched); o.err != nil || !slices.Equal(bodies(o.got), []string{"from the second"}) {
		t.Errorf("%v, %v", bodies(o.got), o.err)
	}
	for _, b := range []*zbustest.Broker{first, second} {
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both servers are lost", func() bool { return cl.Address() == "" })
	if got, err := cl.Fetch(within(t), "jobs", "g", 1, 50*time.Millisecond); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("without servers: %v, %v", bodies(got), err)
	}
	go fetch()
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	if o := receive(t, "the end with the client", fetched); !errors.Is(o.err, zbus.ErrClosed) {
		t.Errorf("after Close: %v, %v", bodies(o.got), o.err)
	}
}

// price makes a service that says at which server it was called.
func price(c *zbus.Client) *zbus.Service {
	s := zbus.NewService(c, "shop", zbus.ServiceOptions{})
	zbus.Handle(s, "price", func(context.Context, string) (int, error) { return 3, nil })
	return s
}

// answers reports whether a service answers at one server.
func answers(t *testing.T, addr, method string) bool {
	t.Helper()
	var price int
	err := dial(t, addr, zbus.Options{}).Call(within(t), "shop", method, &price, "tea")
	if err != nil && !errors.Is(err, zbus.ErrUnavailable) && !errors.Is(err, zbus.ErrNotFound) {
		t.Fatalf("%s at %s: %v", method, addr, err)
	}
	return err == nil && price == 3
}

func TestAServiceServesAtAllServers(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	cl := dialCluster(t, hurried, tracker.Addr)
	s := price(cl)
	stop := serve(t, s, dial(t, tracker.Addr, zbus.Options{}), "shop")
	if !answers(t, tracker.Addr, "price") {
		t.Error("no answer at the first server")
	}
	other := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{tracker.Addr} })
	eventually(t, "the server that has come is served", func() bool { return answers(t, other.Addr, "price") })
	zbus.Handle(s, "later", func(context.Context, string) (int, error) { return 3, nil })
	for _, b := range []*zbustest.Broker{tracker, other} {
		if !answers(t, b.Addr, "later") {
			t.Errorf("no answer of a method that was added, at %s", b.Addr)
		}
	}
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	if !answers(t, tracker.Addr, "price") {
		t.Error("no answer at the server that stays")
	}
	if err := other.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server that is back is served", func() bool { return answers(t, other.Addr, "price") })
	if err := stop(); err != nil {
		t.Errorf("the end of the service: %v", err)
	}
	for _, b := range []*zbustest.Broker{tracker, other} {
		if err := dial(t, b.Addr, zbus.Options{}).Call(within(t), "shop", "price", nil, "tea"); !errors.Is(err, zbus.ErrUnavailable) {
			t.Errorf("a call at %s after its end: %v", b.Addr, err)
		}
	}
}

// A service that ends answers the calls that it has taken, at each server.
func TestAServiceOfSeveralServersAnswersWhatItHasTaken(t *testing.T) {
	t.Parallel()
	first, second := zbustest.Start(t), zbustest.Start(t)
	cl := dialCluster(t, hurried, first.Addr, second.Addr)
	began, release := make(chan struct{}, 2), make(chan struct{})
	s := zbus.NewService(cl, "shop", zbus.ServiceOptions{})
	zbus.Handle(s, "price", func(context.Context, string) (int, error) {
		began <- struct{}{}
		<-release
		return 3, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	called := make(chan error, 2)
	for _, b := range []*zbustest.Broker{first, second} {
		c := dial(t, b.Addr, zbus.Options{})
		eventually(t, "the service is there", func() bool {
			info, err := c.QueryTopic(within(t), "shop")
			return err == nil && info.Consumers > 0
		})
		go func() { called <- c.Call(within(t), "shop", "price", nil, "tea") }()
	}
	for range 2 {
		receive(t, "a call", began)
	}
	cancel()
	close(release)
	for range 2 {
		if err := receive(t, "an answer", called); err != nil {
			t.Error(err)
		}
	}
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("with a client that is closed: %v", err)
	}
}

func TestWhatIsSaidOfSeveralServersIsTheSum(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	for _, addr := range []string{first.Addr, first.Addr, second.Addr} {
		put(t, addr, "jobs", "x")
	}
	ctx := within(t)
	if info, err := cl.QueryTopic(ctx, "jobs"); err != nil || info.Messages != 3 || len(info.Groups) != 1 || info.Groups[0].Name != "g" || info.Groups[0].Lag != 3 || info.Server != "" {
		t.Errorf("%+v, %v", info, err)
	}
	lag := func(want int64) {
		t.Helper()
		if info, err := cl.QueryGroup(ctx, "jobs", "g"); err != nil || info.Lag != want || !info.Explicit || info.Cursor != 0 {
			t.Errorf("%+v, %v; want a lag of %d", info, err, want)
		}
	}
	lag(3)
	if err := cl.EmptyGroup(ctx, "jobs", "g"); err != nil {
		t.Error(err)
	}
	lag(0)
	if info, err := cl.Relocate(ctx, "jobs", "g", zbus.Earliest(), "all again"); err != nil || info.Lag != 3 {
		t.Errorf("%+v, %v", info, err)
	}
	for _, place := range []zbus.Position{zbus.AtOffset(1), zbus.AtMessage("x")} {
		if _, err := cl.Relocate(ctx, "jobs", "g", place, ""); !errors.Is(err, zbus.ErrInvalid) {
			t.Errorf("a place of one server: %v", err)
		}
	}
	lag(3)
	if info, err := cl.Server(first.Addr).Relocate(ctx, "jobs", "g", zbus.AtOffset(1), ""); err != nil || info.Lag != 1 {
		t.Errorf("at one server: %+v, %v", info, err)
	}
	lag(2)
	if err := cl.EmptyTopic(ctx, "jobs"); err != nil {
		t.Error(err)
	}
	lag(0)
	if _, err := cl.QueryServer(ctx); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("which server: %v", err)
	}
	if err := dial(t, second.Addr, zbus.Options{}).RemoveTopic(ctx, "jobs"); err != nil {
		t.Fatal(err)
	}
	if info, err := cl.QueryTopic(ctx, "jobs"); err != nil || info.Server != first.Addr {
		t.Errorf("on one of them: %+v, %v", info, err)
	}
	if _, err := cl.QueryTopic(ctx, "missing"); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("on none of them: %v", err)
	}
	if err := cl.Ping(ctx); err != nil || cl.Address() != min(first.Addr, second.Addr) {
		t.Errorf("%v, %s", err, cl.Address())
	}
}

func TestDialFollowsTheAddresses(t *testing.T) {
	t.Parallel()
	_, addresses := joined(t, 2)
	one := dial(t, addresses[0], hurried)
	if one.Servers() != nil || one.Server(addresses[0]) != one || one.Server(addresses[1]) != nil || one.Server("") != nil {
		t.Errorf("one address: %+v", one.Servers())
	}
	failover := dialServer(t, addresses[0]+";"+addresses[1], hurried)
	if failover.Servers() != nil || failover.Address() != addresses[0] {
		t.Errorf("one server at a time: %+v, connected to %s", failover.Servers(), failover.Address())
	}
	var received atomic.Int64
	opts := hurried
	opts.Middleware = []zbus.Middleware{{Receive: func(*zbus.Delivery) { received.Add(1) }}}
	for _, list := range []string{addresses[0] + ";" + addresses[1], addresses[1] + ", zbus://" + addresses[0]} {
		c := dial(t, list, opts)
		if len(c.Servers()) != 2 || c.Server(addresses[0]) == nil || c.Server(addresses[0]).Address() == "" {
			t.Errorf("%s: %+v", list, c.Servers())
		}
		if _, err := c.DeclareGroup(within(t), "log", zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
			t.Fatal(err)
		}
		before := received.Load()
		for range 2 {
			if _, err := c.Publish(within(t), "log", zbus.Message{}); err != nil {
				t.Fatal(err)
			}
		}
		for d, err := range c.Messages(within(t), "log", "g", zbus.SubscribeOptions{}) {
			if err == nil {
				err = d.Ack(within(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if got, err := c.Fetch(within(t), "log", "g", 1, patience); err != nil || len(got) != 1 || zbus.AckAll(within(t), got) != nil {
			t.Errorf("%v, %v", got, err)
		}
		if n := received.Load() - before; n != 2 {
			t.Errorf("middleware has seen %d messages received, want 2", n)
		}
	}
}

// A server that is drained gives its consumers what it has, also those that fetch; then the others continue.
func TestFetchEmptiesAServerThatIsDrained(t *testing.T) {
	t.Parallel()
	_, addresses := joined(t, 2)
	cl := dial(t, addresses[0]+";"+addresses[1], hurried)
	if _, err := cl.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	const each = 40
	for _, addr := range addresses {
		c := dial(t, addr, zbus.Options{})
		for n := range each {
			if _, err := c.Publish(within(t), "jobs", zbus.Message{Body: fmt.Append(nil, addr, " ", n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]int{}
	for len(seen) < 2*each {
		got, err := cl.Fetch(within(t), "jobs", "g", min(7, 2*each-len(seen)), patience)
		if err != nil || len(got) == 0 {
			t.Fatalf("after %d messages: %d, %v", len(seen), len(got), err)
		}
		if len(seen) == 0 {
			post(t, addresses[0], "/servers/"+addresses[0]+":drain")
		}
		for _, d := range got {
			if seen[string(d.Body)]++; seen[string(d.Body)] > 1 {
				t.Errorf("%s comes again, in attempt %d", d.Body, d.Attempt)
			}
		}
		if err := zbus.AckAll(within(t), got); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the drained server has left", func() bool { return cl.Server(addresses[0]) == nil })
	if _, err := cl.Publish(within(t), "jobs", zbus.Message{Body: []byte("later")}); err != nil {
		t.Fatal(err)
	}
	if got, err := cl.Fetch(within(t), "jobs", "g", 1, patience); err != nil || !slices.Equal(bodies(got), []string{"later"}) {
		t.Errorf("%v, %v", bodies(got), err)
	}
}
