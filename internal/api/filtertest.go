package api

import (
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/storage"
)

// exampleCount is how many examples of each kind there are.
const exampleCount = 10

// trial is a filter that is run over messages next to the current one.
type trial struct {
	filter, current *filter.Filter // current: nil when there is none to compare with
	groups          []*inspect.Fates

	matched, unmatched, kept, lost, gained, pendingLost, untagged int64
	firstGained                                                   int64
	tags                                                          tagCounts
	examples                                                      map[string][]int64 // offsets
}

// TestFilter says what a filter would do.
func (h *handler) TestFilter(ctx context.Context, r TestFilterRequestObject) (TestFilterResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	x, err := newTrial(ctx, h.view(ctx), t, r.Body)
	if err != nil {
		return nil, err
	}
	scan, err := lastScan(t, r.Body.Last)
	if err != nil {
		return nil, err
	}
	scanned, end, err := t.Scan(ctx, scan, x.look)
	if err != nil {
		return nil, err
	}
	report := x.report()
	report.Scanned, report.From, report.To = apiconv.Count(scanned), apiconv.Count(end-scanned), apiconv.Count(end)
	for name, list := range map[string]*[]Message{
		"matched": &report.Examples.Matched, "unmatched": &report.Examples.Unmatched,
		"lost": &report.Examples.Lost, "gained": &report.Examples.Gained,
	} {
		*list = []Message{}
		for _, offset := range slices.Backward(x.examples[name]) {
			if rec, err := t.Message(ctx, offset); err == nil { // it may have been dropped
				*list = append(*list, apiconv.Message(rec, apiconv.ListBody))
			}
		}
	}
	return TestFilter200JSONResponse(report), nil
}

// newTrial finds what the filter is to be compared with.
func newTrial(ctx context.Context, view broker.View, t *broker.Topic, b *FilterTest) (*trial, error) {
	x := &trial{tags: tagCounts{}, examples: map[string][]int64{}, firstGained: -1}
	var err error
	if x.filter, err = filter.Parse(b.Filter); err != nil {
		return nil, err
	}
	var groups []*broker.Group
	current := b.Current
	if b.Group != nil {
		g, err := view.For(access.See).GroupOf(t, *b.Group)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
		if current == nil {
			now := g.Info().Filter
			current = &now
		}
	}
	if current == nil {
		return x, nil
	}
	if x.current, err = filter.Parse(*current); err != nil {
		return nil, err
	}
	if groups == nil {
		groups = slices.DeleteFunc(t.Groups(), func(g *broker.Group) bool { return g.Info().Filter != *current })
	}
	for _, g := range groups {
		f, err := inspect.FatesOf(ctx, g)
		if err != nil {
			return nil, err
		}
		x.groups = append(x.groups, f)
	}
	return x, nil
}

// look counts one message.
func (x *trial) look(r *storage.Record) bool {
	x.tags[r.Tag]++
	if r.Tag == "" {
		x.untagged++
	}
	now := x.filter.Match(r.Tag)
	if now {
		x.matched++
		x.example("matched", r)
	} else {
		x.unmatched++
		x.example("unmatched", r)
	}
	if x.current == nil {
		return true
	}
	switch was := x.current.Match(r.Tag); {
	case was && now:
		x.kept++
	case was:
		x.lost++
		x.example("lost", r)
		if slices.ContainsFunc(x.groups, func(f *inspect.Fates) bool { return f.Pending(r.Offset) }) {
			x.pendingLost++
		}
	case now:
		x.gained++
		x.example("gained", r)
		if x.firstGained < 0 {
			x.firstGained = r.Offset
		}
	}
	return true
}

// example keeps the newest ones.
func (x *trial) example(kind string, r *storage.Record) {
	list := append(x.examples[kind], r.Offset)
	if len(list) > 4*exampleCount {
		list = append(list[:0], list[len(list)-exampleCount:]...)
	}
	x.examples[kind] = list
}

func (x *trial) report() FilterReport {
	for kind, list := range x.examples {
		x.examples[kind] = list[max(0, len(list)-exampleCount):]
	}
	report := FilterReport{
		Matched: apiconv.Count(x.matched), Unmatched: apiconv.Count(x.unmatched), Kept: apiconv.Count(x.kept), Lost: apiconv.Count(x.lost),
		Gained: apiconv.Count(x.gained), PendingLost: apiconv.Count(x.pendingLost), Untagged: apiconv.Optional(apiconv.Count(x.untagged)), ByTag: x.tags.top(),
	}
	if x.firstGained >= 0 {
		report.FirstGained = apiconv.Optional(apiconv.Count(x.firstGained))
	}
	for i := range report.ByTag {
		tag := &report.ByTag[i]
		matched := x.filter.Match(tag.Tag)
		tag.Matched = &matched
		if x.current != nil {
			was := x.current.Match(tag.Tag)
			tag.WasMatched = &was
		}
	}
	return report
}
