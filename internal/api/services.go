package api

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// ListServices lists the services.
func (h *handler) ListServices(ctx context.Context, r ListServicesRequestObject) (ListServicesResponseObject, error) {
	h.Calls.Forget(func(topic string) bool { _, err := h.broker.System().Topic(topic); return err == nil })
	all := slices.DeleteFunc(h.view(ctx).Topics(), func(t *broker.Topic) bool {
		return !t.Calls() || !contains(t.Name(), r.Params.Name)
	})
	some, next, err := page(all, func(t *broker.Topic) string { return t.Name() }, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	drops := h.Calls.Drops()
	answer := ListServices200JSONResponse{
		Services: make([]Service, 0, len(some)), Total: len(all), Next: next,
		DroppedAnswers: DroppedAnswers{Late: count(drops.Late), Foreign: count(drops.Foreign), Orphaned: count(drops.Orphaned)},
	}
	for _, t := range some {
		answer.Services = append(answer.Services, ServiceOf(h.Calls, t))
	}
	return answer, nil
}

// GetService describes one service.
func (h *handler) GetService(ctx context.Context, r GetServiceRequestObject) (GetServiceResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	if !t.Calls() {
		return nil, &broker.Error{Code: broker.NotFound, Text: "Topic(" + t.Name() + ") is not for calls: there is no service"}
	}
	return GetService200JSONResponse(ServiceOf(h.Calls, t)), nil
}

// ServiceOf describes the service behind a topic.
func ServiceOf(calls *rpc.Table, t *broker.Topic) Service {
	f := calls.Service(t.Name()).Figures()
	d := Service{
		Topic: t.Name(), Waiting: f.Waiting, InFlight: f.InFlight,
		Providers: make([]ServiceProvider, 0, len(f.Providers)),
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

func providerOf(p rpc.ProviderFigures) ServiceProvider {
	d := ServiceProvider{
		Session: p.Session, Remote: p.Remote, Since: p.Since.UTC().Truncate(time.Millisecond),
		Given: count(p.Given), Answered: count(p.Answered), InFlight: p.InFlight, Overdue: p.Overdue,
	}
	if p.Description != nil {
		d.Name, d.Version, d.Description = p.Name, p.Version, p.Description.Description
	}
	return d
}

// methodsOf lists what providers say that they have, the newest provider's word
// first, and what was called besides.
func methodsOf(f rpc.ServiceFigures) []ServiceMethod {
	list := map[string]*ServiceMethod{}
	for _, p := range slices.Backward(f.Providers) {
		if p.Description == nil {
			continue
		}
		for _, m := range p.Methods {
			if key := NameOfMethod(m.Module, m.Name); list[key] == nil {
				list[key] = &ServiceMethod{
					Name: m.Name, Module: m.Module, Description: m.Description, Described: true,
					Params: raw(m.Params), Result: raw(m.Result),
				}
			}
		}
	}
	for _, m := range f.Methods {
		if list[m.Name] == nil {
			list[m.Name] = &ServiceMethod{Name: m.Name}
		}
	}
	figures := map[string]rpc.MethodFigures{}
	for _, m := range f.Methods {
		figures[m.Name] = m
	}
	all := make([]ServiceMethod, 0, len(list))
	for key, m := range list {
		x := figures[key]
		m.Rate, m.Calls, m.Latency, m.LastError = x.PerSecond, callCounts(x), latencyOf(&x.Recent), lastError(x)
		all = append(all, *m)
	}
	sort.Slice(all, func(i, j int) bool {
		return NameOfMethod(all[i].Module, all[i].Name) < NameOfMethod(all[j].Module, all[j].Name)
	})
	return all
}

func raw(schema json.RawMessage) *json.RawMessage {
	if schema == nil {
		return nil
	}
	return &schema
}

func callCounts(m rpc.MethodFigures) CallCounts {
	of := func(o rpc.Outcome) Count { return count(m.Outcomes[o.String()]) }
	return CallCounts{
		Total: count(m.Calls), Answered: of(rpc.Answered), Failed: count(m.Failed), Unavailable: of(rpc.Unavailable),
		Timeout: of(rpc.TimedOut), ProviderGone: of(rpc.ProviderGone), Abandoned: of(rpc.Abandoned),
	}
}

func lastError(m rpc.MethodFigures) *CallError {
	if m.LastError == "" {
		return nil
	}
	return &CallError{Text: m.LastError, Time: m.LastTime.UTC().Truncate(time.Millisecond)}
}

// latencyOf is the figures of latencies, with a bucket for each power of two of
// microseconds from the shortest to the longest.
func latencyOf(l *rpc.Latencies) Latency {
	d := Latency{
		Count: count(l.Count()), P50: ms(l.Quantile(.5)), P95: ms(l.Quantile(.95)), P99: ms(l.Quantile(.99)), Max: ms(l.Max()),
		Histogram: []LatencyBucket{},
	}
	seen := uint64(0)
	for k := 0; seen < l.Count(); k++ {
		n := l.Below(k)
		if n > 0 {
			d.Histogram = append(d.Histogram, LatencyBucket{Below: ms(time.Microsecond << k), Count: count(n - seen)})
		}
		seen = n
	}
	return d
}
