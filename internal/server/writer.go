package server

import (
	"net"
	"time"
)

// frames is the sending half of a connection.
type frames interface {
	// writeFrames sends the messages in buf; ends has the end of each.
	writeFrames(buf []byte, ends []int) error
	Close() error
}

// streamWriter sends messages one after the other on a byte stream.
type streamWriter struct{ net.Conn }

func (w *streamWriter) writeFrames(buf []byte, _ []int) error {
	_ = w.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.Write(buf)
	return err
}

// write sends what is queued until the queue is closed and empty, or the
// connection fails. It ends with every batch reported to the broker.
func (s *session) write(w frames) {
	defer close(s.written)
	e := newEncoder()
	var items []item
	var closed bool
	for {
		items, closed = s.out.take(items)
		if len(items) == 0 {
			if closed {
				if s.stopAt.Load() != nil { // a last request without a reply
					_ = w.Close()
				}
				return
			}
			<-s.out.wake
			continue
		}
		if err := s.writeItems(w, e, items); err != nil {
			break
		}
		s.roomier()
		if e.stopped {
			break
		}
		if cap(e.buf) > keepBytes {
			e.buf = nil
		}
	}
	// Failed or finished: nothing more can be sent. Closing the connection ends
	// the reader, too.
	s.out.close()
	s.stop()
	_ = w.Close()
	for closed = false; !closed || len(items) > 0; {
		items, closed = s.out.take(items)
		for i := range items {
			if b := items[i].batch; b != nil {
				b.Done(0)
			}
		}
	}
	s.roomier()
}

// writeItems encodes items and sends them in pieces of about flushBytes.
func (s *session) writeItems(w frames, e *encoder, items []item) error {
	e.http10 = s.http10.Load()
	if id := s.stopAt.Load(); id != nil {
		e.stopAt = *id
	}
	e.reset()
	first := 0
	for i := range items {
		e.add(&items[i])
		if len(e.buf) < flushBytes && i < len(items)-1 && !e.stopped {
			continue
		}
		err := w.writeFrames(e.buf, e.ends)
		for _, it := range items[first : i+1] {
			if it.batch != nil && err == nil {
				it.batch.Done(len(it.batch.Items))
			} else if it.batch != nil {
				it.batch.Done(0)
			}
		}
		first = i + 1
		e.reset()
		if err != nil || e.stopped {
			for _, it := range items[first:] {
				if it.batch != nil {
					it.batch.Done(0)
				}
			}
			return err
		}
	}
	return nil
}
