package api

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What one call does with dead letters at most.
const (
	listKinds    = 200
	briefRows    = 200_000
	mostLetters  = 10_000
	mostOffsets  = 1_000
	redriveTime  = 20 * time.Second
	redriveBytes = 1 << 20 // of the letters that are kept in memory
)

// choice is which dead letters are meant.
type choice struct {
	letters     broker.Letters
	match       apiconv.Matcher
	group, kind string // "": any
}

func newChoice(t *broker.Topic, group, kind, text *string) (c choice, err error) {
	c.group, c.kind, c.match.Text = apiconv.Or(group, ""), apiconv.Or(kind, ""), apiconv.Or(text, "")
	c.letters, err = t.Letters()
	return c, err
}

// scan is a walk over letters, of which brief says that their bodies are not asked for.
func (c *choice) scan(from, to int64, brief bool) broker.Scan {
	s := broker.Scan{From: from, To: to, Brief: brief && c.match.Text == "", Rows: browseRows, Bytes: browseBytes}
	if s.Brief {
		s.Rows, s.Bytes = briefRows, 0
	}
	return s
}

// has reports whether a message is a letter that waits and is meant, and where it is from.
func (c *choice) has(rec *storage.Record) (from broker.Origin, ok bool) {
	from, _, ok = c.letters.Waiting(rec)
	return from, ok && c.match.Match(rec) && (c.group == "" || strings.EqualFold(from.Group, c.group)) &&
		(c.kind == "" || inspect.KindOf(&from) == c.kind)
}

// ListDeadLetters says what waits in a dead-letter topic.
func (h *handler) ListDeadLetters(ctx context.Context, r ListDeadLettersRequestObject) (ListDeadLettersResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	p := r.Params
	c, err := newChoice(t, p.Group, p.Kind, p.Text)
	if err != nil {
		return nil, err
	}
	limit := apiconv.Or(p.Limit, 0)
	if limit < 0 || limit > 1000 {
		return nil, problem.Invalid("limit %d: must be 0 to 1000", limit)
	}
	from, err := apiconv.ParseCount("from", apiconv.Or(p.From, "0"))
	if err != nil {
		return nil, err
	}
	var kinds inspect.Kinds
	letters := []Message{}
	scanned, next, err := t.Scan(ctx, c.scan(from, t.Next(), limit == 0), func(rec *storage.Record) bool {
		from, ok := c.has(rec)
		if ok {
			kinds.Add(rec, &from)
			if limit > 0 {
				letters = append(letters, apiconv.Message(rec, apiconv.ListBody))
			}
		}
		return limit == 0 || len(letters) < limit
	})
	if err != nil {
		return nil, err
	}
	return ListDeadLetters200JSONResponse{
		Origin: c.letters.Origin, Waiting: apiconv.Count(c.letters.Count), Kinds: kindsOf(&kinds), Letters: letters,
		Scanned: apiconv.Count(scanned), ScannedTo: apiconv.Count(next), More: next < t.Next(),
	}, nil
}

func kindsOf(kinds *inspect.Kinds) []DeadLetterKind {
	list := []DeadLetterKind{}
	for _, k := range kinds.Top(listKinds) {
		list = append(list, DeadLetterKind{
			Kind: k.ID, Group: k.Group, Cause: k.Cause, Example: k.Example, Letters: apiconv.Count(k.Letters),
			First: apiconv.Count(k.First), Last: apiconv.Count(k.Last), FirstTime: apiconv.Time(k.FirstTime), LastTime: apiconv.Time(k.LastTime),
		})
	}
	return list
}

// redrive is one call that redrives letters, or would.
type redrive struct {
	choice
	view    broker.View
	topic   *broker.Topic
	origin  *broker.Topic // nil: they are dropped
	dry     bool          // it only says what it would do
	edit    *storage.Record
	offsets []int64 // the letters that are named and still to look at
	named   bool
	at, end int64 // otherwise the span that is still to look at

	rate                   float64
	left                   int // letters that may still be taken
	matched, done, scanned int64
	died                   map[string]int64
	tags                   map[string]int64 // letters by tag, or by what they are edited to
}

// RedriveMessages publishes dead letters to where they died, or drops them.
func (h *handler) RedriveMessages(ctx context.Context, r RedriveMessagesRequestObject) (RedriveMessagesResponseObject, error) {
	x, err := h.newRedrive(ctx, r.Topic, r.Body)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	more := true
	for more && x.left > 0 && x.scanned < browseRows && time.Since(began) < redriveTime {
		var letters []storage.Record
		if letters, more, err = x.next(ctx); err != nil {
			return nil, err
		}
		if len(letters) == 0 {
			continue
		}
		n, err := x.view.Redrive(ctx, x.topic, broker.Redrive{Letters: letters, Drop: x.origin == nil, Edit: x.edit})
		x.done += int64(n)
		if err != nil {
			return nil, err
		}
		if x.rate > 0 && more {
			pause(ctx, time.Duration(float64(len(letters))/x.rate*float64(time.Second)))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return RedriveMessages200JSONResponse(x.report(more)), nil
}

func (h *handler) newRedrive(ctx context.Context, topic string, b *Redrive) (*redrive, error) {
	t, err := h.view(ctx).Topic(topic)
	if err != nil {
		return nil, err
	}
	c, err := newChoice(t, b.Group, b.Kind, b.Text)
	if err != nil {
		return nil, err
	}
	x := &redrive{
		choice: c, view: h.view(ctx), topic: t, dry: apiconv.Or(b.DryRun, false), rate: apiconv.Or(b.Rate, 0), left: apiconv.Or(b.Limit, 1000),
		died: map[string]int64{}, tags: map[string]int64{}, end: t.Next(),
	}
	if x.left < 1 || x.left > mostLetters {
		return nil, problem.Invalid("limit %d: must be 1 to %d", x.left, mostLetters)
	}
	if x.rate < 0 || x.rate > 0 && x.rate < 0.1 || math.IsNaN(x.rate) {
		return nil, problem.Invalid("rate %g: must be 0, or at least 0.1 letters a second", x.rate)
	}
	if err := x.span(b); err != nil {
		return nil, err
	}
	if err := x.edited(b); err != nil {
		return nil, err
	}
	if !apiconv.Or(b.Drop, false) {
		x.origin, err = x.view.For(access.Publish).Topic(c.letters.Origin)
	}
	return x, err
}

// span reads where the letters are that are meant.
func (x *redrive) span(b *Redrive) (err error) {
	if b.From != nil {
		if x.at, err = apiconv.ParseCount("from", *b.From); err != nil {
			return err
		}
	}
	if b.To != nil {
		to, err := apiconv.ParseCount("to", *b.To)
		if err != nil {
			return err
		}
		x.end = min(x.end, to)
	}
	if b.Offsets == nil {
		return nil
	}
	if len(*b.Offsets) > mostOffsets {
		return problem.Invalid("%d offsets: at most %d are taken at a time", len(*b.Offsets), mostOffsets)
	}
	x.named = true
	for _, text := range *b.Offsets {
		offset, err := apiconv.ParseCount("offsets", text)
		if err != nil {
			return err
		}
		if offset >= x.at {
			x.offsets = append(x.offsets, offset)
		}
	}
	slices.Sort(x.offsets)
	x.offsets = slices.Compact(x.offsets)
	return nil
}

// edited reads what the only letter goes back as.
func (x *redrive) edited(b *Redrive) error {
	if b.Edit == nil {
		return nil
	}
	if b.Offsets == nil || len(*b.Offsets) != 1 || apiconv.Or(b.Drop, false) {
		return problem.Invalid("edit: name the letter that goes back as one of offsets")
	}
	if b.Edit.Id != nil {
		return problem.Invalid("edit: the id of a letter stays: leave it out")
	}
	m, err := apiconv.ParseMessage(x.topic, *b.Edit, "edit")
	x.edit = &m.Record
	return err
}

// next takes the next letters that go in one commit, whole, and reports whether there may be more.
func (x *redrive) next(ctx context.Context) (letters []storage.Record, more bool, err error) {
	most := min(x.left, broker.RedriveRows)
	if x.rate > 0 {
		most = min(most, max(1, int(x.rate)))
	}
	size := int64(0)
	take := func(rec *storage.Record) bool {
		from, ok := x.has(rec)
		if ok {
			x.died[from.Group]++
			tag := rec.Tag
			if x.edit != nil {
				tag = x.edit.Tag
			}
			x.tags[tag]++
			x.matched++
			if x.dry {
				return true
			}
			x.left--
			letters = append(letters, *rec)
			size += rec.Size()
		}
		return len(letters) < most && size < redriveBytes
	}
	if !x.named {
		n, next, err := x.topic.Scan(ctx, x.scan(x.at, x.end, x.dry), take)
		x.scanned += n
		x.at = next
		return letters, next < x.end && n > 0, err
	}
	for len(x.offsets) > 0 {
		offset := x.offsets[0]
		x.offsets = x.offsets[1:]
		x.at = offset + 1
		rec, err := x.topic.Message(ctx, offset)
		if err != nil && broker.CodeOf(err) == broker.NotFound {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		x.scanned++
		if !take(rec) {
			break
		}
	}
	return letters, len(x.offsets) > 0, nil
}

func (x *redrive) report(more bool) RedriveReport {
	report := RedriveReport{
		Origin: x.letters.Origin, Matched: apiconv.Count(x.matched), Done: apiconv.Count(x.done), Reaches: []RedriveReach{},
		Scanned: apiconv.Count(x.scanned), ScannedTo: apiconv.Count(x.at), More: more,
	}
	if x.origin == nil {
		return report
	}
	reached := map[string]int64{}
	for tag, n := range x.tags {
		for _, group := range x.origin.Reached(tag) {
			if x.view.Allows(access.See, x.origin.Name(), group) {
				reached[group] += n
			}
		}
	}
	for _, g := range x.origin.Groups() {
		if n := reached[g.Name()]; n > 0 {
			report.Reaches = append(report.Reaches, RedriveReach{Group: g.Name(), Letters: apiconv.Count(n), Died: apiconv.Count(x.died[g.Name()])})
		}
	}
	return report
}

// pause waits for some time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
