package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// When servers try a tracker again that they have lost: after retries, and then every rejoinTime, in turns. So
// one of several notices soon that it is back, and tells the others: see knock.
const (
	rejoinTime = 3 * time.Second
	aloneTime  = rejoinTime / 2 // of a server that is the only one
)

// settleLeast is how long a tracker that was just started waits at least, if only its members can tell who is
// missing: by then all that are in turn have tried it.
const settleLeast = 1600 * time.Millisecond

// knockers is how many servers are told at a time that a tracker is back.
const knockers = 8

// rest is how long to wait before the tracker is tried again, after so many failures.
func (l *link) rest(failures int) time.Duration {
	if failures < len(retries)-1 {
		return retries[failures]
	}
	l.c.mu.Lock()
	keys, since := make([]string, 0, len(l.lists)), time.Since(l.since)
	for _, i := range l.lists {
		if i.Address != l.name {
			keys = append(keys, i.Address.Key())
		}
	}
	l.c.mu.Unlock()
	slices.Sort(keys)
	rank := slices.Index(keys, l.c.opts.Self.Key())
	return turn(since-retries[0]-retries[1], rank, len(keys))
}

// turn is how long a server waits that is one of several, or not one of them with a negative rank, since the
// time of their turns began.
func turn(since time.Duration, rank, of int) time.Duration {
	every, begins := rejoinTime, rejoinTime
	switch {
	case of == 1 && rank == 0:
		every, begins = aloneTime, aloneTime
	case rank >= 0:
		begins = rejoinTime * time.Duration(rank+1) / time.Duration(of)
	}
	if since < begins {
		return begins - since
	}
	return every - (since-begins)%every
}

// knock tells the servers that the tracker has listed, and does not list now, that it is back. It does not wait
// for them.
func (l *link) knock(ctx context.Context, all *sync.WaitGroup) {
	l.c.mu.Lock()
	knocked, was := l.knocked, l.lists
	l.knocked = false
	var missing []Address
	for _, i := range was {
		if i.Address != l.name && i.Address != l.c.opts.Self && !slices.Contains(l.knows, i.Address) {
			missing = append(missing, i.Address)
		}
	}
	name := l.name.Address
	fresh := l.fresh
	l.c.mu.Unlock()
	if !fresh || knocked {
		return
	}
	room := make(chan struct{}, knockers)
	for _, a := range missing {
		all.Go(func() {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-room }()
			if err := l.c.knock(ctx, a, name); err != nil {
				l.c.opts.Log.Debug("a server was not told that its tracker is back", "server", a.Key(), "err", err)
			}
		})
	}
}

// knock tells a server that a tracker is back.
func (c *Cluster) knock(ctx context.Context, a Address, tracker string) error {
	secrets, local, err := c.way(ctx, a)
	if err != nil && a.SSLEnabled { // the tracker has no certificate of it yet
		secrets = c.opts.Secrets
	} else if err != nil {
		return err
	}
	conn, err := dial(ctx, a, secrets, local, replyLimits)
	if err != nil {
		return err
	}
	defer conn.close()
	_, err = conn.ask(ctx, dialTime, append(command(wire.CmdTrackProbe), wire.Field{Name: wire.HeaderTracker, Value: tracker}))
	return err
}

// Knocked is called when a client, which need not be a server, says that a tracker is back. If this server has to join
// that tracker and has not, it tries again at once.
func (c *Cluster) Knocked(tracker string) {
	for _, l := range c.links {
		l.there(tracker, true)
	}
}

// Settled is closed when this tracker has the members that it should have: those of before
// it was started have joined it again, or it has waited long enough.
func (c *Cluster) Settled() <-chan struct{} {
	if c == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return c.settled
}

// settle waits for the members. The other trackers know which there are, or the members that were here before;
// without them, only time tells.
func (c *Cluster) settle(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	patient := false
	timer := time.AfterFunc(settleLeast, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		patient = true
		c.progress()
	})
	defer timer.Stop()
	c.await(limit, func() bool { return c.whole(patient) })
	close(c.settled)
	c.opts.Changed()
}

// whole reports whether all are listed that others tell of, and others have told. What members tell counts
// when they had the time to come: the first one may know only itself. Called with mu held.
func (c *Cluster) whole(patient bool) bool {
	told := patient && len(c.expected) > 0
	known := c.expected
	for _, l := range c.links {
		if !l.tried {
			return false
		}
		if l.joined {
			known, told = append(known[:len(known):len(known)], l.knows...), told || !l.fresh
		}
	}
	return told && !slices.ContainsFunc(known, func(a Address) bool { return a.Address != c.opts.Self.Address && !c.lists(a.Address) })
}

// expect takes which servers a member says that this tracker has listed before it was started. Called with mu
// held.
func (c *Cluster) expect(knows []Address) {
	select {
	case <-c.settled:
		return
	default:
	}
	for _, a := range knows {
		if len(c.expected) < maxMembers && !slices.Contains(c.expected, a) {
			c.expected = append(c.expected, a)
		}
	}
	c.progress()
}

// lists reports whether a server is up. Called with mu held.
func (c *Cluster) lists(address string) bool {
	_, found := slices.BinarySearchFunc(c.listed, address, func(i *Info, a string) int { return cmp.Compare(i.Address.Address, a) })
	return found
}
