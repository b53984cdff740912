package api

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// keyHeader is the header under which a message's key is kept.
const keyHeader = "key"

// maxKey is the longest key, in bytes.
const maxKey = 256

// count writes a number of messages or bytes, or an offset.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func count[T ~int | ~int64 | ~uint64](n T) Count { return strconv.FormatInt(int64(n), 10) }

// parseCount reads one; name is the member or parameter it is from.
func parseCount(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) && n > 0 {
		return 0, invalid("%s %q: must be at most %d", name, broker.Excerpt(text), int64(math.MaxInt64))
	}
	if err != nil || n < 0 || text[0] < '0' || len(text) > 19 {
		return 0, invalid("%s %q: must be a number of decimal digits", name, broker.Excerpt(text))
	}
	return n, nil
}

// at is a time of the broker's, which are Unix milliseconds.
func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// optional is a value that is left out when it is the zero one.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// or is a value that may have been left out, with its default.
func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// MessageOf describes a stored message, with at most limit bytes of its body; a
// negative limit means all of it.
func MessageOf(r *storage.Record, limit int) Message {
	m := Message{
		Offset: count(r.Offset), Id: r.ID, Tag: optional(r.Tag), Time: at(r.Time),
		Size: count(len(r.Body) + r.Omitted), Headers: map[string]string{},
	}
	if r.Headers != "" {
		_ = wire.RangeJSON(r.Headers, func(name, value string) bool { // damaged ones have no headers
			if name == keyHeader {
				m.Key = &value
			} else {
				m.Headers[name] = value
			}
			return true
		})
	}
	if r.Damaged() {
		m.Damaged = optional(true)
		if r.Missing > 0 {
			m.Missing = optional(count(r.Missing))
		}
		return m
	}
	body, cut := r.Body, r.Omitted > 0
	if limit >= 0 && len(body) > limit {
		body, cut = trim(body, limit), true
	}
	m.Truncated = optional(cut)
	if isText(body) {
		m.Body = new(string)
		*m.Body = string(body)
	} else {
		m.BodyBase64 = &body
	}
	return m
}

// isText reports whether a body is given as a text, and not in base64.
func isText(body []byte) bool { return utf8.Valid(body) && !swells(body) }

// swells reports whether a large text takes more than twice as much as JSON, which writes each
// control character and each of <, > and & in six bytes: nobody reads that, and it may be more than
// there is memory for.
func swells(body []byte) bool {
	if len(body) <= largeBody {
		return false
	}
	escapes := 0
	for _, b := range body {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' || b == '<' || b == '>' || b == '&' {
			escapes++
		}
	}
	return escapes*5 > len(body)
}

// trim cuts a body to at most n bytes, and not in the middle of a character.
func trim(body []byte, n int) []byte {
	for back := 0; back < utf8.UTFMax && back < n; back++ {
		if utf8.RuneStart(body[n-back]) {
			return body[:n-back]
		}
	}
	return body[:n]
}

// messagesOf describes messages for a list.
func messagesOf(recs []storage.Record) []Message {
	list := make([]Message, len(recs))
	for i := range recs {
		list[i] = MessageOf(&recs[i], ListBody)
	}
	return list
}

// ListBody is how many bytes of a body are in a list.
const ListBody = 4 << 10

// DeliveryOf describes message i of a batch with its handle.
func DeliveryOf(b *broker.Batch, i int) Delivery {
	item := &b.Items[i]
	m := MessageOf(item.Record, -1)
	d := Delivery{
		Offset: m.Offset, Id: m.Id, Tag: m.Tag, Key: m.Key, Time: m.Time, Headers: m.Headers, Size: m.Size,
		Body: m.Body, BodyBase64: m.BodyBase64, Damaged: m.Damaged, DeliveryCount: item.Count,
	}
	if !b.Auto {
		d.Handle = optional(count(item.Record.Offset) + "." + b.Handle(i))
	}
	return d
}

// fateOf describes a fate.
func fateOf(f broker.Fate) Fate {
	d := Fate{Group: f.Group, Fate: FateFate(f.Fate), Deliveries: optional(f.Deliveries)}
	if f.Fate == broker.FateFiltered {
		d.Part, d.Pattern = &f.Part, &f.Pattern
	}
	return d
}

// NewMessageOf turns a message of a client into one for the broker. where names it in
// errors.
func NewMessageOf(t *broker.Topic, m NewMessage, where string) (broker.Message, error) {
	in := broker.Message{Topic: t, GiveAway: true}
	if m.Id != nil {
		in.Dedup = broker.DedupKnown
	}
	in.ID, in.Tag = or(m.Id, ""), or(m.Tag, "")
	switch {
	case m.Id != nil && *m.Id == "":
		return in, invalid("%s: its id is empty; leave it out to have one made up", where)
	case m.Body != nil && m.BodyBase64 != nil:
		return in, invalid("%s: it has body and bodyBase64; give one of them", where)
	case m.Body != nil:
		in.Body = []byte(*m.Body)
	case m.BodyBase64 != nil:
		in.Body = *m.BodyBase64
	}
	for _, v := range []string{in.ID, in.Tag, or(m.Key, "")} {
		if !wire.ValidValue(v) {
			return in, invalid("%s: id, tag and key must have no line breaks or NUL", where)
		}
	}
	if len(in.ID) > broker.MaxMessageID || len(in.Tag) > broker.MaxTag || len(or(m.Key, "")) > maxKey {
		return in, invalid("%s: an id has at most %d bytes, a tag %d and a key %d", where, broker.MaxMessageID, broker.MaxTag, maxKey)
	}
	var err error
	in.Headers, err = headersOf(m, where)
	return in, err
}

// headersOf makes the stored form of a message's headers.
func headersOf(m NewMessage, where string) (string, error) {
	var fields []wire.Field
	size := 0
	for _, name := range sorted(or(m.Headers, nil)) {
		value := (*m.Headers)[name]
		f := wire.Field{Name: lower(name), Value: value}
		switch {
		case !wire.ValidName(f.Name) || !wire.ValidValue(value):
			return "", invalid("%s: the header %q is not one that HTTP could carry", where, broker.Excerpt(name))
		case f.Name == keyHeader || wire.Private(f.Name):
			return "", invalid("%s: a message can't have the header %s", where, f.Name)
		}
		size += len(f.Name) + len(f.Value)
		fields = append(fields, f)
	}
	if m.Key != nil {
		fields = append(fields, wire.Field{Name: keyHeader, Value: *m.Key})
		size += len(*m.Key)
	}
	if len(fields) > maxHeaders || size > maxHeaderBytes {
		return "", invalid("%s: it has %d headers of %d bytes; %d of %d are the most", where, len(fields), size, maxHeaders, maxHeaderBytes)
	}
	if len(fields) == 0 {
		return "", nil
	}
	return string(wire.AppendJSON(nil, fields)), nil
}

// What a message's headers may be together: as much as fits into the head of a
// frame of the native protocol, next to what the broker adds.
const (
	maxHeaders     = 48
	maxHeaderBytes = 16 << 10
)

// ResultOf describes what became of a message.
func ResultOf(s broker.Stored) PublishResult {
	return PublishResult{Id: s.ID, Offset: count(s.Offset), Time: at(s.Time), Duplicate: optional(s.Duplicate)}
}

// ParseHandle takes a handle of this API apart. It begins with the offset, so that
// it alone names a delivery of its group.
func ParseHandle(handle string) (broker.DeliveryHandle, error) {
	for i := range len(handle) {
		if handle[i] != '.' {
			continue
		}
		if offset, err := strconv.ParseInt(handle[:i], 10, 64); err == nil && offset >= 0 {
			return broker.DeliveryHandle{Offset: offset, Handle: handle[i+1:]}, nil
		}
		break
	}
	return broker.DeliveryHandle{}, invalid("malformed handle %q: give one that a delivery carried", broker.Excerpt(handle))
}

// parseHandles takes the handles of a request apart.
func parseHandles(handles []string) ([]broker.DeliveryHandle, error) {
	if len(handles) == 0 || len(handles) > MaxBatch {
		return nil, invalid("handles: need 1 to %d", MaxBatch)
	}
	parsed := make([]broker.DeliveryHandle, len(handles))
	for i, text := range handles {
		var err error
		if parsed[i], err = ParseHandle(text); err != nil {
			return nil, err
		}
	}
	return parsed, nil
}

// maxReason is the longest text for the journal, in characters.
const maxReason = 500

// reasonOf reads such a text.
func reasonOf(text *string) (string, error) {
	reason := or(text, "")
	if utf8.RuneCountInString(reason) > maxReason {
		return "", invalid("reason: at most %d characters", maxReason)
	}
	return reason, nil
}

// numbered names a message of a list in errors.
func numbered(i, n int) string {
	if n == 1 {
		return "the message"
	}
	return fmt.Sprintf("message %d", i+1)
}
