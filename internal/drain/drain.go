// Package drain empties a server before it stops: clients are sent to other servers, and
// consumers take what is left first.
//
// A server is drained of those topics that another server has which is up. What is published
// to them is refused with the addresses of these, and clients choose others from the table of
// servers. Consumers stay until they have consumed everything, or for so long as is allowed;
// then the server leaves the table, and who is still there is asked away: a connection gets
// nothing more, settles what it has, and is closed. Topics that no other server has are
// served on. What no consumer takes stays on the disk, and is there when the server is.
package drain

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/inspect"
)

const (
	// lookInterval is how often is looked whether there is something left to consume.
	lookInterval = 100 * time.Millisecond
	// lookShare is how many times as long as it took to look is not looked again, but for lookMost at most: on
	// a busy machine a look takes long as well, and clients would be left with no time.
	lookShare = 10
	lookMost  = 2 * time.Second
	// lagBudget is how many messages are read to count what a filter lets through.
	lagBudget = 20_000
	// leaveTime is how long clients have to go by themselves, once the server is not in their
	// table any longer.
	leaveTime = time.Second
	// pullTime is how long a pull consumer may take until its next pull.
	pullTime = time.Second
	// settleTime is how long a connection has, at least, to settle what it holds.
	settleTime = time.Second
)

// Session is a connection that consumes.
type Session struct {
	ID     string
	Topics []string
	Idle   bool // it holds nothing that it has to settle
}

// Options are what a Drain needs.
type Options struct {
	Broker  *broker.Broker
	Cluster *cluster.Cluster
	// Restate has all servers and clients told what this server says of itself.
	Restate func()
	// Sessions lists the connections that consume. Retire ends one that it can ask to settle
	// what it holds, by ctx at the latest; false: there is none of that kind. Disconnect ends
	// the others.
	Sessions   func() []Session
	Retire     func(ctx context.Context, id, reason string) bool
	Disconnect func(id, reason string) bool
	Log        *slog.Logger
}

// Drain drains a server. Its methods may be called by any number of goroutines.
type Drain struct {
	opts Options

	mu   sync.Mutex
	stop context.CancelFunc // guarded by mu; nil: the server is not being drained
	done chan struct{}      // guarded by mu: closed when it is over
}

// New creates a Drain, which does nothing yet.
func New(opts Options) *Drain { return &Drain{opts: opts} }

// Begin begins to drain the server; clients may stay for so long. It reports false when that
// was begun before. done is closed when all have gone.
func (d *Drain) Begin(patience time.Duration) (done <-chan struct{}, begun bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		return d.done, false
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	d.stop, d.done = stop, over
	d.opts.Broker.Divert(&broker.Elsewhere{
		Publish: func(topic string, call bool) []string { return d.others(topic, call) },
		Consume: func(topic string) []string {
			if phase, _ := d.opts.Cluster.Phase(); phase != cluster.Emptied {
				return nil
			}
			return d.others(topic, false)
		},
	})
	d.enter(cluster.Emptying)
	go func() {
		defer close(over)
		d.run(ctx, patience)
	}()
	return over, true
}

// End has the server used again. It reports false when it was.
func (d *Drain) End() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop == nil {
		return false
	}
	d.stop()
	<-d.done
	d.stop, d.done = nil, nil
	d.opts.Broker.Divert(nil)
	d.enter(cluster.Serving)
	return true
}

// Close ends it as it is, when the server stops.
func (d *Drain) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
		<-d.done
	}
}

func (d *Drain) enter(p cluster.Phase) {
	d.opts.Cluster.Enter(p)
	d.opts.Restate()
	d.opts.Log.Info("draining", "phase", cmp.Or(string(p), "over"))
}

// others are the addresses of the servers on which a topic is to be used.
func (d *Drain) others(topic string, served bool) (addresses []string) {
	for _, a := range d.opts.Cluster.Elsewhere(topic, served) {
		addresses = append(addresses, a.Address)
	}
	return addresses
}

// run waits until nothing is left to consume, and has the rest of the clients go.
func (d *Drain) run(ctx context.Context, patience time.Duration) {
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d.await(limit, d.consumed(limit))
	if ctx.Err() != nil {
		return
	}
	d.enter(cluster.Emptied)
	leaving, left := context.WithTimeout(ctx, leaveTime)
	d.await(leaving, func() bool { return len(d.staying()) == 0 })
	left()
	if until, ok := limit.Deadline(); !ok || time.Until(until) < settleTime {
		var more context.CancelFunc
		limit, more = context.WithTimeout(ctx, settleTime)
		defer more()
	}
	d.retire(limit)
}

// await asks twice in a row, as what was just published comes a little later, until something
// is so or ctx ends.
func (d *Drain) await(ctx context.Context, so func() bool) {
	for n := 0; n < 2; {
		began := time.Now()
		if so() {
			n++
		} else {
			n = 0
		}
		select {
		case <-time.After(min(max(lookInterval, lookShare*time.Since(began)), lookMost)):
		case <-ctx.Done():
			return
		}
	}
}

// pulled is how much of a group had been delivered and was not settled, and since when that is so.
type pulled struct {
	delivered int64
	inFlight  int
	since     time.Time
}

// consumed returns a function that reports whether the consumers here have had all there is. A pull
// consumer is not connected between two pulls: a group counts as consumed while messages of it are
// in flight, and for a while after.
func (d *Drain) consumed(ctx context.Context) func() bool {
	last := map[*broker.Group]pulled{}
	left := func(g *broker.Group) bool {
		info, n := g.Info(), g.Counts().Delivered
		if was, ok := last[g]; !ok || was.delivered != n || was.inFlight != info.InFlight {
			last[g] = pulled{n, info.InFlight, time.Now()}
		}
		if info.Paused || len(info.Consumers) == 0 && info.InFlight == 0 && time.Since(last[g].since) > pullTime {
			return false
		}
		lag, _ := inspect.Lag(ctx, g, lagBudget)
		return lag > 0 || info.InFlight > 0
	}
	return func() bool {
		for _, t := range d.opts.Broker.System().Topics() {
			if !t.Definition().Paused && len(d.others(t.Name(), false)) > 0 && slices.ContainsFunc(t.Groups(), left) {
				return false
			}
		}
		return true
	}
}

// staying are the connections that consume what they could consume elsewhere.
func (d *Drain) staying() (all []Session) {
	for _, s := range d.opts.Sessions() {
		for _, topic := range s.Topics {
			if len(d.others(topic, false)) > 0 {
				all = append(all, s)
				break
			}
		}
	}
	return all
}

// retire ends the connections that are still there, when they have settled what they have.
// Until then, those whose kind can't be asked to are looked at again and again.
func (d *Drain) retire(ctx context.Context) {
	const reason = "this server is being drained: connect to another one"
	var all sync.WaitGroup
	for _, s := range d.staying() {
		all.Go(func() {
			if d.opts.Retire(ctx, s.ID, reason) {
				return
			}
			d.await(ctx, func() bool {
				for _, now := range d.staying() {
					if now.ID == s.ID && !now.Idle {
						return false
					}
				}
				return true
			})
			if !errors.Is(ctx.Err(), context.Canceled) { // it may be over, or as late as it may be
				d.opts.Disconnect(s.ID, reason)
			}
		})
	}
	all.Wait()
}
