package api

import (
	"context"
	"math"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What one call looks at, and how much of fates it answers, about. A message has one
// for every group, of which there may be any number.
const (
	browseRows  = 20_000
	browseBytes = 64 << 20
	browseFates = 2 << 20 // bytes
)

// BrowseMessages looks at messages.
func (h *handler) BrowseMessages(ctx context.Context, r BrowseMessagesRequestObject) (BrowseMessagesResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	p := r.Params
	m, err := apiconv.NewMatcher(apiconv.Or(p.Tag, ""), apiconv.Or(p.Text, ""), apiconv.Or(p.Header, ""))
	if err != nil {
		return nil, err
	}
	fates, err := h.fates(ctx, t, m, p.Group, apiconv.Or(p.Fates, false))
	if err != nil {
		return nil, err
	}
	scan := broker.Scan{To: math.MaxInt64, Rows: browseRows, Bytes: browseBytes}
	switch dir := apiconv.Or(p.Dir, "next"); dir {
	case "next":
	case "prev":
		scan.Back, scan.To = true, -1
	default:
		return nil, problem.Invalid("dir %q: must be next or prev", broker.Excerpt(string(dir)))
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
			d := messageWith(rec, apiconv.ListBody, fates)
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
		Messages: list, Scanned: apiconv.Count(scanned), ScannedTo: apiconv.Count(max(next, 0)), More: more,
		FirstOffset: apiconv.Count(t.First()), NextOffset: apiconv.Count(t.Next()),
	}, nil
}

// browseFrom is the offset to begin with.
func (h *handler) browseFrom(ctx context.Context, t *broker.Topic, p *BrowseMessagesParams, back bool) (int64, error) {
	given := 0
	position := broker.Position{At: broker.AtEarliest}
	if back {
		position.At = broker.AtLatest
	}
	var err error
	if p.From != nil {
		given++
		position.At = broker.AtOffset
		if position.Offset, err = apiconv.ParseCount("from", *p.From); err != nil {
			return 0, err
		}
	}
	if p.Time != nil {
		given++
		position.At = broker.AtTime
		if position.Time, err = apiconv.ParseTime(*p.Time); err != nil {
			return 0, problem.Invalid("time %q: must be RFC 3339 or Unix milliseconds", broker.Excerpt(*p.Time))
		}
	}
	if p.Id != nil {
		given++
		position.At, position.ID = broker.AtMessage, *p.Id
	}
	if given > 1 {
		return 0, problem.Invalid("from, time and id say where to begin: give one of them")
	}
	from, err := h.view(ctx).Resolve(ctx, t, nil, position)
	if back && position.At == broker.AtLatest {
		from--
	}
	return from, err
}

// fates are the pictures of the groups whose fates are asked for: the named one,
// by whose filter is matched too, or all; nil when none are.
func (h *handler) fates(ctx context.Context, t *broker.Topic, m *apiconv.Matcher, group *string, all bool) ([]*inspect.Fates, error) {
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
	list := make([]*inspect.Fates, len(groups))
	for i, g := range groups {
		var err error
		if list[i], err = inspect.FatesOf(ctx, g); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// messageWith describes a message with at most limit bytes of its body, see
// MessageOf, and with its fates unless fates is nil.
func messageWith(rec *storage.Record, limit int, fates []*inspect.Fates) Message {
	d := apiconv.Message(rec, limit)
	if fates != nil {
		list := make([]Fate, len(fates))
		for i, f := range fates {
			list[i] = apiconv.Fate(f.Of(rec))
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
		n += names + len(f.Group) + len(apiconv.Or(f.Pattern, ""))
	}
	return n
}

// GetMessage is one message with all its fates.
func (h *handler) GetMessage(ctx context.Context, r GetMessageRequestObject) (GetMessageResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	offset, err := apiconv.ParseCount("offset", r.Offset)
	if err != nil {
		return nil, err
	}
	return &wholeMessage{h, ctx, t, offset}, nil
}
