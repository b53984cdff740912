package api

import (
	"bytes"
	"context"
	"math"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// What one call looks at, and how much of fates it answers, about. A message has one
// for every group, of which there may be any number.
const (
	browseRows  = 20_000
	browseBytes = 64 << 20
	browseFates = 2 << 20 // bytes
)

// Matcher decides which messages of a log are shown.
type Matcher struct {
	Tag, Group  *filter.Filter // nil: any
	Text        string         // in body, id or tag; "": any
	Name, Value string         // of a header; "" for Name: any
	Valued      bool           // the header has to have Value
}

// NewMatcher makes one from what a client asks for. header is "name" or
// "name=value".
func NewMatcher(tag, text, header string) (*Matcher, error) {
	m := &Matcher{Text: text}
	if tag != "" {
		f, err := filter.Parse(tag)
		if err != nil {
			return nil, err
		}
		m.Tag = f
	}
	m.Name, m.Value, m.Valued = strings.Cut(header, "=")
	m.Name = lower(strings.TrimSpace(m.Name))
	return m, nil
}

// Match reports whether a message is to be shown.
func (m *Matcher) Match(r *storage.Record) bool {
	switch {
	case m.Group != nil && !m.Group.Match(r.Tag), m.Tag != nil && !m.Tag.Match(r.Tag):
		return false
	case m.Text != "" && !strings.Contains(r.ID, m.Text) && !strings.Contains(r.Tag, m.Text) && !bytes.Contains(r.Body, []byte(m.Text)):
		return false
	}
	return m.Name == "" || m.header(r.Headers)
}

func (m *Matcher) header(headers string) (found bool) {
	_ = wire.RangeJSON(headers, func(name, value string) bool {
		found = name == m.Name && (!m.Valued || value == m.Value)
		return !found
	})
	return found
}

// BrowseMessages looks at messages.
func (h *handler) BrowseMessages(ctx context.Context, r BrowseMessagesRequestObject) (BrowseMessagesResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	p := r.Params
	m, err := NewMatcher(or(p.Tag, ""), or(p.Text, ""), or(p.Header, ""))
	if err != nil {
		return nil, err
	}
	fates, err := h.fates(ctx, t, m, p.Group, or(p.Fates, false))
	if err != nil {
		return nil, err
	}
	scan := broker.Scan{To: math.MaxInt64, Rows: browseRows, Bytes: browseBytes}
	switch dir := or(p.Dir, "next"); dir {
	case "next":
	case "prev":
		scan.Back, scan.To = true, -1
	default:
		return nil, invalid("dir %q: must be next or prev", broker.Excerpt(string(dir)))
	}
	if scan.From, err = h.browseFrom(ctx, t, &p, scan.Back); err != nil {
		return nil, err
	}
	limit, err := pageSize(p.Limit)
	if err != nil {
		return nil, err
	}
	list, room := []Message{}, browseFates
	scanned, next, err := t.Scan(ctx, scan, func(rec *storage.Record) bool {
		if m.Match(rec) {
			d := messageWith(rec, ListBody, fates)
			list, room = append(list, d), room-fatesSize(d.Fates)
		}
		return len(list) < limit && room > 0
	})
	if err != nil {
		return nil, err
	}
	more := next < t.Next()
	if scan.Back {
		more = next >= t.First()
	}
	return BrowseMessages200JSONResponse{
		Messages: list, Scanned: count(scanned), ScannedTo: count(max(next, 0)), More: more,
		FirstOffset: count(t.First()), NextOffset: count(t.Next()),
	}, nil
}

// browseFrom is the offset to begin with.
func (h *handler) browseFrom(ctx context.Context, t *broker.Topic, p *BrowseMessagesParams, back bool) (int64, error) {
	given := 0
	place := broker.Place{At: broker.AtEarliest}
	if back {
		place.At = broker.AtLatest
	}
	var err error
	if p.From != nil {
		given++
		place.At = broker.AtOffset
		if place.Offset, err = parseCount("from", *p.From); err != nil {
			return 0, err
		}
	}
	if p.Time != nil {
		given++
		place.At = broker.AtTime
		if place.Time, err = parseTime(*p.Time); err != nil {
			return 0, invalid("time %q: must be RFC 3339 or Unix milliseconds", broker.Excerpt(*p.Time))
		}
	}
	if p.Id != nil {
		given++
		place.At, place.ID = broker.AtMessage, *p.Id
	}
	if given > 1 {
		return 0, invalid("from, time and id say where to begin: give one of them")
	}
	from, err := h.view(ctx).Resolve(ctx, t, nil, place)
	if back && place.At == broker.AtLatest {
		from--
	}
	return from, err
}

// fates are the pictures of the groups whose fates are asked for: the named one,
// by whose filter is matched too, or all; nil when none are.
func (h *handler) fates(ctx context.Context, t *broker.Topic, m *Matcher, group *string, all bool) ([]*broker.Fates, error) {
	var groups []*broker.Group
	if group != nil {
		g, err := h.view(ctx).For(access.See).GroupOf(t, *group)
		if err != nil {
			return nil, err
		}
		if m.Group, err = filter.Parse(g.Info().Filter); err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	if all {
		groups = t.Groups()
	}
	if group == nil && !all {
		return nil, nil
	}
	list := make([]*broker.Fates, len(groups))
	for i, g := range groups {
		var err error
		if list[i], err = g.Fates(ctx); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// messageWith describes a message with at most limit bytes of its body, see
// MessageOf, and with its fates unless fates is nil.
func messageWith(rec *storage.Record, limit int, fates []*broker.Fates) Message {
	d := MessageOf(rec, limit)
	if fates != nil {
		list := make([]Fate, len(fates))
		for i, f := range fates {
			list[i] = fateOf(f.Of(rec))
		}
		d.Fates = &list
	}
	return d
}

// fatesSize is about how many bytes fates are in an answer.
func fatesSize(fates *[]Fate) (n int) {
	const names = 48 // of the members, and the word
	if fates == nil {
		return 0
	}
	for i := range *fates {
		f := &(*fates)[i]
		n += names + len(f.Group) + len(or(f.Pattern, ""))
	}
	return n
}

// GetMessage is one message with all its fates.
func (h *handler) GetMessage(ctx context.Context, r GetMessageRequestObject) (GetMessageResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	offset, err := parseCount("offset", r.Offset)
	if err != nil {
		return nil, err
	}
	return &wholeMessage{h, ctx, t, offset}, nil
}
