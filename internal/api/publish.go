package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/rushmore/zbus-go/internal/broker"
)

// MaxBatch is the most messages of one request that is not newline-delimited.
const MaxBatch = 10_000

// Publish stores messages.
func (h *handler) Publish(ctx context.Context, r PublishRequestObject) (PublishResponseObject, error) {
	t, err := h.broker.Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	switch {
	case r.JSONBody != nil:
		raw, err := r.JSONBody.MarshalJSON()
		if err != nil {
			return nil, err
		}
		messages, err := newMessages(raw)
		if err != nil {
			return nil, err
		}
		stored, err := h.store(ctx, t, messages, "message", 0)
		if err != nil {
			return nil, err
		}
		return publishedAnswer(stored, len(stored), allKnown(stored)), nil
	case r.Body != nil:
		return h.publishLines(ctx, t, r.Body)
	}
	return nil, invalid("the type of the body must be application/json or application/x-ndjson")
}

// newMessages reads one message or an array of them.
func newMessages(raw []byte) (list []NewMessage, err error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] != '[' {
		list = make([]NewMessage, 1)
		err = decode(bytes.NewReader(raw), &list[0])
	} else {
		err = decode(bytes.NewReader(raw), &list)
	}
	switch {
	case err != nil:
		return nil, explain(err)
	case len(list) == 0:
		return nil, invalid("the array is empty: it must have at least one message")
	case len(list) > MaxBatch:
		return nil, invalid("the array has %d messages: at most %d go into one commit", len(list), MaxBatch)
	}
	return list, nil
}

// store stores messages in one commit. before is how many came before them.
func (h *handler) store(ctx context.Context, t *broker.Topic, messages []NewMessage, what string, before int) ([]broker.Stored, error) {
	inputs := make([]broker.Input, len(messages))
	for i, m := range messages {
		where := "the message"
		if len(messages) > 1 || before > 0 || what != "message" {
			where = what + " " + count(before+i+1)
		}
		var err error
		if inputs[i], err = InputOf(t, m, where); err != nil {
			return nil, err
		}
	}
	return h.broker.Store(ctx, inputs)
}

func allKnown(stored []broker.Stored) bool {
	for _, s := range stored {
		if !s.Duplicate {
			return false
		}
	}
	return true
}

// publishedAnswer is 201 when something new was stored and 200 otherwise.
func publishedAnswer(stored []broker.Stored, total int, known bool) PublishResponseObject {
	p := Published{Results: make([]PublishResult, len(stored)), Count: optional(count(total))}
	for i, s := range stored {
		p.Results[i] = ResultOf(s)
	}
	if len(stored) > 0 {
		p.Offset, p.Duplicate = &p.Results[0].Offset, p.Results[0].Duplicate
	}
	if known {
		return Publish200JSONResponse(p)
	}
	return Publish201JSONResponse(p)
}

// How many lines go into one commit, and about how many bytes of them.
const (
	linesCommit = 1000
	linesBytes  = 4 << 20
)

// publishLines stores newline-delimited messages as they are read.
func (h *handler) publishLines(ctx context.Context, t *broker.Topic, body io.Reader) (PublishResponseObject, error) {
	lines := bufio.NewReaderSize(body, 64<<10)
	var last []broker.Stored
	stored, known := 0, true
	accounted, _ := body.(interface{ Handled() })
	for end := false; !end; {
		var messages []NewMessage
		var err error
		messages, end, err = readLines(lines, stored)
		if len(messages) > 0 {
			some, storeErr := h.store(ctx, t, messages, "line", stored)
			if storeErr != nil {
				return nil, &detailed{error: storeErr, stored: optional(count(stored))}
			}
			stored += len(some)
			known = known && allKnown(some)
			last = some
		}
		if accounted != nil {
			accounted.Handled()
		}
		if err != nil {
			n := count(stored)
			return nil, &detailed{error: explain(err), stored: &n}
		}
	}
	if stored == 0 {
		return nil, invalid("the body is empty: it must have one message a line")
	}
	return publishedAnswer(last, stored, known), nil
}

// readLines reads the messages of one commit. end says that no more follow. An
// error is about the line behind those it returns.
func readLines(lines *bufio.Reader, before int) (list []NewMessage, end bool, err error) {
	for size := 0; len(list) < linesCommit && size < linesBytes; {
		line, err := lines.ReadBytes('\n')
		size += len(line)
		if err != nil && !errors.Is(err, io.EOF) {
			return list, true, err
		}
		if line := bytes.TrimSpace(line); len(line) > 0 {
			var m NewMessage
			if bad := decode(bytes.NewReader(line), &m); bad != nil {
				return list, true, invalid("line %d: %s", before+len(list)+1, textOf(explain(bad)))
			}
			list = append(list, m)
		}
		if err != nil {
			return list, true, nil
		}
	}
	return list, false, nil
}

// Transact publishes, settles and moves in one commit.
func (h *handler) Transact(ctx context.Context, r TransactRequestObject) (TransactResponseObject, error) {
	tx := broker.Transaction{Actor: actor(ctx)}
	messages := or(r.Body.Messages, nil)
	for i, m := range messages {
		t, err := h.broker.Topic(m.Topic)
		if err != nil {
			return nil, err
		}
		in, err := InputOf(t, NewMessage{
			Id: m.Id, Tag: m.Tag, Headers: m.Headers, Body: m.Body, BodyBase64: m.BodyBase64, Key: m.Key,
		}, numbered(i, len(messages)))
		if err != nil {
			return nil, err
		}
		tx.Messages = append(tx.Messages, in)
	}
	acked := 0
	for _, a := range or(r.Body.Acks, nil) {
		g, err := h.broker.Group(a.Topic, a.Group)
		if err != nil {
			return nil, err
		}
		acks := broker.Acks{Group: g}
		for _, text := range a.Handles {
			handle, err := ParseHandle(text)
			if err != nil {
				return nil, err
			}
			acks.Handles = append(acks.Handles, handle)
		}
		acked += len(acks.Handles)
		tx.Acks = append(tx.Acks, acks)
	}
	for _, m := range or(r.Body.Relocations, nil) {
		g, err := h.broker.Group(m.Topic, m.Group)
		if err != nil {
			return nil, err
		}
		place, err := PlaceOf("to", m.To)
		if err != nil {
			return nil, err
		}
		tx.Moves = append(tx.Moves, broker.GroupMove{Group: g, Place: place, Reason: or(m.Reason, "")})
	}
	if len(tx.Messages) > MaxBatch {
		return nil, invalid("%d messages: at most %d go into one commit", len(tx.Messages), MaxBatch)
	}
	stored, entries, err := h.broker.Transact(ctx, tx)
	if err != nil {
		return nil, err
	}
	answer := Transact200JSONResponse{Messages: []PublishResult{}, Acks: acked, Relocations: []JournalEntry{}}
	for _, s := range stored {
		answer.Messages = append(answer.Messages, ResultOf(s))
	}
	for _, e := range entries {
		answer.Relocations = append(answer.Relocations, EntryOf(e, true))
	}
	return answer, nil
}
