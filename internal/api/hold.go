package api

import (
	"net/http"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
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
	record *storage.Record
	fates  []*broker.Fates
}

// VisitGetMessageResponse writes the answer.
func (m *wholeMessage) VisitGetMessageResponse(w http.ResponseWriter) error {
	if err := hold(w, m.record.Size()); err != nil {
		return err
	}
	return GetMessage200JSONResponse(messageWith(m.record, -1, m.fates)).VisitGetMessageResponse(w)
}
