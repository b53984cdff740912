package api

import (
	"context"
	"io"
	"net/http"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// answerCopies is how many times a message is in memory while an answer has it: as text,
// as JSON, and as it was before that buffer grew.
const answerCopies = 3

// errNoRoom is why an answer is not put together.
var errNoRoom error = &broker.Error{Code: broker.Unavailable, Text: "answers that clients are slow to read fill the memory: try again later"}

// hold accounts for messages of n bytes before they are put into an answer, where the
// server keeps accounts.
func hold(w http.ResponseWriter, n int64) error {
	for w != nil {
		if a, ok := w.(interface{ Hold(n int64) bool }); ok {
			if a.Hold(answerCopies * n) {
				return nil
			}
			return errNoRoom
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = inner.Unwrap()
	}
	return nil
}

// wholeMessage is the answer that has all of a message.
type wholeMessage struct {
	*handler
	ctx    context.Context
	topic  *broker.Topic
	offset int64
}

// VisitGetMessageResponse writes the answer.
func (m *wholeMessage) VisitGetMessageResponse(w http.ResponseWriter) error {
	if err := m.reading.take(m.ctx); err != nil {
		return err
	}
	rec, err := m.read(w)
	m.reading.give()
	if err != nil {
		return err
	}
	fates, err := m.fates(m.ctx, m.topic, &Matcher{}, nil, true)
	if err != nil {
		return err
	}
	return GetMessage200JSONResponse(messageWith(rec, -1, fates)).VisitGetMessageResponse(w)
}

// read reads the message, unless there is no room for any.
func (m *wholeMessage) read(w http.ResponseWriter) (*storage.Record, error) {
	if err := hold(w, 0); err != nil { // it is full already
		return nil, err
	}
	rec, err := m.topic.Message(m.ctx, m.offset)
	if err != nil {
		return nil, err
	}
	return rec, hold(w, rec.Size())
}

// Values of a decoded document take about valueBytes each, besides their text. Documents up
// to smallDocument can't have many.
const (
	valueBytes    = 64
	smallDocument = 64 << 10
)

// holdValues accounts for the values of a document before it is decoded, where the server
// keeps accounts.
func holdValues(body io.Reader, raw []byte) error {
	counted, ok := body.(interface{ Hold(n int) error })
	if !ok || len(raw) <= smallDocument {
		return nil
	}
	return counted.Hold(valueBytes * wire.CountJSON(raw))
}

// turns bound how many messages are read at a time to be answered as a whole: what they
// take is accounted for as soon as it is known, and not before.
type turns chan struct{}

// take waits for a turn.
func (t turns) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) give() { <-t }
