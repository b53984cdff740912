package apiconv

import (
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// Service describes the service behind a topic.
func Service(calls *rpc.Table, t *broker.Topic) apimodel.Service {
	f := calls.Service(t.Name()).Figures()
	d := apimodel.Service{
		Topic: t.Name(), Waiting: f.Waiting, InFlight: f.InFlight,
		Providers: make([]apimodel.ServiceProvider, 0, len(f.Providers)),
	}
	for _, p := range f.Providers {
		d.Providers = append(d.Providers, providerOf(p))
	}
	d.Methods = methodsOf(f)
	var recent rpc.Latencies
	total := rpc.MethodFigures{Outcomes: map[string]uint64{}}
	for _, m := range f.Methods {
		d.Rate += m.PerSecond
		recent.Merge(&m.Recent)
		total.Calls += m.Calls
		total.Failed += m.Failed
		for outcome, n := range m.Outcomes {
			total.Outcomes[outcome] += n
		}
		if m.LastError != "" && m.LastTime.After(total.LastTime) {
			total.LastError, total.LastTime = m.LastError, m.LastTime
		}
	}
	d.Calls, d.Latency, d.LastError = callCounts(total), latencyOf(&recent), lastError(total)
	return d
}

func providerOf(p rpc.ProviderFigures) apimodel.ServiceProvider {
	d := apimodel.ServiceProvider{
		Session: p.Session, Remote: p.Remote, Since: p.Since.UTC().Truncate(time.Millisecond),
		Given: Count(p.Given), Answered: Count(p.Answered), InFlight: p.InFlight, Overdue: p.Overdue,
	}
	if p.Description != nil {
		d.Name, d.Version, d.Description = p.Name, p.Version, p.Description.Description
	}
	return d
}

// methodsOf lists the methods that providers describe, those of the newest provider
// first, and then others that were called.
func methodsOf(f rpc.ServiceFigures) []apimodel.ServiceMethod {
	list := map[string]*apimodel.ServiceMethod{}
	for _, p := range slices.Backward(f.Providers) {
		if p.Description == nil {
			continue
		}
		for _, m := range p.Methods {
			if key := MethodName(m.Module, m.Name); list[key] == nil {
				list[key] = &apimodel.ServiceMethod{
					Name: m.Name, Module: m.Module, Description: m.Description, Described: true,
					Params: raw(m.Params), Result: raw(m.Result),
				}
			}
		}
	}
	for _, m := range f.Methods {
		if list[m.Name] == nil {
			list[m.Name] = &apimodel.ServiceMethod{Name: m.Name}
		}
	}
	figures := map[string]rpc.MethodFigures{}
	for _, m := range f.Methods {
		figures[m.Name] = m
	}
	all := make([]apimodel.ServiceMethod, 0, len(list))
	for key, m := range list {
		x := figures[key]
		m.Rate, m.Calls, m.Latency, m.LastError = x.PerSecond, callCounts(x), latencyOf(&x.Recent), lastError(x)
		all = append(all, *m)
	}
	sort.Slice(all, func(i, j int) bool {
		return MethodName(all[i].Module, all[i].Name) < MethodName(all[j].Module, all[j].Name)
	})
	return all
}

func raw(schema json.RawMessage) *json.RawMessage {
	if schema == nil {
		return nil
	}
	return &schema
}

func callCounts(m rpc.MethodFigures) apimodel.CallCounts {
	of := func(o rpc.Outcome) apimodel.Count { return Count(m.Outcomes[o.String()]) }
	return apimodel.CallCounts{
		Total: Count(m.Calls), Answered: of(rpc.Answered), Failed: Count(m.Failed), Unavailable: of(rpc.Unavailable),
		Timeout: of(rpc.TimedOut), ProviderGone: of(rpc.ProviderGone), Abandoned: of(rpc.Abandoned),
	}
}

func lastError(m rpc.MethodFigures) *apimodel.CallError {
	if m.LastError == "" {
		return nil
	}
	return &apimodel.CallError{Text: m.LastError, Time: m.LastTime.UTC().Truncate(time.Millisecond)}
}

// latencyOf is the figures of latencies, with a bucket for each power of two of
// microseconds from the shortest to the longest.
func latencyOf(l *rpc.Latencies) apimodel.Latency {
	d := apimodel.Latency{
		Count: Count(l.Count()), P50: Milliseconds(l.Quantile(.5)), P95: Milliseconds(l.Quantile(.95)), P99: Milliseconds(l.Quantile(.99)), Max: Milliseconds(l.Max()),
		Histogram: []apimodel.LatencyBucket{},
	}
	seen := uint64(0)
	for k := 0; seen < l.Count(); k++ {
		n := l.Below(k)
		if n > 0 {
			d.Histogram = append(d.Histogram, apimodel.LatencyBucket{Below: Milliseconds(time.Microsecond << k), Count: Count(n - seen)})
		}
		seen = n
	}
	return d
}
