package server

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/wire"
)

const (
	relayWrite = 10 * time.Second // for what is passed on at once
	relayRest  = 5 * time.Second  // for what is owed when the session ends
	relayHead  = 64 << 10         // of what comes back
)

// relay is a session's connection to another server, for topics that are there and not here.
// What the client asks of them is passed on, and what comes back is passed back. The
// connection there is this session's alone, as if its client had opened it: deliveries, acks
// and calls mean there what they mean here, and end when it ends.
//
// When the connection is lost while the client waits for something, it is unknown what became
// of it: the session hangs up, as this server does in the same case.
type relay struct {
	s    *session
	to   cluster.Address
	conn net.Conn
	done chan struct{} // closed when nothing comes back any longer

	// Owned by the reader of the session.
	w       *bufio.Writer
	buf     []byte
	mu      sync.Mutex
	owed    map[string]owed // guarded by mu: what the client waits for, by id
	broken  bool            // guarded by mu: nothing more can be passed on
	listens bool            // guarded by mu: the client waits for deliveries
	ending  bool            // guarded by mu: the session has ended, and no request waits
}

// awaited is what a client waits for after a request.
type awaited int

const (
	nothing    awaited = iota
	outcome            // an answer that comes at once: the session counts it as in flight
	answer             // one that a service gives
	deliveries         // as many as there are
)

// owed is how many answers are to come with an id, and how many of them the session counts.
type owed struct{ n, counted int64 }

// mostOwed is how much a client may wait for of one server.
const mostOwed = 100_000

// dialRelay connects to another server.
func (s *session) dialRelay(to cluster.Address) (*relay, error) {
	conn, err := s.srv.tracker.cluster.Dial(s.life, to)
	if err != nil {
		return nil, err
	}
	r := &relay{s: s, to: to, conn: conn, done: make(chan struct{}), w: bufio.NewWriter(conn), owed: make(map[string]owed)}
	go r.read()
	return r, nil
}

// pass passes a request on. wait says what is to come back.
func (r *relay) pass(m *wire.Message, cmd string, credential wire.Field, wait awaited) error {
	id := m.Get(wire.HeaderID)
	if !r.owe(strings.Clone(id), wait) {
		return errors.New("the connection to it is lost")
	}
	dst := wire.AppendRequestLine(r.buf[:0], m.Method, m.URL)
	for _, f := range m.Fields {
		if f.Name != wire.HeaderCmd && travels(f.Name, r.s.srv.access.On()) {
			dst = wire.AppendField(dst, f.Name, f.Value)
		}
	}
	dst = wire.AppendField(dst, wire.HeaderCmd, cmd)
	dst = wire.AppendField(dst, wire.HeaderHop, r.s.srv.opts.Address)
	if credential.Value != "" {
		dst = wire.AppendField(dst, credential.Name, credential.Value)
	}
	r.buf = wire.AppendLength(dst, len(m.Body))
	_ = r.conn.SetWriteDeadline(time.Now().Add(relayWrite))
	_, err := r.w.Write(r.buf)
	if err == nil {
		_, err = r.w.Write(m.Body)
	}
	if err != nil {
		_ = r.conn.Close() // the reader sees to what is owed
	}
	return nil
}

// travels reports whether a header of a request goes with it to another server. Those of the
// connection and of browsers have been judged here. Credentials go where access is on: where it is
// off, any server may join.
func travels(name string, closed bool) bool {
	switch name {
	case wire.HeaderToken, wire.HeaderAuthorization:
		return closed
	case wire.HeaderHost, wire.HeaderConnection, wire.HeaderUpgrade, wire.HeaderExpect, wire.HeaderHop,
		"keep-alive", "te", "trailer", "cookie", "origin", "referer", "forwarded", "via", "x-real-ip":
		return false
	}
	for _, prefix := range []string{"proxy-", "sec-", "x-forwarded-", "access-control-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// owe notes what the client waits for. It reports false when nothing can come.
func (r *relay) owe(id string, wait awaited) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.broken || len(r.owed) >= mostOwed:
		return false
	case wait == deliveries:
		r.listens = true
		return true
	case wait == nothing:
		return true
	}
	had := r.owed[id]
	if wait == outcome {
		r.s.inflight.add(1)
		had.counted++
	}
	had.n++
	r.owed[id] = had
	return true
}

// answered notes that an answer came.
func (r *relay) answered(id string) {
	r.mu.Lock()
	o, ok := r.owed[id]
	counted := min(o.counted, 1)
	if o.n, o.counted = o.n-1, o.counted-counted; ok && o.n == 0 {
		delete(r.owed, id)
	} else if ok {
		r.owed[id] = o
	}
	r.mu.Unlock()
	if counted > 0 {
		r.s.inflight.add(-1)
	}
}

// flush sends what was passed on.
func (r *relay) flush() {
	if r.w.Buffered() > 0 && r.w.Flush() != nil {
		_ = r.conn.Close()
	}
}

// usable reports whether something can be passed on.
func (r *relay) usable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.broken
}

// read passes back what comes, until the connection is lost.
func (r *relay) read() {
	defer close(r.done)
	limits := r.s.srv.limits()
	in := wire.NewReader(r.conn, wire.Limits{Head: max(relayHead, limits.Head), Fields: 1 << 10, Body: limits.Body})
	defer in.Release()
	for {
		m, err := in.Read()
		if err != nil {
			r.lost(err)
			return
		}
		id := m.Get(wire.HeaderID)
		sent := r.s.out.push(item{raw: r.back(m), id: strings.Clone(id)})
		r.answered(id)
		if !sent || !r.s.roomForRelays() {
			_ = r.conn.Close()
		}
	}
}

// lost ends what can't be answered now.
func (r *relay) lost(err error) {
	_ = r.conn.Close()
	r.mu.Lock()
	r.broken = true
	left, waited := r.owed, !r.ending && (r.listens || len(r.owed) > 0)
	r.owed = nil
	r.mu.Unlock()
	if waited {
		r.s.srv.log.Warn("connection to another server is lost, closing that of its client", "server", r.to.Key(), "remote", r.s.remote, "err", err)
		r.s.hangUp()
	}
	for _, o := range left {
		r.s.inflight.add(-o.counted)
	}
}

// back is a message of another server as the client is sent it.
func (r *relay) back(m *wire.Message) []byte {
	s := r.s
	var e encoder
	e.init()
	e.web, e.http10 = s.web.Load(), s.http10.Load() && s.stopAt.Load() == nil
	e.buf = make([]byte, 0, 256+len(m.Body))
	e.start(m.Status)
	e.buf = wire.AppendField(e.buf, wire.HeaderServedBy, r.to.Address)
	_, delivered := m.Lookup(wire.HeaderOriginID)
	if e.web = e.web && delivered; e.web {
		e.buf = append(e.buf, wire.Inert...)
	}
	for _, f := range m.Fields {
		switch f.Name {
		case wire.HeaderConnection, wire.HeaderServedBy:
		case wire.HeaderID, wire.HeaderOriginID, wire.HeaderOriginURL, wire.HeaderTag, wire.HeaderOffset, wire.HeaderTimestamp,
			wire.HeaderDeliveryCount, wire.HeaderHandle, wire.HeaderWindow:
			e.buf = wire.AppendField(e.buf, f.Name, f.Value)
		default:
			e.storedHeader(f.Name, f.Value)
		}
	}
	return wire.AppendBody(e.buf, m.Body)
}

// roomForRelays waits while the client is slow to read. It reports false when the session
// has ended.
func (s *session) roomForRelays() bool {
	for s.out.size() > queueBytes {
		select {
		case <-s.roomy:
		case <-s.life.Done():
			return false
		}
	}
	select {
	case s.roomy <- struct{}{}: // for the other relays
	default:
	}
	return true
}

// closeRelays ends the session's connections to other servers, and waits for that. What is
// owed may come until then, for a while.
func (s *session) closeRelays() {
	if len(s.relays) == 0 {
		return
	}
	late := time.AfterFunc(relayRest, func() {
		for _, r := range s.relays {
			_ = r.conn.Close()
		}
	})
	s.inflight.wait(0)
	late.Stop()
	for _, r := range s.relays {
		r.mu.Lock()
		r.ending = true
		r.mu.Unlock()
		_ = r.conn.Close()
		<-r.done
	}
}
