package api

import (
	"context"
	"math"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
)

// mostMarks is how many marks there are at most.
const mostMarks = 200

// GetTopicHistory gives the figures of a topic over time.
func (h *handler) GetTopicHistory(ctx context.Context, r GetTopicHistoryRequestObject) (GetTopicHistoryResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	d, err := h.history(ctx, storage.Series{Topic: t.ID()}, string(apiconv.Or(r.Params.Range, "15m")), t.Name())
	return GetTopicHistory200JSONResponse(d), err
}

// GetGroupHistory gives the figures of a group over time.
func (h *handler) GetGroupHistory(ctx context.Context, r GetGroupHistoryRequestObject) (GetGroupHistoryResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	of := storage.Series{Topic: g.Topic().ID(), Group: g.ID()}
	d, err := h.history(ctx, of, string(apiconv.Or(r.Params.Range, "15m")), g.Topic().Name()+"/"+g.Name())
	return GetGroupHistory200JSONResponse(d), err
}

// history describes what was kept. target is how the audit trail names it.
func (h *handler) history(ctx context.Context, of storage.Series, span string, target string) (d History, err error) {
	known, ok := stats.Spans()[span]
	if !ok {
		return d, problem.Invalid("range %q: must be 15m, 24h or 30d", broker.Excerpt(span))
	}
	past, err := h.stats.History(ctx, of, known)
	if err != nil {
		return d, err
	}
	d = historyOf(past)
	d.Range = HistoryRange(span)
	d.Marks, err = h.marks(ctx, past, target)
	return d, err
}

func historyOf(past *stats.History) History {
	d := History{Step: past.Step, Count: past.Count, End: apiconv.Time(past.End), Last: past.Last, Gaps: gapsOf(past.Parts)}
	lists := [...]**[]float64{&d.In, &d.Out, &d.Redelivered, &d.Failed, &d.Lag, &d.Age, &d.Latency, &d.Slowest}
	for i := range past.Parts {
		f := &past.Parts[i].Figures
		s := float64(past.Step) / 1000
		if i == past.Count-1 {
			s = float64(past.Last) / 1000
		}
		for n, v := range [len(lists)]float64{
			float64(f.In) / s, float64(f.Out) / s, float64(f.Again) / s, float64(f.Failed), float64(f.Lag), float64(f.Age) / 1000,
			float64(f.Took) / 1000 / float64(max(f.Timed, 1)), float64(f.Longest) / 1000,
		} {
			if v == 0 {
				continue
			}
			if *lists[n] == nil {
				list := make([]float64, past.Count)
				*lists[n] = &list
			}
			(**lists[n])[i] = math.Round(v*1000) / 1000
		}
	}
	return d
}

// gapsOf are the intervals of which nothing is known.
func gapsOf(parts []stats.Part) []HistoryGap {
	gaps := []HistoryGap{}
	for i := 0; i < len(parts); i++ {
		from := i
		for i < len(parts) && !parts[i].Known {
			i++
		}
		if i > from {
			gaps = append(gaps, HistoryGap{From: from, To: i})
		}
	}
	return gaps
}

// marks lists what was done to a topic with its groups, or to a group and its topic, and the starts.
func (h *handler) marks(ctx context.Context, past *stats.History, target string) ([]HistoryMark, error) {
	begin := past.End - past.Step*int64(past.Count)
	entries, err := h.broker.Trail(ctx, begin)
	if err != nil {
		return nil, err
	}
	marks := []HistoryMark{}
	for _, i := range past.Starts {
		marks = append(marks, HistoryMark{Time: apiconv.Time(begin + past.Step*int64(i)), Kind: "start"})
	}
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		kind := markKind(e)
		topic, group, _ := strings.Cut(e.Target, "/")
		if kind == "" || !strings.EqualFold(e.Target, target) && !strings.EqualFold(topic, target) &&
			(group != "" || !strings.HasPrefix(strings.ToLower(target), strings.ToLower(topic)+"/")) {
			continue
		}
		marks = append(marks, HistoryMark{Time: apiconv.Time(e.Time), Kind: kind, Group: apiconv.Optional(group), Text: apiconv.Optional(e.Detail)})
	}
	sort.SliceStable(marks, func(i, j int) bool { return marks[i].Time.Before(marks[j].Time) })
	return marks[max(0, len(marks)-mostMarks):], nil
}

// markKind is what an entry of the audit trail is on a chart; "" if it is not there.
func markKind(e *storage.AuditEntry) HistoryMarkKind {
	switch e.Action {
	case "topic.pause", "topic.resume":
		return HistoryMarkKind(strings.TrimPrefix(e.Action, "topic."))
	case "group.relocate", "topic.empty":
		return "move"
	case "topic.alter":
		return "change"
	case "group.alter":
		switch {
		case strings.Contains(e.Detail, "paused false"):
			return "pause"
		case strings.Contains(e.Detail, "paused true"):
			return "resume"
		case strings.HasPrefix(e.Detail, "filter "):
			return "filter"
		}
		return "change"
	}
	return ""
}
