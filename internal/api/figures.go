package api

import (
	"context"
	"maps"
	"slices"
	"sort"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// histogramRows is how many messages are looked at, over all buckets, to tell how
// many pass a filter.
const histogramRows = 200_000

// GetHistogram says how messages are spread over the log.
func (h *handler) GetHistogram(ctx context.Context, r GetHistogramRequestObject) (GetHistogramResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	n := apiconv.Or(r.Params.Buckets, 100)
	if n < 1 || n > 500 {
		return nil, problem.Invalid("buckets %d: must be 1 to 500", n)
	}
	lo, hi, err := span(t, r.Params.From, r.Params.To)
	if err != nil {
		return nil, err
	}
	axis := GetHistogram200JSONResponseBodyAxis(apiconv.Or(r.Params.Axis, "offset"))
	var bounds, times []int64
	switch axis {
	case "offset":
		bounds = evenly(lo, hi, n)
	case "time":
		bounds, times, err = h.timeBounds(ctx, t, lo, hi, n)
	default:
		return nil, problem.Invalid("axis %q: must be offset or time", broker.Excerpt(string(axis)))
	}
	if err != nil {
		return nil, err
	}
	answer := GetHistogram200JSONResponse{Axis: axis, Buckets: []Bucket{}}
	for i := range max(len(bounds)-1, 0) {
		b, err := bucket(ctx, t, bounds[i], bounds[i+1])
		if err != nil {
			return nil, err
		}
		if times != nil {
			when := apiconv.Time(times[i])
			b.Time = &when
		}
		answer.Buckets = append(answer.Buckets, b)
	}
	if r.Params.Filter != nil {
		err = match(ctx, t, answer.Buckets, bounds, *r.Params.Filter)
	}
	return answer, err
}

// span is the part of a log between two offsets that may not be given.
func span(t *broker.Topic, from, to *Count) (lo, hi int64, err error) {
	lo, hi = t.First(), t.Next()
	if from != nil {
		n, err := apiconv.ParseCount("from", *from)
		if err != nil {
			return 0, 0, err
		}
		lo = min(max(lo, n), hi)
	}
	if to != nil {
		n, err := apiconv.ParseCount("to", *to)
		if err != nil {
			return 0, 0, err
		}
		hi = max(min(hi, n), lo)
	}
	return lo, hi, nil
}

// evenly divides a span of numbers into at most n parts of the same size, of which only
// the last may be smaller, and gives their bounds.
func evenly(lo, hi int64, n int) []int64 {
	if lo == hi {
		return nil
	}
	size := (hi - lo + int64(n) - 1) / int64(n)
	bounds := make([]int64, 0, n+1)
	for at := lo; at < hi; at += size {
		bounds = append(bounds, at)
	}
	return append(bounds, hi)
}

// timeBounds divides a part of a log into at most n parts of the same time, not more than
// it has messages, and gives where and when they begin.
func (h *handler) timeBounds(ctx context.Context, t *broker.Topic, lo, hi int64, n int) (bounds, times []int64, err error) {
	if lo == hi {
		return nil, nil, nil
	}
	first, err := t.TimeAt(ctx, lo)
	if err != nil {
		return nil, nil, err
	}
	last, err := t.TimeAt(ctx, hi-1)
	if err != nil {
		return nil, nil, err
	}
	bounds, times = []int64{lo}, evenly(first, max(last, first)+1, int(min(int64(n), hi-lo)))
	for _, ms := range times[1:] {
		at, err := h.view(ctx).Resolve(ctx, t, nil, broker.Position{At: broker.AtTime, Time: ms})
		if err != nil {
			return nil, nil, err
		}
		bounds = append(bounds, min(max(at, bounds[len(bounds)-1]), hi))
	}
	bounds[len(bounds)-1] = hi
	return bounds, times, nil
}

func bucket(ctx context.Context, t *broker.Topic, lo, hi int64) (Bucket, error) {
	b := Bucket{From: apiconv.Count(lo), To: apiconv.Count(hi), Count: apiconv.Count(hi - lo)}
	ms, err := t.TimeAt(ctx, lo)
	if ms > 0 {
		when := apiconv.Time(ms)
		b.Time = &when
	}
	return b, err
}

// match counts what passes a filter in each bucket, or in the beginning of it.
func match(ctx context.Context, t *broker.Topic, buckets []Bucket, bounds []int64, text string) error {
	wanted, err := filter.Parse(text)
	if err != nil || len(buckets) == 0 {
		return err
	}
	rows := int64(max(histogramRows/len(buckets), 1))
	for i := range buckets {
		matched := int64(0)
		scan := broker.Scan{From: bounds[i], To: bounds[i+1], Brief: true, Rows: rows}
		scanned, _, err := t.Scan(ctx, scan, func(r *storage.Record) bool {
			if !r.Damaged() && wanted.Match(r.Tag) {
				matched++
			}
			return true
		})
		if err != nil {
			return err
		}
		size := bounds[i+1] - bounds[i]
		exact := scanned >= size
		if !exact && scanned > 0 {
			matched = matched * size / scanned
		}
		buckets[i].Matched, buckets[i].Exact = apiconv.Optional(apiconv.Count(matched)), &exact
	}
	return nil
}

// tagCounts counts tags.
type tagCounts map[string]int64

// top lists them, most frequent first, at most listTags of them.
func (c tagCounts) top() []TagCount {
	tags := slices.Sorted(maps.Keys(c))
	sort.SliceStable(tags, func(i, j int) bool { return c[tags[i]] > c[tags[j]] })
	list := make([]TagCount, 0, min(len(tags), listTags))
	for _, tag := range tags[:min(len(tags), listTags)] {
		list = append(list, TagCount{Tag: tag, Count: apiconv.Count(c[tag])})
	}
	return list
}

const listTags = 1000

// lastScan is a walk over the last messages of a log.
func lastScan(t *broker.Topic, last *int) (broker.Scan, error) {
	n := apiconv.Or(last, 10_000)
	if n < 1 || n > 100_000 {
		return broker.Scan{}, problem.Invalid("last %d: must be 1 to 100000", n)
	}
	next := t.Next()
	return broker.Scan{From: max(t.First(), next-int64(n)), To: next, Brief: true}, nil
}

// GetTags counts the tags of the last messages.
func (h *handler) GetTags(ctx context.Context, r GetTagsRequestObject) (GetTagsResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	scan, err := lastScan(t, r.Params.Last)
	if err != nil {
		return nil, err
	}
	counts := tagCounts{}
	scanned, _, err := t.Scan(ctx, scan, func(rec *storage.Record) bool {
		if !rec.Damaged() {
			counts[rec.Tag]++
		}
		return true
	})
	return GetTags200JSONResponse{Scanned: apiconv.Count(scanned), Distinct: len(counts), Tags: counts.top()}, err
}
