package live

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/storage"
)

// party is one end of calls, who hears nothing.
type party struct{ rpc.Peer }

func (*party) CallFailed(*rpc.Call, rpc.Outcome) {}

// Release is part of rpc.Load: this provider takes no account of its calls.
func (*party) Release() {}

// serve makes a service with a provider that describes itself.
func (r *rig) serve(topic string) (caller, provider *party) {
	r.t.Helper()
	spec := broker.TopicSpec{Name: topic, Kind: storage.KindRPC}
	if _, _, err := r.b.System().DeclareTopic(context.Background(), spec); err != nil {
		r.t.Fatal(err)
	}
	calls := r.hub.opts.Calls
	caller, provider = &party{}, &party{}
	caller.Init(calls, "caller", "here:1", caller)
	provider.Init(calls, "provider", "here:2", provider)
	provider.Provide(calls.Service(topic))
	provider.Describe(calls.Service(topic), &rpc.Description{Name: "Calculator", Version: "1.0", Methods: []rpc.MethodDescription{
		{Name: "plus", Description: "adds", Params: json.RawMessage(`{"type":"array"}`), Result: json.RawMessage(`{"type":"number"}`)},
	}})
	r.t.Cleanup(func() { caller.Leave(); provider.Leave() })
	return caller, provider
}

func TestServicesAndOneServiceShowTheirCalls(t *testing.T) {
	r := start(t)
	r.topic("orders")
	caller, provider := r.serve("calc")
	calls := r.hub.opts.Calls
	c := r.dial(nil)
	c.call(`{"op":"watch","ref":"all","channel":"rpc"}`, "watching")
	first := figuresOf[serviceList](t, c.await("figures"))
	if len(first.Services) != 1 || first.Services[0].Topic != "calc" || first.Services[0].Providers != 1 || first.Services[0].Methods != 1 || first.Services[0].Calls.Total != "0" {
		t.Errorf("before any call: %+v", first)
	}
	call := caller.Begin(calls.Now(), calls.Service("calc"), "plus", "1", time.Minute, (*access.Quota)(nil))
	provider.Take(provider, call)
	provider.Answer(calls.Now(), "caller", "1", 200)
	if _, verdict := provider.Answer(calls.Now(), "nobody", "1", 200); verdict != rpc.Orphaned {
		t.Errorf("verdict %d", verdict)
	}
	calls.Drop(rpc.Orphaned)
	c.until("the call", func(g got) bool {
		if g.Type != "figures" {
			return false
		}
		d := figuresOf[serviceList](t, g)
		return d.Services[0].Calls.Answered == "1" && d.Services[0].Latency.Count == "1" && d.DroppedAnswers.Orphaned == "1"
	})
	f := c.glance("service", `,"topic":"CALC"`)
	d := figuresOf[serviceFigures](t, f)
	if d.Topic != "calc" || len(d.Providers) != 1 || d.Providers[0].Name != "Calculator" || d.Providers[0].Answered != "1" ||
		len(d.Methods) != 1 || d.Methods[0].Name != "plus" || !d.Methods[0].Described || d.Methods[0].Calls.Answered != "1" || d.DroppedAnswers.Orphaned != "1" {
		t.Errorf("one service: %+v", d)
	}
	if strings.Contains(f.raw, `"type":"array"`) || strings.Contains(f.raw, `"type":"number"`) {
		t.Errorf("schemas are sent with every second's figures: %s", f.raw)
	}
	c.refused(`{"op":"watch","channel":"service","topic":"orders"}`, "not_found", "not for calls")
	c.refused(`{"op":"watch","channel":"service"}`, "invalid", "topic")
	c.refused(`{"op":"watch","channel":"rpc","topic":"calc"}`, "invalid", "no member")
}
