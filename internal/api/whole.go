package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/storage"
)

// bodyPiece is how much of a large body is written at a time. It is a multiple of three: base64 has
// no remainder between pieces.
const bodyPiece = 48 << 10

// wholeMessage is the answer that has all of a message.
type wholeMessage struct {
	h      *handler // not embedded: an answer would have the methods of all operations
	ctx    context.Context
	topic  *broker.Topic
	offset int64
}

// VisitGetMessageResponse writes the answer.
func (m *wholeMessage) VisitGetMessageResponse(w http.ResponseWriter) error {
	if err := m.h.reading.take(m.ctx); err != nil {
		return err
	}
	rec, err := m.read(w)
	m.h.reading.give()
	if err != nil {
		return err
	}
	fates, err := m.h.fates(m.ctx, m.topic, &apiconv.Matcher{}, nil, true)
	if err != nil {
		return err
	}
	if len(rec.Body) > apiconv.LargeBody && !rec.Damaged() {
		return writeLarge(w, rec, fates)
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

// writeLarge writes a message that has a large body, which comes last.
func writeLarge(w http.ResponseWriter, rec *storage.Record, fates []*inspect.Fates) error {
	head := *rec
	head.Body, head.Omitted = nil, len(rec.Body)
	d := messageWith(&head, -1, fates)
	d.Body, d.Truncated = nil, nil
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	member, piece := `,"body":"`, textPiece
	if !apiconv.IsText(rec.Body) {
		member, piece = `,"bodyBase64":"`, base64Piece
	}
	if _, err := w.Write(append(text[:len(text)-1], member...)); err != nil {
		return err
	}
	for rest := rec.Body; len(rest) > 0; {
		var part []byte
		if part, rest, err = piece(rest); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	_, err = w.Write([]byte("\"}\n"))
	return err
}

// textPiece is the beginning of a text as JSON, without the quotes, cut between characters.
func textPiece(body []byte) (part, rest []byte, err error) {
	end := min(bodyPiece, len(body))
	for end < len(body) && !utf8.RuneStart(body[end]) {
		end--
	}
	text, err := json.Marshal(string(body[:end]))
	if err != nil {
		return nil, nil, err
	}
	return text[1 : len(text)-1], body[end:], nil
}

func base64Piece(body []byte) (part, rest []byte, err error) {
	end := min(bodyPiece, len(body))
	return base64.StdEncoding.AppendEncode(nil, body[:end]), body[end:], nil
}
