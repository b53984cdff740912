package api

import (
	"context"
	"io"
	"net/http"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// answerCopies is how many times a message is in memory while an answer has it: as it was
// read, as text, and as JSON. Large ones are written in pieces and take less.
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
