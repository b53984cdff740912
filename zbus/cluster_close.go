package zbus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// close ends all connections at once.
func (cl *cluster) close() {
	cl.mu.Lock()
	cl.closed = true
	clients := cl.clients()
	cl.mu.Unlock()
	cl.end()
	for _, c := range clients {
		_ = c.Close() // always nil
	}
	cl.all.Wait()
}

// clients are all connections, of members and of trackers. Called with cl.mu held.
func (cl *cluster) clients() []*Client {
	var all []*Client
	for _, t := range cl.trackers {
		all = append(all, t.c)
	}
	for _, m := range cl.members {
		if !m.tracker {
			all = append(all, m.c)
		}
	}
	return all
}

// drain ends all connections in order: last, since what is under way may need another one.
func (cl *cluster) drain(ctx context.Context) error {
	err := cl.rest(ctx)
	cl.mu.Lock()
	clients := cl.clients()
	cl.mu.Unlock()
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			if err := c.Drain(ctx); !errors.Is(err, ErrUnavailable) { // a server that is away has nothing under way
				errs[i] = err
			}
		})
	}
	all.Wait()
	cl.close()
	return errors.Join(append(errs, err)...)
}

// rest ends all subscriptions, and returns when they are over and nothing is under way.
func (cl *cluster) rest(ctx context.Context) error {
	cl.mu.Lock()
	subs := slices.Collect(maps.Keys(cl.subs))
	cl.mu.Unlock()
	for _, s := range subs {
		s.cancel()
	}
	for _, s := range subs {
		select {
		case <-s.out.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	cl.mu.Lock()
	if cl.idle == nil {
		cl.idle = make(chan struct{})
	}
	idle := cl.idle
	cl.working++
	cl.mu.Unlock()
	cl.ended()
	select {
	case <-idle:
	case <-cl.life.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// begun counts something that is under way, until ended.
func (cl *cluster) begun() {
	cl.mu.Lock()
	cl.working++
	cl.mu.Unlock()
}

func (cl *cluster) ended() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.working--; cl.working == 0 && cl.idle != nil {
		close(cl.idle)
		cl.idle = nil
	}
}
