package live

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
)

const (
	keepBytes = 256 << 10 // a buffer larger than this is let go
	joinBytes = 4 << 10   // a frame up to this size is put together before it is sent
)

// encoder turns frames into JSON, each into the same buffer.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

// encode is valid until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	if e.enc == nil {
		e.enc = json.NewEncoder(&e.buf)
		e.enc.SetEscapeHTML(false)
	}
	e.buf.Reset()
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(e.buf.Bytes(), []byte("\n")), nil
}

// letGo keeps no buffer that a large frame has needed: there may not be another one.
func (e *encoder) letGo() {
	if e.buf.Cap() > keepBytes {
		e.buf = bytes.Buffer{}
	}
}

// write is the socket's writer: it sends what is queued until the socket has ended and
// all is sent, or the connection fails. It ends with every batch reported.
func (s *socket) write() {
	defer close(s.done)
	var e encoder
	failed := false
	for s.life.Err() == nil {
		items, next, over := s.out.take()
		err := s.writeItems(&e, items)
		e.letGo()
		s.out.sent(items)
		more := next != nil
		if err == nil && more {
			err = s.writeView(next)
		} else if err == nil && !over {
			more, err = s.writeBeat()
		}
		if failed = err != nil; failed || over {
			break
		}
		if len(items) > 0 || more {
			continue
		}
		select {
		case <-s.out.wake:
		case <-s.life.Done():
		}
	}
	for _, it := range s.out.finish() {
		if it.batch != nil {
			it.batch.Done(0)
		}
	}
	if failed || s.life.Err() != nil {
		s.cut() // its reader fails now, too
		_ = s.ws.CloseNow()
		return
	}
	code, reason := s.closing()
	_ = s.ws.Close(code, reason)
}

// writeItems sends answers and deliveries. With an error, batches that were not
// written are given back.
func (s *socket) writeItems(e *encoder, items []item) (err error) {
	for i := range items {
		it := &items[i]
		switch {
		case it.batch != nil:
			n := 0
			if err == nil {
				n, err = s.writeBatch(e, it)
			}
			it.batch.Done(n)
		case err != nil:
		case it.raw != nil:
			err = s.send(it.raw)
			s.put.Add(1)
		default:
			var data []byte
			if data, err = e.encode(it.answer.frame()); err == nil {
				err = s.send(data)
				s.put.Add(1)
			}
		}
	}
	return err
}

// delivered is the frame of one message.
type delivered struct {
	Type    string            `json:"type"`
	Sub     string            `json:"sub"`
	Message apimodel.Delivery `json:"message"`
	Credit  string            `json:"credit"`
}

// writeBatch sends messages and says how many of them went out: none when their
// subscription is over.
func (s *socket) writeBatch(e *encoder, it *item) (n int, err error) {
	for i := range it.batch.Items {
		var frame any
		if it.sub.serves {
			call, ok := it.sub.given(&it.batch.Items[i])
			if !ok {
				n++
				continue
			}
			frame = call
		} else if it.sub.over.Load() {
			return n, nil
		} else {
			frame = delivered{Type: "message", Sub: it.sub.name, Message: apiconv.Delivery(it.batch, i), Credit: decimal(it.batch.Items[i].Credit)}
		}
		data, err := e.encode(frame)
		if err == nil {
			err = s.send(data)
		}
		if err != nil {
			return n, err
		}
		s.put.Add(1)
		n++
	}
	return n, nil
}

// writeView sends the figures of a watch, or some messages of a tail.
func (s *socket) writeView(w *watch) error {
	x, ok := s.out.look(w)
	switch {
	case !ok:
		return nil
	case x.figure != nil:
		return s.send(w.head, x.figure.rest)
	}
	frame := append([]byte(nil), w.head...)
	frame = append(frame, `"messages":[`...)
	frame = append(frame, bytes.Join(x.messages, []byte(","))...)
	frame = append(frame, `],"missed":"`...)
	frame = strconv.AppendInt(frame, x.missed, 10)
	return s.send(append(frame, `"}`...))
}

// writeBeat sends a beat, and reports false when there is none.
func (s *socket) writeBeat() (bool, error) {
	beat := s.out.takeBeat()
	if beat == nil {
		return false, nil
	}
	return true, s.send(beat)
}

// send sends one frame, which may be in several parts: large ones are not put
// together, because others send them at this moment, too.
func (s *socket) send(parts ...[]byte) error {
	ctx, cancel := context.WithTimeout(s.life, s.hub.opts.WriteTimeout)
	defer cancel()
	s.writing.Store(true)
	defer s.writing.Store(false)
	if len(parts) > 1 && len(parts[0])+len(parts[1]) <= joinBytes {
		parts = [][]byte{bytes.Join(parts, nil)}
	}
	if len(parts) == 1 {
		return s.ws.Write(ctx, websocket.MessageText, parts[0])
	}
	w, err := s.ws.Writer(ctx, websocket.MessageText)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

// decimal writes a number as the contract wants it.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func decimal(n int64) string { return strconv.FormatInt(n, 10) }
