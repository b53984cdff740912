package crashtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// set is three servers on machines of their own, each of which is a tracker, with clients of the
// Go library on a fourth one.
type set struct {
	t       *testing.T
	hosts   []*host
	servers []*process
	addrs   []string // that they advertise
	list    string   // of them
}

func startSet(t *testing.T, n *network) *set {
	s := newSet(t, n, 3, "15555")
	for _, p := range s.servers {
		p.start()
	}
	return s
}

// newSet makes machines with servers that listen at port 15555 and advertise another port, or the same.
func newSet(t *testing.T, n *network, servers int, advertised string) *set {
	s := &set{t: t}
	for i := range servers {
		s.hosts = append(s.hosts, n.host(i+1))
		s.addrs = append(s.addrs, s.hosts[i].addr+":"+advertised)
	}
	s.list = strings.Join(s.addrs, ";")
	for i, h := range s.hosts {
		p := realBroker(t, "fsync")
		plain := p.command
		p.command = func() (cmd *exec.Cmd) {
			base := plain()
			args := slices.DeleteFunc(base.Args, func(a string) bool { return strings.HasPrefix(a, "--listen=") })
			cmd = h.command(append(args, "--listen="+h.addr+":15555", "--advertise="+s.addrs[i], "--tracker="+s.list, "--insecure", "--auth=off")...)
			cmd.Env = append(base.Env, "PATH="+os.Getenv("PATH"))
			return cmd
		}
		s.servers = append(s.servers, p)
	}
	return s
}

// traffic is what clients send and get while something is broken.
type traffic struct {
	mu        sync.Mutex
	answered  map[string]bool // publishes that were answered
	sent      map[string]bool
	delivered map[string]int
	unknown   int
	refused   int
	last      time.Time     // of an answer
	gap       time.Duration // the longest time without one, since reset
	limit     time.Duration // of one publish
}

func (f *traffic) publish(ctx context.Context, cl *zbus.Client, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		f.mu.Lock()
		f.sent[id] = true
		f.mu.Unlock()
		for ctx.Err() == nil {
			one, cancel := context.WithTimeout(ctx, f.limit)
			_, err := cl.Publish(one, topic, zbus.Message{ID: id, Body: []byte(id)})
			cancel()
			f.mu.Lock()
			switch {
			case err == nil:
				f.answered[id] = true
				f.gap, f.last = max(f.gap, time.Since(f.last)), time.Now()
			case errors.Is(err, zbus.ErrUnknownOutcome):
				f.unknown++
			default:
				f.refused++
			}
			f.mu.Unlock()
			if err == nil {
				break
			}
		}
	}
}

// reset begins a new longest time without an answer, and returns the one before.
func (f *traffic) reset() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	gap := max(f.gap, time.Since(f.last))
	f.gap, f.last = 0, time.Now()
	return gap
}

// missing is how many answered publishes were delivered to nobody.
func (f *traffic) missing() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.answered {
		if f.delivered[id] == 0 {
			n++
		}
	}
	return n
}

// dial connects a client of all servers, which notices soon that one is silent.
func (s *set) dial() *zbus.Client {
	s.t.Helper()
	cl, err := zbus.Dial(s.t.Context(), s.list, zbus.Options{
		DialTimeout: time.Second, Heartbeat: 500 * time.Millisecond, HeartbeatTimeout: 1500 * time.Millisecond, MaxBackoff: time.Second,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// Servers and clients that hear each other in one direction only, not at all, now and then, or
// lose a tenth of all packets: what is answered is delivered.
func TestPartitions(t *testing.T) {
	rounds := faultreport.Scale(t, 1, 5)
	each := time.Duration(faultreport.Scale(t, 4, 20)) * time.Second
	n := inNetwork(t)
	if n == nil {
		return
	}
	s := startSet(t, n)
	f := &traffic{answered: map[string]bool{}, sent: map[string]bool{}, delivered: map[string]int{}, last: time.Now(), limit: 10 * time.Second}
	admin := s.dial()
	group := zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: 5 * time.Second}
	if _, err := admin.DeclareGroup(t.Context(), topic, group); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publishers sync.WaitGroup
	for i := range 2 {
		consumer, publisher := s.dial(), s.dial()
		if _, err := consumer.Subscribe(t.Context(), topic, "g", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.delivered[string(d.Body)]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		publishers.Go(func() { f.publish(ctx, publisher, fmt.Sprint("p", i)) })
	}
	a, b := s.hosts[0], s.hosts[1]
	faults := []struct {
		name string
		cut  func()
	}{
		{"one-way between servers", func() { b.rules(deaf(a.addr)) }},
		{"clients heard by no answer", func() { a.rules(deaf(n.addr)) }},
		{"two servers apart", func() { a.rules(deaf(b.addr)); b.rules(deaf(a.addr)) }},
		{"a server alone", func() { a.rules("drop") }},
		{"a tenth lost", func() {
			for _, h := range s.hosts {
				h.rules(lossy(10))
			}
		}},
	}
	r := faultreport.Record{Test: "partitions", Fault: "three servers, partitioned in one direction and both, one cut off, a tenth of all packets lost", Promise: "what was answered is delivered, and clients continue with the servers that they reach"}
	longest := map[string]time.Duration{}
	f.reset()
	for range rounds {
		for _, x := range faults {
			x.cut()
			holdsFor(each)
			longest[x.name] = max(longest[x.name], f.reset())
			for _, h := range s.hosts {
				h.heal()
			}
			r.Runs++
		}
		for range 6 { // flapping
			a.rules("drop")
			holdsFor(each / 8)
			a.heal()
			holdsFor(each / 8)
		}
		longest["a server that comes and goes"] = max(longest["a server that comes and goes"], f.reset())
		r.Runs++
	}
	stop()
	publishers.Wait()
	for limit := time.Now().Add(time.Minute); f.missing() > 0 && time.Now().Before(limit); {
		holdsFor(50 * time.Millisecond)
	}
	r.Broken = f.missing()
	twice := 0
	for id, n := range f.delivered {
		if !f.sent[id] {
			r.Broken++
		}
		twice += n - 1
	}
	if len(f.answered) < 10*r.Runs {
		t.Errorf("%d publishes were answered in %d partitions", len(f.answered), r.Runs)
	}
	r.Add("answered publishes", len(f.answered))
	r.Add("unknown outcomes, published again", f.unknown)
	r.Add("refused, published again", f.refused)
	r.Add("delivered again", twice)
	for _, x := range append(faults, struct {
		name string
		cut  func()
	}{name: "a server that comes and goes"}) {
		r.Add("longest time without an answer: "+x.name, longest[x.name].Round(10*time.Millisecond))
	}
	r.Save(t)
}

// holdsFor lets a state of the network last.
func holdsFor(d time.Duration) { <-time.After(d) }
