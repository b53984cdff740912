package zbus

import (
	"context"
)

// setSubscription is a consumer of a group on every server of a set.
type setSubscription struct {
	cluster *cluster
	out     *Subscription // what its owner has
	opts    SubscribeOptions
	handler Handler
	life    context.Context
	cancel  context.CancelFunc
	first   chan error    // the outcome of the first attempt on each server that there was, until heard is closed
	heard   chan struct{} // closed when the outcomes are no longer read
	running int           // guarded by cl.mu: goroutines
}

// subscribe has messages of a group handled from all servers of the set, and from those that come to it
// later. It returns an error if it works for none.
func (cl *cluster) subscribe(ctx context.Context, topic, group string, opts SubscribeOptions, handler Handler) (*Subscription, error) {
	s := &setSubscription{
		cluster: cl, opts: opts, handler: handler, first: make(chan error), heard: make(chan struct{}),
	}
	s.life, s.cancel = context.WithCancel(ctx)
	s.out = &Subscription{c: cl.c, topic: topic, group: group, handler: handler, cancel: s.cancel, done: make(chan struct{})}
	cl.mu.Lock()
	if cl.closed {
		cl.mu.Unlock()
		s.cancel()
		return nil, closed().error("subscribe", s.out.target())
	}
	cl.subs[s] = struct{}{}
	n := len(cl.members)
	s.running++ // ends with life
	cl.all.Go(s.keep)
	for _, m := range cl.members {
		s.follow(m, true)
	}
	cl.mu.Unlock()
	errs, good := make([]error, n), n == 0
	for i := range errs {
		errs[i] = <-s.first
		good = good || errs[i] == nil
	}
	close(s.heard)
	if !good {
		s.cancel()
		<-s.out.done
		return nil, cl.foremost(errs)
	}
	return s.out, nil
}

// keep waits for the end.
func (s *setSubscription) keep() {
	select {
	case <-s.life.Done():
	case <-s.cluster.life.Done():
		s.cancel()
		s.out.c.mu.Lock()
		s.out.err = closed().error("subscribe", s.out.target())
		s.out.c.mu.Unlock()
	}
	s.cluster.mu.Lock()
	delete(s.cluster.subs, s)
	s.cluster.mu.Unlock()
	s.left()
}

func (s *setSubscription) left() {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	if s.running--; s.running == 0 {
		close(s.out.done)
	}
}

// follow subscribes on one server. told says that subscribe waits for how that goes; it does not for servers
// that come in the meantime. Called with cl.mu held.
func (s *setSubscription) follow(m *member, told bool) {
	s.running++
	s.cluster.all.Go(func() {
		defer s.left()
		ctx, cancel := context.WithCancel(s.life)
		defer cancel()
		defer context.AfterFunc(m.life, cancel)()
		said := "" // of a server that refuses it
		for first := told; ; first = false {
			s.cluster.mu.Lock()
			changed := s.cluster.changed
			s.cluster.mu.Unlock()
			sub, err := m.c.subscribe(ctx, s.out.topic, s.out.group, s.opts, s.handler)
			if first {
				select {
				case s.first <- err:
				case <-s.heard:
				}
			}
			if err == nil {
				said = ""
				<-sub.Done()
				err = sub.Err()
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil && !s.cluster.elsewhere(err) && err.Error() != said {
				said = err.Error()
				s.out.c.log.Warn("zbus subscription refused by a server", "address", m.c.addrs[0].text, "err", err)
			}
			select {
			case <-changed: // the topic may have come, or the connection
			case <-ctx.Done():
				return
			}
		}
	})
}
