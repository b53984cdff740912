package apiconv

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// keyHeader is the header under which a message's key is kept.
const keyHeader = "key"

// maxKey is the longest key, in bytes.
const maxKey = 256

// Message describes a stored message, with at most limit bytes of its body; a
// negative limit means all of it.
func Message(r *storage.Record, limit int) apimodel.Message {
	m := apimodel.Message{
		Offset: Count(r.Offset), Id: r.ID, Tag: Optional(r.Tag), Time: Time(r.Time),
		Size: Count(len(r.Body) + r.Omitted), Headers: map[string]string{},
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
		m.Damaged = Optional(true)
		if r.Missing > 0 {
			m.Missing = Optional(Count(r.Missing))
		}
		return m
	}
	body, cut := r.Body, r.Omitted > 0
	if limit >= 0 && len(body) > limit {
		body, cut = trim(body, limit), true
	}
	m.Truncated = Optional(cut)
	if IsText(body) {
		m.Body = new(string)
		*m.Body = string(body)
	} else {
		m.BodyBase64 = &body
	}
	return m
}

// IsText reports whether a body is given as a text, and not in base64.
func IsText(body []byte) bool { return utf8.Valid(body) && !swells(body) }

// swells reports whether a large text takes more than twice as much as JSON, which writes each
// control character and each of <, > and & in six bytes: no one reads that, and it may need more
// memory than there is.
func swells(body []byte) bool {
	if len(body) <= LargeBody {
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

// Messages describes messages for a list.
func Messages(recs []storage.Record) []apimodel.Message {
	list := make([]apimodel.Message, len(recs))
	for i := range recs {
		list[i] = Message(&recs[i], ListBody)
	}
	return list
}

// LargeBody is the size in bytes of a body that is large. One that is larger is written in pieces:
// encoded as a whole it would be in memory three more times.
const LargeBody = 1 << 20

// ListBody is how many bytes of a body are in a list.
const ListBody = 4 << 10

// Delivery describes message i of a batch with its handle.
func Delivery(b *broker.Batch, i int) apimodel.Delivery {
	item := &b.Items[i]
	m := Message(item.Record, -1)
	d := apimodel.Delivery{
		Offset: m.Offset, Id: m.Id, Tag: m.Tag, Key: m.Key, Time: m.Time, Headers: m.Headers, Size: m.Size,
		Body: m.Body, BodyBase64: m.BodyBase64, Damaged: m.Damaged, DeliveryCount: item.Count,
	}
	if !b.Auto {
		d.Handle = Optional(Count(item.Record.Offset) + "." + b.Handle(i))
	}
	return d
}

// Fate describes a fate.
func Fate(f inspect.Fate) apimodel.Fate {
	d := apimodel.Fate{Group: f.Group, Fate: apimodel.FateFate(f.Fate), Deliveries: Optional(f.Deliveries)}
	if f.Fate == inspect.FateFiltered {
		d.Part, d.Pattern = &f.Part, &f.Pattern
	}
	return d
}

// ParseMessage turns a message of a client into one for the broker. where names it in
// errors.
func ParseMessage(t *broker.Topic, m apimodel.NewMessage, where string) (broker.Message, error) {
	in := broker.Message{Topic: t, GiveAway: true}
	if m.Id != nil {
		in.Dedup = broker.DedupKnown
	}
	in.ID, in.Tag = Or(m.Id, ""), Or(m.Tag, "")
	switch {
	case m.Id != nil && *m.Id == "":
		return in, problem.Invalid("%s: its id is empty; leave it out to have one made up", where)
	case m.Body != nil && m.BodyBase64 != nil:
		return in, problem.Invalid("%s: it has body and bodyBase64; give one of them", where)
	case m.Body != nil:
		in.Body = []byte(*m.Body)
	case m.BodyBase64 != nil:
		in.Body = *m.BodyBase64
	}
	for _, v := range []string{in.ID, in.Tag, Or(m.Key, "")} {
		if !wire.ValidValue(v) {
			return in, problem.Invalid("%s: id, tag and key must have no line breaks or NUL", where)
		}
	}
	if len(in.ID) > broker.MaxMessageID || len(in.Tag) > broker.MaxTag || len(Or(m.Key, "")) > maxKey {
		return in, problem.Invalid("%s: an id has at most %d bytes, a tag %d and a key %d", where, broker.MaxMessageID, broker.MaxTag, maxKey)
	}
	var err error
	in.Headers, err = headersOf(m, where)
	return in, err
}

// headersOf makes the stored form of a message's headers.
func headersOf(m apimodel.NewMessage, where string) (string, error) {
	var fields []wire.Field
	size := 0
	for _, name := range slices.Sorted(maps.Keys(Or(m.Headers, nil))) {
		value := (*m.Headers)[name]
		f := wire.Field{Name: strings.ToLower(name), Value: value}
		switch {
		case !wire.ValidName(f.Name) || !wire.ValidValue(value):
			return "", problem.Invalid("%s: the header %q is not one that HTTP could carry", where, broker.Excerpt(name))
		case f.Name == keyHeader || wire.Private(f.Name):
			return "", problem.Invalid("%s: a message can't have the header %s", where, f.Name)
		}
		size += len(f.Name) + len(f.Value)
		fields = append(fields, f)
	}
	if m.Key != nil {
		fields = append(fields, wire.Field{Name: keyHeader, Value: *m.Key})
		size += len(*m.Key)
	}
	if len(fields) > maxHeaders || size > maxHeaderBytes {
		return "", problem.Invalid("%s: it has %d headers of %d bytes; %d of %d are the most", where, len(fields), size, maxHeaders, maxHeaderBytes)
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

// PublishResult describes what became of a message.
func PublishResult(s broker.Stored) apimodel.PublishResult {
	return apimodel.PublishResult{Id: s.ID, Offset: Count(s.Offset), Time: Time(s.Time), Duplicate: Optional(s.Duplicate)}
}
