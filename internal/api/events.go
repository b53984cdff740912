package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How server-sent events are delivered.
const (
	eventWindow   = 256
	eventBeat     = 15 * time.Second // a comment, so that the connection is seen to live
	eventDeadline = 30 * time.Second // for one write
)

func newID() string { return strings.ToLower(rand.Text()) }

// StreamEvents sends a topic's messages until the client goes away.
func (h *handler) StreamEvents(ctx context.Context, r StreamEventsRequestObject) (answer StreamEventsResponseObject, err error) {
	t, err := h.view(ctx).For(access.See).Topic(r.Topic) // the group is what one consumes
	if err != nil {
		return nil, err
	}
	e := &events{ctx: ctx, stopping: h.Stopping, inbox: newInbox(ctx), readers: h.Readers, release: func() {}}
	quota := access.From(ctx).Quota()
	if err := quota.Connect(); err != nil {
		return nil, err
	}
	e.release = quota.Disconnect
	if h.Socket != nil {
		release, err := h.Socket(ctx)
		if err != nil {
			quota.Disconnect()
			return nil, err
		}
		e.release = func() { release(); quota.Disconnect() }
	}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	g, reset, err := h.eventGroup(ctx, t, &r.Params)
	if err != nil {
		return nil, err
	}
	own := r.Params.Group == nil
	if g.Info().Settle == storage.SettleExplicit {
		return nil, problem.Invalid("ConsumeGroup(%s) is explicit: events have no way to ack, use :pull or the WebSocket", g.Name())
	}
	e.greeting = ": connected\n\n"
	if own {
		e.greeting = "id: " + apiconv.ResumeID(g.Info().Cursor) + "\n\n"
	}
	if reset {
		e.greeting = "event: reset\ndata: the topic has no message with that id: it was removed or put back, so this begins with its first message\n" + e.greeting
	}
	if e.sub, err = g.Subscribe(e); err != nil {
		if own {
			g.Abandon()
		}
		return nil, err
	}
	e.readers.add(e.inbox, h.broker)
	return e, nil
}

// eventGroup is the group to consume in: the named one, or one of the caller's own. reset
// says that the caller's position was beyond the log.
func (h *handler) eventGroup(ctx context.Context, t *broker.Topic, p *StreamEventsParams) (g *broker.Group, reset bool, err error) {
	if p.Group != nil {
		if p.Filter != nil {
			return nil, false, problem.Invalid("filter goes with a group of the caller's own: leave out group, or filter")
		}
		g, err = h.view(ctx).GroupOf(t, *p.Group)
		return g, false, err
	}
	start := broker.Position{At: broker.AtLatest}
	if p.LastEventID != nil && *p.LastEventID != "" {
		if start, reset, err = apiconv.ParseResume(t, "Last-Event-ID", *p.LastEventID); err != nil {
			return nil, false, err
		}
	}
	g, err = h.view(ctx).EphemeralGroup(ctx, t, broker.GroupSpec{Filter: p.Filter, Start: start})
	return g, reset, err
}

// events is a consumer, and the answer that streams what it gets.
type events struct {
	*inbox
	ctx      context.Context
	stopping <-chan struct{}
	readers  *Readers
	release  func() // of what counts streams
	greeting string // what is sent at once
}

// VisitStreamEventsResponse streams until the client or the group is gone.
func (e *events) VisitStreamEventsResponse(w http.ResponseWriter) error {
	defer e.close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies pass it on as it comes
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	if !e.write(w, out, e.greeting) {
		return nil
	}
	beat := time.NewTicker(eventBeat)
	defer beat.Stop()
	for credit := 0; ; {
		if credit == 0 {
			credit = eventWindow
			e.sub.SetCredit(e.id, eventWindow)
		}
		select {
		case <-e.wake:
			n, ok := e.writeAll(w, out)
			if credit -= n; !ok {
				return nil
			}
		case <-beat.C:
			if !e.write(w, out, ": beat\n\n") {
				return nil
			}
		case <-e.ended:
			e.write(w, out, "event: end\ndata: the group was removed\n\n")
			return nil
		case err := <-e.cut:
			e.write(w, out, "event: end\ndata: "+err.Error()+"\n\n")
			return nil
		case <-e.stopping:
			return nil
		case <-e.ctx.Done():
			return nil
		}
	}
}

// writeAll writes what has come, and says how many messages that were. What could
// not be written goes back.
func (e *events) writeAll(w http.ResponseWriter, out *http.ResponseController) (n int, ok bool) {
	ok = true
	for _, b := range e.take(false) {
		written := 0
		if ok {
			written = e.writeBatch(w, out, b)
		}
		b.Done(written)
		n += len(b.Items)
		ok = ok && written == len(b.Items)
	}
	return n, ok
}

// writeBatch writes messages and says how many of them went out.
func (e *events) writeBatch(w http.ResponseWriter, out *http.ResponseController, b *broker.Batch) int {
	var text []byte
	for i := range b.Items {
		m := apiconv.Message(b.Items[i].Record, -1)
		data, err := json.Marshal(m)
		if err != nil {
			return 0
		}
		text = append(text, "id: "+m.Offset+"\ndata: "...)
		text = append(append(text, data...), "\n\n"...)
	}
	if !e.write(w, out, string(text)) {
		return 0
	}
	e.out.Add(int64(len(b.Items)))
	return len(b.Items)
}

func (e *events) write(w http.ResponseWriter, out *http.ResponseController, text string) bool {
	_ = out.SetWriteDeadline(time.Now().Add(eventDeadline)) // the next write fails, if this does
	_, err := w.Write([]byte(text))
	return err == nil && out.Flush() == nil
}

// close gives back what was not written.
func (e *events) close() {
	defer e.release()
	e.readers.remove(e.inbox)
	for _, b := range e.take(true) {
		b.Done(0)
	}
	e.sub.Close()
}
