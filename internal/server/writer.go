package server

import (
	"net"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
)

// frames is the sending half of a connection.
type frames interface {
	// writeFrames sends the messages in buf; ends has the end of each.
	writeFrames(buf []byte, ends []int) error
	// writeTable sends one message, whose body others are sent as well: it is not copied.
	writeTable(head, body []byte) error
	Close() error
}

// streamWriter sends messages one after the other on a byte stream.
type streamWriter struct {
	net.Conn
	stream *socket.Conn // nil when there is something in between
}

func (w *streamWriter) writeFrames(buf []byte, _ []int) error {
	if w.stream != nil {
		if buf = buf[w.stream.TryWrite(buf):]; len(buf) == 0 {
			return nil
		}
	}
	_ = w.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.Write(buf)
	return err
}

// write is the session's writer: it sends what is queued until the queue is closed
// and empty, or the connection fails. It ends with every batch reported to the
// broker.
func (s *session) write(w frames) {
	defer close(s.written)
	for {
		items, ok, over := s.out.begin()
		if over {
			_, ws := w.(*webSocket)
			if s.stopAt.Load() != nil || ws && s.hungUp.Load() { // a last request without a reply
				_ = w.Close()
			}
			return
		}
		if !ok {
			<-s.out.wake
			continue
		}
		err := s.goOn(w)
		if err != nil {
			reportAll(items, false)
		} else if err = s.writeItems(w, items); err == nil && !s.enc.stopped {
			s.out.end(items)
			s.roomier()
			continue
		}
		break
	}
	// Failed or finished: nothing more can be sent. Closing the connection ends
	// the reader, too.
	s.out.close()
	s.stop()
	_ = w.Close()
	items, _ := s.out.take() // nothing comes after close
	reportAll(items, false)
	s.roomier()
}

// hangUp ends a session that asked for something which may be done or not: it gets no
// answer, and the connection is closed. What has been answered before is still sent. It
// may be called by anybody and does not wait.
func (s *session) hangUp() {
	s.hungUp.Store(true)
	s.out.close()
	if conn, ok := s.conn.(net.Conn); ok { // its reader fails now, and ends the session
		s.finishing.Store(true)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// goOn sends what sendNow could not.
func (s *session) goOn(w frames) error {
	if len(s.rest) == 0 {
		return nil
	}
	err := w.writeFrames(s.rest, nil)
	reportAll(s.owed, err == nil)
	s.rest, s.owed = nil, nil
	return err
}

// reportAll tells the broker whether deliveries were written.
func reportAll(items []item, written bool) {
	for i := range items {
		if t := items[i].table; t != nil {
			t.release()
		}
		if b := items[i].batch; b != nil && written {
			b.Done(len(b.Items))
		} else if b != nil {
			b.Done(0)
		}
	}
}

// writeItems encodes items and sends them in pieces of about flushBytes.
func (s *session) writeItems(w frames, items []item) error {
	e := s.encoder()
	e.borrow(&s.srv.buffers)
	defer e.letGo(&s.srv.buffers)
	if id := s.stopAt.Load(); id != nil {
		e.stopAt = *id
	}
	first := 0
	for i := range items {
		if items[i].large() {
			if err := s.writeTable(w, e, &items[i]); err != nil || e.stopped {
				reportAll(items[first:], false)
				return err
			}
			reportAll(items[first:i+1], true)
			first = i + 1
			continue
		}
		e.add(&items[i])
		last := i == len(items)-1 || items[i].alone || items[i+1].alone
		if len(e.buf) < flushBytes && !last && !e.stopped {
			continue
		}
		s.activity.out.Add(int64(len(e.ends)))
		err := w.writeFrames(e.buf, e.ends)
		reportAll(items[first:i+1], err == nil)
		first = i + 1
		e.reset()
		if err != nil || e.stopped {
			reportAll(items[first:], false)
			return err
		}
	}
	return nil
}

// writeTable sends an item that is alone, as all large ones are.
func (s *session) writeTable(w frames, e *encoder, it *item) error {
	s.activity.out.Add(1)
	err := w.writeTable(it.raw, it.table.body)
	e.end(it.id)
	e.reset()
	return err
}

// encoder is the session's, empty. It belongs to the goroutine that sends.
func (s *session) encoder() *encoder {
	e := &s.enc
	e.http10, e.web = s.http10.Load(), s.web.Load()
	e.reset()
	return e
}

// sendNow has sent what is queued: a lone message at once, as far as the connection
// takes it, everything else by the writer. It does not wait.
func (s *session) sendNow() {
	if s.stream == nil || s.stopAt.Load() != nil {
		s.out.signal()
		return
	}
	items, ok := s.out.beginLone()
	if !ok {
		return
	}
	e := s.encoder()
	for i := range items {
		e.add(&items[i])
	}
	s.activity.out.Add(int64(len(e.ends)))
	if n := s.stream.TryWrite(e.buf); n < len(e.buf) {
		s.rest, s.owed = append([]byte(nil), e.buf[n:]...), items
		s.out.handOver()
		return
	}
	reportAll(items, true)
	s.out.end(items)
	s.roomier()
}
