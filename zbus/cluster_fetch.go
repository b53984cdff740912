package zbus

import (
	"context"
	"errors"
	"slices"
	"time"
)

// lateFetch is how long a Fetch from several servers waits for the last word of those that are late, when
// its time is over: what comes afterwards is for the next one.
const lateFetch = time.Second

// fetched is what one server has given.
type fetched struct {
	server int // among those that were asked
	got    []*Delivery
	err    error
}

// fetch takes messages of a group from all servers that have it, in rounds: each is asked for its share of
// what is still missing, until one has given that. What comes from others after they were told to stop waits
// with them for the next round, or the next Fetch.
func (cl *cluster) fetch(ctx context.Context, topic, group string, most int, wait time.Duration) (got []*Delivery, err error) {
	began := time.Now()
	left := func() time.Duration { return max(wait-time.Since(began), leastFetch) }
	over := time.NewTimer(wait)
	defer over.Stop()
	var without error // why the servers that were asked last have nothing for this
	for round := 0; len(got) < most && ctx.Err() == nil && cl.life.Err() == nil && (round == 0 || time.Since(began) < wait); round++ {
		clients, changed := cl.usable()
		var some []*Delivery
		some, without = cl.fetchRound(ctx, clients, changed, topic, group, most-len(got), left)
		got = append(got, some...)
		if without == nil {
			continue
		}
		if !cl.elsewhere(without) || errors.Is(without, ErrNotFound) && len(got) == 0 {
			break
		}
		select { // there is no server
		case <-changed:
		case <-over.C:
		case <-ctx.Done():
		case <-cl.life.Done():
		}
	}
	if cl.life.Err() != nil {
		without = closed().error("fetch", topic+"/"+group)
	}
	if got = ours(got); len(got) > 0 {
		for _, d := range got {
			around(cl.opts.Middleware).received(d)
		}
		return got, nil
	}
	if ctx.Err() != nil {
		return nil, stopped(ctx, false).error("fetch", topic+"/"+group)
	}
	return nil, without
}

// fetchRound asks servers for their shares of most messages, until one has given its own, there may be other
// servers, or the time is over. The error is that none of them has such a group, or can be asked now.
func (cl *cluster) fetchRound(ctx context.Context, clients []*Client, changed <-chan struct{}, topic, group string, most int, left func() time.Duration) (got []*Delivery, without error) {
	if len(clients) == 0 {
		return nil, noServer("fetch", topic+"/"+group)
	}
	ctx, cancel := context.WithTimeout(ctx, left()+lateFetch)
	defer cancel()
	share := (most + len(clients) - 1) / len(clients)
	answers := make(chan fetched, len(clients))
	for i, c := range clients {
		go func() { // waited for below
			some, err := c.fetch(ctx, topic, group, share, left())
			answers <- fetched{i, some, err}
		}()
	}
	asked, errs := false, make([]error, len(clients))
	for n := 0; n < len(clients); {
		select {
		case a := <-answers:
			n++
			asked = asked || a.err == nil || ctx.Err() != nil && !cl.elsewhere(a.err)
			errs[a.server] = a.err
			take := min(len(a.got), most-len(got))
			got = append(got, a.got[:take]...)
			putBack(a.got[take:])
			if len(a.got) >= share {
				cancel()
			}
		case <-changed:
			var now []*Client
			if now, changed = cl.usable(); !slices.Equal(now, clients) {
				changed = nil
				cancel()
			}
		}
	}
	if asked || len(got) > 0 {
		return got, nil
	}
	return nil, cl.foremost(errs)
}

// usable are the servers that can be asked, by their addresses, and a channel that is closed when there may
// be others.
func (cl *cluster) usable() (all []*Client, changed <-chan struct{}) {
	cl.mu.Lock()
	servers, clients := cl.connected((*Client).usable)
	changed = cl.changed
	cl.mu.Unlock()
	addresses := make([]string, len(servers))
	for i := range servers {
		addresses[i] = servers[i].Address
	}
	slices.Sort(addresses)
	for _, a := range addresses {
		all = append(all, clients[a])
	}
	return all, changed
}

// ours are those of some deliveries that are still the client's.
func ours(got []*Delivery) (all []*Delivery) {
	for _, d := range got {
		d.s.c.mu.Lock()
		if d.present() {
			all = append(all, d)
		}
		d.s.c.mu.Unlock()
	}
	return all
}

// putBack leaves deliveries of one server for the next Fetch from it.
func putBack(some []*Delivery) {
	if len(some) == 0 {
		return
	}
	s := some[0].s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	all := present(some)
	s.queue = append(all, s.queue[s.head:]...)
	s.head = 0
	s.held += len(all)
	s.serve() // another Fetch may wait
}
