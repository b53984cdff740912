package api

import (
	"bytes"
	"context"
	"fmt"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/strictjson"
)

// maxGroups is the most groups that a transaction settles or moves messages of.
const maxGroups = 1_000

// Publish stores messages.
func (h *handler) Publish(ctx context.Context, r PublishRequestObject) (PublishResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
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
		stored, err := h.store(ctx, t, messages, func(i int) string { return numbered(i, len(messages)) })
		if err != nil {
			return nil, err
		}
		return h.publishedAnswer(t, stored, len(stored), allKnown(stored)), nil
	case r.Body != nil:
		return h.publishLines(ctx, t, r.Body)
	}
	return nil, problem.Invalid("the type of the body must be application/json or application/x-ndjson")
}

// newMessages reads one message or an array of them.
func newMessages(raw []byte) (list []NewMessage, err error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] != '[' {
		list = make([]NewMessage, 1)
		err = strictjson.Unmarshal(raw, &list[0])
	} else {
		err = strictjson.Unmarshal(raw, &list)
	}
	switch {
	case err != nil:
		return nil, explain(err)
	case len(list) == 0:
		return nil, problem.Invalid("the array is empty: it must have at least one message")
	case len(list) > apiconv.MaxBatch:
		return nil, problem.Invalid("the array has %d messages: at most %d go into one commit", len(list), apiconv.MaxBatch)
	}
	return list, nil
}

// store stores messages in one commit. where names one of them in errors.
func (h *handler) store(ctx context.Context, t *broker.Topic, messages []NewMessage, where func(i int) string) ([]broker.Stored, error) {
	list := make([]broker.Message, len(messages))
	for i, m := range messages {
		var err error
		if list[i], err = apiconv.ParseMessage(t, m, where(i)); err != nil {
			return nil, err
		}
	}
	return h.view(ctx).Store(ctx, list)
}

func allKnown(stored []broker.Stored) bool {
	for _, s := range stored {
		if !s.Duplicate {
			return false
		}
	}
	return true
}

// publishedAnswer is 201 when something new was stored and 200 otherwise. What it says of durability is as of
// now: a message that was stored before the latest commit is nowhere else than that.
func (h *handler) publishedAnswer(t *broker.Topic, stored []broker.Stored, total int, known bool) PublishResponseObject {
	p := Published{Results: make([]PublishResult, len(stored)), Count: apiconv.Optional(apiconv.Count(total))}
	for i, s := range stored {
		p.Results[i] = apiconv.PublishResult(s)
	}
	if len(stored) > 0 {
		p.Offset, p.Duplicate = &p.Results[0].Offset, p.Results[0].Duplicate
	}
	if p.Durability = new(Durability(h.Options.Durability())); t.Memory() {
		p.Durability = new(DurabilityMemory)
	}
	if known {
		return Publish200JSONResponse(p)
	}
	return Publish201JSONResponse(p)
}

// Transact publishes, settles and moves in one commit.
func (h *handler) Transact(ctx context.Context, r TransactRequestObject) (TransactResponseObject, error) {
	tx, acked, err := h.transaction(ctx, r.Body)
	if err != nil {
		return nil, h.apart(ctx, r.Body, err)
	}
	stored, entries, err := h.view(ctx).Transact(ctx, tx)
	if err != nil {
		return nil, err
	}
	answer := Transact200JSONResponse{Messages: []PublishResult{}, Acks: acked, Relocations: []JournalEntry{}}
	for _, s := range stored {
		answer.Messages = append(answer.Messages, apiconv.PublishResult(s))
	}
	for _, e := range entries {
		answer.Relocations = append(answer.Relocations, EntryOf(e, true))
	}
	return answer, nil
}

// transaction is what a request asks for, and how many deliveries it settles.
func (h *handler) transaction(ctx context.Context, r *Transaction) (tx broker.Transaction, acked int, err error) {
	messages, acks, moves := apiconv.Or(r.Messages, nil), apiconv.Or(r.Acks, nil), apiconv.Or(r.Relocations, nil)
	if len(messages) > apiconv.MaxBatch || len(acks) > maxGroups || len(moves) > maxGroups {
		return tx, 0, problem.Invalid("at most %d messages, %d acks and %d relocations go into one commit", apiconv.MaxBatch, maxGroups, maxGroups)
	}
	for i, m := range messages {
		t, err := h.view(ctx).For(access.Publish).Topic(m.Topic)
		if err != nil {
			return tx, 0, err
		}
		in, err := apiconv.ParseMessage(t, NewMessage{
			Id: m.Id, Tag: m.Tag, Headers: m.Headers, Body: m.Body, BodyBase64: m.BodyBase64, Key: m.Key,
		}, numbered(i, len(messages)))
		if err != nil {
			return tx, 0, err
		}
		tx.Messages = append(tx.Messages, in)
	}
	for _, a := range acks {
		g, err := h.view(ctx).For(access.Consume).Group(a.Topic, a.Group)
		if err != nil {
			return tx, 0, err
		}
		handles, err := apiconv.ParseHandles(a.Handles)
		if err != nil {
			return tx, 0, err
		}
		acked += len(handles)
		tx.Acks = append(tx.Acks, broker.Acks{Group: g, Handles: handles})
	}
	for _, m := range moves {
		move, err := h.moveOf(ctx, m)
		if err != nil {
			return tx, 0, err
		}
		tx.Moves = append(tx.Moves, move)
	}
	return tx, acked, nil
}

func (h *handler) moveOf(ctx context.Context, m TransactionMove) (move broker.GroupMove, err error) {
	if move.Group, err = h.view(ctx).For(access.Move).Group(m.Topic, m.Group); err != nil {
		return move, err
	}
	if move.Position, err = apiconv.ParsePosition("to", m.To); err != nil {
		return move, err
	}
	move.Reason, err = apiconv.ParseReason(m.Reason)
	return move, err
}

// numbered names a message of a list in errors.
func numbered(i, n int) string {
	if n == 1 {
		return "the message"
	}
	return fmt.Sprintf("message %d", i+1)
}
