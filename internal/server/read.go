package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// read takes requests off a stream until it ends. When the next request is not
// for a session it returns the unread bytes, beginning with that request.
func (s *session) read(conn net.Conn, r *wire.Reader) (buffered []byte, err error) {
	for {
		m, err := s.next(r)
		if err != nil && s.skip(r, err) {
			continue
		}
		if err != nil {
			s.flush()
			return nil, err
		}
		if m == nil {
			s.flush()
			s.throttle()
			s.cool()
			if r.WantsContinue() {
				s.out.push(item{raw: []byte("HTTP/1.1 100 Continue\r\n\r\n")})
			}
			if s.finishing.Load() {
				return nil, io.EOF
			}
			if err := s.fill(conn, r); err != nil {
				return nil, err
			}
			s.heard()
			continue
		}
		s.pace = socket.Pace{}
		if !s.mine(m) {
			s.flush()
			s.inflight.wait(0)
			s.stopWaiting()
			m.Del(wire.HeaderExpect)
			return append(m.Append(nil), r.Buffered()...), nil
		}
		s.handle(m)
		r.Recycle(m)
		if s.stopAt.Load() != nil {
			s.flush()
			return nil, s.linger(conn)
		}
	}
}

// skipBytes is how much a body may be longer than allowed for the connection to be kept.
const skipBytes = 64 << 20

// skip refuses a command whose body is too long, and continues behind it. It reports false
// where that can't be: the connection ends with the refusal then.
func (s *session) skip(r *wire.Reader, err error) bool {
	var bad *wire.Error
	if !errors.As(err, &bad) || !bad.Command || !r.SkipLong(s.srv.limits().Body+skipBytes) {
		return false
	}
	s.flush()
	s.send(bad.Status, bad.ID, bad.Reason)
	s.pace = socket.Pace{}
	return true
}

// next is the next message, if all of it is there. A publish or an answer is
// borrowed from the reader, since it is copied anyway.
func (s *session) next(r *wire.Reader) (m *wire.Message, err error) {
	if !copied(r) {
		s.borrowed, s.more = false, 0
		return r.Next()
	}
	m, given, err := r.Borrow()
	s.borrowed, s.more = !given, len(r.Buffered())
	return m, err
}

// copied reports whether the next message is one of which nothing is kept.
func copied(r *wire.Reader) bool {
	if cmd, ok := r.PeekField(wire.HeaderCmd); ok {
		return string(cmd) == wire.CmdProduce || string(cmd) == wire.CmdRoute
	}
	return bytes.HasPrefix(r.PeekURL(), []byte("/"+wire.CmdProduce+"/"))
}

// stopWaiting answers the consumes that still wait as if their time was over: a
// reply to them can't follow on a connection that another goroutine writes to.
func (s *session) stopWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.subs {
		if c.sub.Withdraw(c.id) {
			s.send(http.StatusNoContent, c.id, "")
		}
	}
}

// cool has a connection not be read at once of which too much was published. Others of its account are read.
func (s *session) cool() {
	if s.refused != nil {
		s.who.Quota().Cool(s.life, s.refused)
	} else if s.taken {
		s.who.Quota().Pace(s.life)
	}
	s.refused, s.taken = nil, false
}

// fill reads more. In the middle of a frame it takes note of how long that took.
func (s *session) fill(conn net.Conn, r *wire.Reader) error {
	s.deadline(conn, r)
	if _, skipping := r.Skipping(); len(r.Buffered()) == 0 && !skipping {
		return r.Fill()
	}
	began := time.Now()
	err := r.Fill()
	s.pace.Waited(time.Since(began))
	return err
}

// deadline says how long the next bytes may take.
func (s *session) deadline(conn net.Conn, r *wire.Reader) {
	if n, skipping := r.Skipping(); skipping {
		s.renewed = time.Time{}
		_ = conn.SetReadDeadline(time.Now().Add(s.pace.Body(n)))
	} else if len(r.Buffered()) == 0 {
		s.idle(conn)
	} else if _, ok := r.Peek(); ok {
		s.renewed = time.Time{}
		_ = conn.SetReadDeadline(time.Now().Add(s.pace.Body(int64(len(r.Buffered())))))
	} else {
		s.renewed = time.Time{}
		_ = conn.SetReadDeadline(time.Now().Add(s.pace.Head()))
	}
	if s.finishing.Load() { // set between the last check and the deadline above
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// idle renews the deadline for a connection that has nothing to say. It is not
// renewed for every message: some time more is added to it instead.
func (s *session) idle(conn net.Conn) {
	d := s.srv.opts.IdleTimeout
	now := time.Now()
	if !s.renewed.IsZero() && (d == 0 || now.Sub(s.renewed) < d/16) {
		return
	}
	s.renewed = now
	if d == 0 {
		_ = conn.SetReadDeadline(time.Time{})
	} else {
		_ = conn.SetReadDeadline(now.Add(d + d/16))
	}
}

// mine reports whether a request is one for a session. Of those with a cmd header only the
// first of a connection is looked at.
func (s *session) mine(m *wire.Message) bool {
	_, command := m.Lookup(wire.HeaderCmd)
	if m.Status != 0 || m.Malformed || command && s.vetted {
		return true
	}
	switch _, host := m.Lookup(wire.HeaderHost); {
	case !host:
		return !probe(m.URL, m.Minor)
	case byBrowser(m.Lookup), s.proxied && isForwarded(m.Lookup):
		return false
	case command:
		return true
	}
	return s.srv.isVerbURL(m.URL) && plain(m.Method) && m.Get(wire.HeaderUpgrade) == ""
}

// linger waits for the end of a connection whose last reply is still to be sent.
// Whatever arrives is thrown away; the writer closes the connection after that
// reply.
func (s *session) linger(conn net.Conn) error {
	var waste [512]byte
	for {
		s.srv.idle(conn)
		if s.finishing.Load() {
			return io.EOF
		}
		if _, err := conn.Read(waste[:]); err != nil {
			return err
		}
	}
}

// throttle waits while the session has too much unanswered or unsent: a client
// that does not read its replies is not read from.
func (s *session) throttle() {
	s.inflight.wait(int64(s.srv.opts.MaxInflight) - 1)
	for s.out.size() > queueBytes {
		select {
		case <-s.room:
		case <-s.life.Done():
			return
		}
	}
}
