package crashtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// fleet is servers, each in a process of its own, of which the first ones are the trackers of
// all.
type fleet struct {
	t        *testing.T
	servers  []*process
	addrs    []string
	only     []*process // trackers that are no servers for messages
	trackers string
}

func newFleet(t *testing.T, n, trackers int, flags ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, addrs: freeAddresses(t, n)}
	f.trackers = strings.Join(f.addrs[:trackers], ";")
	for _, a := range f.addrs {
		f.servers = append(f.servers, f.process(a, flags))
	}
	return f
}

// trackedBy has the servers join n processes that are only trackers.
func (f *fleet) trackedBy(n int) {
	f.t.Helper()
	addrs := freeAddresses(f.t, n)
	f.trackers = strings.Join(addrs, ";")
	for _, a := range addrs {
		f.only = append(f.only, f.process(a, []string{"--tracker-only"}))
	}
}

// freeAddresses are some that processes can listen on: servers have to know each other before
// they run.
func freeAddresses(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for len(addrs) < n {
		if a := zbustest.FreeAddr(t); !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func (f *fleet) process(addr string, flags []string) *process {
	p := &process{t: f.t, dir: f.t.TempDir()}
	p.command = func() *exec.Cmd {
		cmd := exec.Command(os.Getenv(binaryVariable), append([]string{"--listen=" + addr, "--data=" + p.dir, "--tracker=" + f.trackers}, flags...)...)
		cmd.Env = []string{"HOME=/"}
		return cmd
	}
	return p
}

// start runs all servers, and waits until all trackers list all of them.
func (f *fleet) start() {
	f.t.Helper()
	for _, p := range slices.Concat(f.only, f.servers) {
		p.start()
	}
	f.complete()
}

// complete waits until each tracker lists all servers.
func (f *fleet) complete() {
	f.t.Helper()
	for a := range strings.SplitSeq(f.trackers, ";") {
		f.until("tracker "+a+" lists all servers", func() bool {
			c, err := zbus.Dial(f.t.Context(), a, zbus.Options{AllServers: true})
			if err != nil {
				return false
			}
			defer c.Close()
			return len(c.Servers()) == len(f.servers)
		})
	}
}

func (f *fleet) until(what string, so func() bool) {
	f.t.Helper()
	for limit := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			f.t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// The topics of the load.
const (
	fleetTopic = "orders"
	fleetGroup = "workers" // with acks
	fleetCalls = "calc"
)

// ledger is what clients did and what was answered, of messages and calls by id.
type ledger struct {
	mu        sync.Mutex
	published map[string]error
	delivered map[string][]arrival
	called    map[string]error
	ran       map[string]int
	success   []success // of publishes
	killed    []killed
}

// arrival is that a message came, for which time as its server counts, and when.
type arrival struct {
	attempt int
	at      time.Time
}

// killed is that a server was killed, just before.
type killed struct {
	server int
	at     time.Time
}

// success is a publish that was answered, and when.
type success struct {
	publisher int
	at        time.Time
}

// load is clients that publish, consume and call through all servers.
type load struct {
	f        *fleet
	ledger   ledger
	stop     atomic.Bool
	all      sync.WaitGroup
	clients  []*zbus.Client
	services []func() // what ends them

	mu       sync.Mutex
	connects map[string]int // connections made, by client and server
}

// cluster makes a client of all servers.
func (l *load) cluster(name string) *zbus.Client {
	l.f.t.Helper()
	opts := zbus.Options{AllServers: true, MaxBackoff: 200 * time.Millisecond, OnState: func(s zbus.State) {
		if s.Connected {
			l.mu.Lock()
			l.connects[name+" to "+s.Address]++
			l.mu.Unlock()
		}
	}}
	c, err := zbus.Dial(l.f.t.Context(), l.f.trackers, opts)
	if err != nil {
		l.f.t.Fatal(err)
	}
	l.clients = append(l.clients, c)
	return c
}

// begin starts the load: publishers and callers, each with a connection to each server, two
// consumers, and a provider at each server.
func (f *fleet) begin(publishers, callers int) *load {
	f.t.Helper()
	l := &load{f: f, connects: map[string]int{}, ledger: ledger{
		published: map[string]error{}, delivered: map[string][]arrival{}, called: map[string]error{}, ran: map[string]int{},
	}}
	admin := l.cluster("admin")
	if _, err := admin.DeclareGroup(f.t.Context(), fleetTopic, zbus.GroupSpec{Name: fleetGroup, Explicit: true}); err != nil {
		f.t.Fatal(err)
	}
	if _, err := admin.DeclareTopic(f.t.Context(), zbus.TopicSpec{Name: fleetCalls, RPC: true}); err != nil {
		f.t.Fatal(err)
	}
	for _, a := range f.addrs {
		l.provide(a)
	}
	for i := range 2 {
		if _, err := l.cluster(fmt.Sprint("consumer ", i)).Subscribe(f.t.Context(), fleetTopic, fleetGroup, zbus.SubscribeOptions{Concurrency: 4}, l.took); err != nil {
			f.t.Fatal(err)
		}
	}
	f.until("all providers and consumers are known", func() bool {
		for _, s := range admin.Servers() {
			if s.Topics[fleetCalls].Consumers != 1 || s.Topics[fleetTopic].Consumers != 2 {
				return false
			}
		}
		return true
	})
	for i := range publishers {
		c := l.cluster(fmt.Sprint("publisher ", i))
		l.all.Go(func() { l.publish(c, i) })
	}
	for i := range callers {
		c := l.cluster(fmt.Sprint("caller ", i))
		l.all.Go(func() { l.call(c, i) })
	}
	return l
}

// provide answers calls at one server. It is a program of its own, with one address.
func (l *load) provide(addr string) {
	l.f.t.Helper()
	c, err := zbus.Dial(l.f.t.Context(), addr, zbus.Options{MaxBackoff: 200 * time.Millisecond})
	if err != nil {
		l.f.t.Fatal(err)
	}
	s := zbus.NewService(c, fleetCalls, zbus.ServiceOptions{})
	zbus.Handle(s, "echo", func(_ context.Context, id string) (string, error) {
		l.ledger.mu.Lock()
		l.ledger.ran[id]++
		l.ledger.mu.Unlock()
		return id, nil
	})
	ctx, cancel := context.WithCancel(l.f.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	l.services = append(l.services, func() {
		cancel()
		_ = c.Close()
		<-ended
	})
}

// took is the handler of the consumers.
func (l *load) took(_ context.Context, d *zbus.Delivery) error {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	l.ledger.delivered[d.ID] = append(l.ledger.delivered[d.ID], arrival{d.Attempt, time.Now()})
	return nil
}

// pace is how long a client of the load waits between two requests, so that the test can run
// beside others.
const pace = 2 * time.Millisecond

func (l *load) publish(c *zbus.Client, i int) {
	for n := 0; !l.stop.Load(); n++ {
		id := fmt.Sprintf("p%d-%d", i, n)
		_, err := c.Publish(l.f.t.Context(), fleetTopic, zbus.Message{ID: id, Body: []byte(id)})
		l.ledger.mu.Lock()
		l.ledger.published[id] = err
		if err == nil {
			l.ledger.success = append(l.ledger.success, success{i, time.Now()})
		}
		l.ledger.mu.Unlock()
		time.Sleep(pace)
	}
}

func (l *load) call(c *zbus.Client, i int) {
	for n := 0; !l.stop.Load(); n++ {
		id, got := fmt.Sprintf("c%d-%d", i, n), ""
		err := c.Call(l.f.t.Context(), fleetCalls, "echo", &got, id)
		if err == nil && got != id {
			err = fmt.Errorf("the answer to %s is that to %s", id, got)
		}
		l.ledger.mu.Lock()
		l.ledger.called[id] = err
		l.ledger.mu.Unlock()
		time.Sleep(pace)
	}
}

// verdict is what the checker found.
type verdict struct {
	published, unknown, refused int // outcomes of publishes
	calls, callsUnknown         int
	callsRefused                int
	delivered, redelivered      int
	connects                    map[string]int // most of any client, by server

	broken []string
}

func (v *verdict) fault(format string, args ...any) {
	if len(v.broken) < 20 {
		v.broken = append(v.broken, fmt.Sprintf(format, args...))
	}
}

// end stops the load, waits until everything is consumed, and checks it against what lies on
// the disks of all servers.
func (l *load) end() *verdict {
	l.f.t.Helper()
	l.stop.Store(true)
	l.all.Wait()
	admin := l.clients[0]
	l.f.until("all servers are connected", func() bool {
		for _, a := range l.f.addrs {
			if c := admin.Server(a); c == nil || c.Address() == "" {
				return false
			}
		}
		return true
	})
	on := map[string][]int{}
	for i, a := range l.f.addrs {
		for id := range l.stored(admin.Server(a)) {
			on[id] = append(on[id], i)
		}
	}
	l.f.until("everything is consumed", func() bool {
		l.ledger.mu.Lock()
		defer l.ledger.mu.Unlock()
		for id := range on {
			if len(l.ledger.delivered[id]) == 0 {
				return false
			}
		}
		return true
	})
	for _, end := range l.services {
		end()
	}
	for _, c := range l.clients {
		_ = c.Close()
	}
	v := l.ledger.check(on)
	v.connects = map[string]int{}
	for who, n := range l.connects {
		_, server, _ := strings.Cut(who, " to ")
		v.connects[server] = max(v.connects[server], n)
	}
	return v
}

// stored are the ids of the messages on one server. One that is there twice is a fault.
func (l *load) stored(c *zbus.Client) map[string]int {
	l.f.t.Helper()
	ctx, cancel := context.WithTimeout(l.f.t.Context(), 5*time.Minute)
	defer cancel()
	info, err := c.QueryTopic(ctx, fleetTopic)
	if err != nil {
		l.f.t.Fatal(err)
	}
	ids := map[string]int{}
	if info.Messages == 0 {
		return ids
	}
	for d, err := range c.Messages(ctx, fleetTopic, "check-"+rand.Text(), zbus.SubscribeOptions{Window: 1000, Declare: &zbus.GroupSpec{Start: zbus.Earliest()}}) {
		if err != nil {
			l.f.t.Fatal(err)
		}
		if ids[d.ID]++; ids[d.ID] > 1 {
			l.f.t.Errorf("%s is on %s twice", d.ID, c.Address())
		}
		if d.Offset == info.Messages-1 {
			break
		}
	}
	return ids
}

// check compares what was answered with what is stored, which on has: on which servers each
// message is.
func (l *ledger) check(on map[string][]int) *verdict {
	v := &verdict{delivered: len(l.delivered)}
	for id, err := range l.published {
		n := len(on[id])
		switch {
		case err == nil:
			v.published++
			if n != 1 {
				v.fault("%s was answered, and is on %d servers", id, n)
			}
		case errors.Is(err, zbus.ErrUnknownOutcome):
			v.unknown++
			if n > 1 {
				v.fault("%s is on %d servers", id, n)
			}
		default:
			v.refused++
			if n != 0 {
				v.fault("%s was refused, and is on %d servers: %v", id, n, err)
			}
		}
	}
	for id, times := range l.delivered {
		v.redelivered += len(times) - 1
		if len(on[id]) == 0 {
			v.fault("%s was delivered, and is on no server", id)
		} else if n := l.firsts(times, on[id][0]); n > 1 {
			v.fault("%s was delivered for the first time %d times", id, n)
		}
		if _, ours := l.published[id]; !ours {
			v.fault("%s was delivered, and never published", id)
		}
	}
	for id, err := range l.called {
		n := l.ran[id]
		switch {
		case err == nil:
			v.calls++
			if n != 1 {
				v.fault("call %s was answered, and ran %d times", id, n)
			}
		case errors.Is(err, zbus.ErrUnknownOutcome) || errors.Is(err, zbus.ErrTimeout):
			v.callsUnknown++
			if n > 1 {
				v.fault("call %s ran %d times", id, n)
			}
		default:
			v.callsRefused++
			if n != 0 {
				v.fault("call %s was refused, and ran: %v", id, err)
			}
		}
	}
	return v
}

// enough is how many publishes have to succeed after a fault: each publisher has come to all
// servers by then, as it takes turns.
const enough = 30

// firsts is how often a message was delivered for the first time, as its server counts. One that
// was killed before it had the ack has forgotten that it had delivered it.
func (l *ledger) firsts(times []arrival, server int) (n int) {
	var last time.Time
	for _, d := range times {
		if d.attempt > 1 {
			continue
		}
		excused := slices.ContainsFunc(l.killed, func(k killed) bool { return k.server == server && k.at.After(last) && k.at.Before(d.at) })
		if last.IsZero() || !excused {
			n++
		}
		last = d.at
	}
	return n
}

// kill kills a server.
func (l *load) kill(i int) time.Time {
	l.f.servers[i].kill()
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	now := time.Now()
	l.ledger.killed = append(l.ledger.killed, killed{i, now})
	return now
}

// failovers is the longest time that each publisher was without a success, from the last one
// before a moment to the first ones after it, sorted; and whether all of them have had these.
func (l *ledger) failovers(from time.Time, publishers int) (gaps []time.Duration, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, longest, n := map[int]time.Time{}, map[int]time.Duration{}, map[int]int{}
	for _, s := range l.success {
		if s.at.After(from) && n[s.publisher] < enough {
			n[s.publisher]++
			if before, ok := last[s.publisher]; ok {
				longest[s.publisher] = max(longest[s.publisher], s.at.Sub(before))
			}
		}
		last[s.publisher] = s.at
	}
	all = true
	for i := range publishers {
		all = all && n[i] == enough
	}
	return slices.Sorted(maps.Values(longest)), all
}

// settled waits until each publisher has published enough after a moment, and returns how long
// each was without a success.
func (l *load) settled(from time.Time, publishers int) (gaps []time.Duration) {
	l.f.t.Helper()
	l.f.until("all publishers publish", func() (all bool) {
		gaps, all = l.ledger.failovers(from, publishers)
		return all
	})
	return gaps
}
