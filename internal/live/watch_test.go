package live

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// figuresOf decodes the data of a frame, with no member left over.
func figuresOf[T any](t *testing.T, g got) (data T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(g.Data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&data); err != nil {
		t.Errorf("%s: %v", g.raw, err)
	}
	return data
}

// glance watches a channel until the first figures are there.
func (c *client) glance(channel, more string) got {
	c.t.Helper()
	w := c.call(`{"op":"watch","ref":"`+channel+`","channel":"`+channel+`"`+more+`}`, "watching")
	if w.Ref != channel || w.Channel != channel || w.Watch == "" {
		c.t.Errorf("got %s", w.raw)
	}
	f := c.until("figures of "+channel, func(g got) bool { return g.Type == "figures" && g.Watch == w.Watch })
	if f.Channel != channel || f.Seq < 1 {
		c.t.Errorf("got %s", f.raw)
	}
	c.send(`{"op":"unwatch","watch":"` + w.Watch + `"}`)
	c.send(`{"op":"ping","ref":"end"}`)
	c.await("ok")
	return f
}

func TestEveryChannelShowsItsFigures(t *testing.T) {
	r := start(t)
	orders := r.topic("orders")
	r.group(broker.GroupSpec{Topic: "orders", Name: "all", Settle: new(storage.SettleExplicit), Start: broker.Position{At: broker.AtEarliest}})
	eu := "eu.*"
	r.group(broker.GroupSpec{Topic: "orders", Name: "eu", Filter: &eu, Start: broker.Position{At: broker.AtEarliest}})
	r.publish(orders, "eu.a", "us.a", "eu.b")
	c := r.dial(nil)
	c.call(`{"op":"subscribe","topic":"orders","group":"all","window":1}`, "subscribed")
	c.offsets(1)
	r.sample()
	if d := figuresOf[serverFigures](t, c.glance("server", "")); d.Topics != 1 || d.Groups != 2 || d.Messages != "3" || d.Lag != "5" || d.Point == nil { // the filter passes 2 of 3
		t.Errorf("server: %+v", d)
	}
	topics := figuresOf[topicList](t, c.glance("topics", "")).Topics
	if len(topics) != 1 || topics[0].Name != "orders" || topics[0].Kind != "log" || topics[0].Depth != "3" || topics[0].NextOffset != "3" ||
		topics[0].Groups != 2.0 || topics[0].Consumers != 1 || topics[0].WorstLag != "3" || topics[0].WorstLagGroup != "all" || topics[0].Bytes == "0" {
		t.Errorf("topics: %+v", topics)
	}
	one := figuresOf[struct {
		topicFigures
		Groups []groupFigures `json:"groups"`
	}](t, c.glance("topic", `,"topic":"ORDERS"`))
	if one.Name != "orders" || one.WorstLag != "3" || len(one.Groups) != 2 {
		t.Errorf("topic: %+v", one)
	}
	if one.Second == nil || one.Second.Lag != 5 || one.Groups[0].Second == nil || one.Groups[0].Second.Lag != 3 || topics[0].Second != nil {
		t.Errorf("of the last second: topic %+v, group %+v; in a list %+v", one.Second, one.Groups[0].Second, topics[0].Second)
	}
	for _, groups := range [][]groupFigures{one.Groups, figuresOf[groupList](t, c.glance("groups", "")).Groups} {
		all, eu := groups[0], groups[1]
		if all.Name != "all" || all.Settle != "explicit" || all.Lag != "3" || !all.LagExact || all.InFlight != "1" || all.Consumers != 1 || all.Version == "" {
			t.Errorf("group all: %+v", all)
		}
		if eu.Name != "eu" || eu.Filter != "eu.*" || eu.Lag != "2" || eu.Settle != "auto" || eu.Cursor != "0" {
			t.Errorf("group eu: %+v", eu)
		}
	}
	sessions := figuresOf[sessionList](t, c.glance("sessions", ""))
	if sessions.Total != 1 || sessions.Sessions[0].Protocol != "api" || sessions.Sessions[0].Subscriptions[0].InFlight != "1" {
		t.Errorf("sessions: %+v", sessions)
	}
	audit := figuresOf[auditList](t, c.glance("audit", "")).Entries
	if len(audit) != 3 || audit[0].Action != "group.create" || audit[0].Target != "orders/eu" || audit[2].Action != "topic.create" {
		t.Errorf("audit: %+v", audit)
	}
}

func TestFiguresOfATopicHaveWhatHappenedInTheLastSecond(t *testing.T) {
	r := start(t)
	orders := r.topic("orders")
	r.group(broker.GroupSpec{Topic: "orders", Name: "all"})
	c := r.dial(nil)
	c.call(`{"op":"watch","channel":"topic","topic":"orders"}`, "watching")
	for n := 0; ; n++ {
		d := figuresOf[struct {
			topicFigures
			Groups []groupFigures `json:"groups"`
		}](t, c.await("figures"))
		if s := d.Second; s != nil && s.In > 0 {
			if s.In > int64(n) || s.Latency > s.Slowest {
				t.Errorf("%+v, want no more than the %d messages that there are", s, n)
			}
			return
		}
		if n == 20 {
			t.Fatal("nothing came in any of 20 seconds")
		}
		r.publish(orders, "x")
	}
}

func TestFiguresComeWhenTheyDifferAndABeatOtherwise(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	w := c.call(`{"op":"watch","channel":"topics"}`, "watching")
	first := c.next().is(t, "figures")
	for range 2 {
		if f, err := c.read(); err != nil || f.Type != "beat" {
			t.Fatalf("got %s, %v; want a beat", f.raw, err)
		}
	}
	r.publish(topic, "a")
	f := c.await("figures")
	if d := figuresOf[topicList](t, f); f.Watch != w.Watch || f.Seq <= first.Seq || d.Topics[0].NextOffset != "1" {
		t.Errorf("got %s", f.raw)
	}
	// News of the audit trail alone leave the topic's figures as they are.
	c.call(`{"op":"unwatch","ref":"u","watch":"`+w.Watch+`"}`, "ok")
	c.call(`{"op":"watch","channel":"audit"}`, "watching")
	c.next().is(t, "figures")
	r.topic("more")
	if d := figuresOf[auditList](t, c.await("figures")); d.Entries[0].Target != "more" {
		t.Errorf("got %+v", d)
	}
}

func TestFiguresAreMadeOnceForAllViewers(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	for i := range 50 {
		r.topic(fmt.Sprintf("a-topic-that-makes-the-figures-longer-%d", i))
	}
	const viewers = 10
	clients := make([]*client, viewers)
	for i := range clients {
		clients[i] = r.dial(nil)
		clients[i].call(`{"op":"watch","channel":"topics"}`, "watching")
		clients[i].await("figures")
	}
	before := r.hub.made.Load()
	if before != 1 {
		t.Errorf("the first figures were made %d times", before)
	}
	r.publish(topic, "x")
	bodies := map[string]int{}
	frames := map[int64]bool{}
	for _, c := range clients {
		f := c.await("figures")
		frames[f.Seq] = true
		bodies[f.raw]++
	}
	if made := r.hub.made.Load() - before; made > 3 || len(bodies) > len(frames) {
		t.Errorf("figures were made %d times for %d viewers, with %d texts of %d", made, viewers, len(bodies), len(frames))
	}
}

func TestWithoutViewersNothingIsMade(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	for range 2 {
		c.glance("topics", "")
		r.hub.mu.Lock()
		left := len(r.hub.channels)
		r.hub.mu.Unlock()
		before := r.hub.made.Load()
		r.publish(topic, "y")
		r.sample()
		if made := r.hub.made.Load() - before; made != 0 || left != 0 {
			t.Errorf("without viewers figures were made %d times, of %d channels", made, left)
		}
	}
}

func TestUnwatchAndTheEndOfATopicEndAWatch(t *testing.T) {
	r := start(t)
	r.topic("orders")
	c := r.dial(nil)
	w := c.call(`{"op":"watch","channel":"topic","topic":"orders"}`, "watching")
	c.next().is(t, "figures")
	tail := c.call(`{"op":"watch","channel":"tail","topic":"orders"}`, "watching")
	if err := r.b.System().RemoveTopic(context.Background(), "orders", ""); err != nil {
		t.Fatal(err)
	}
	ended := map[string]bool{}
	for range 2 {
		e := c.await("ended")
		ended[e.Watch] = true
		if e.Code != "not_found" || e.Sub != "" || !strings.Contains(e.Detail, "Topic(orders)") {
			t.Errorf("got %s", e.raw)
		}
	}
	if !ended[w.Watch] || !ended[tail.Watch] {
		t.Errorf("ended: %v", ended)
	}
	c.refused(`{"op":"unwatch","watch":"`+w.Watch+`"}`, "not_found", "no watch")
	for range maxWatches {
		c.send(`{"op":"watch","channel":"audit"}`)
		c.await("watching")
	}
	c.send(`{"op":"watch","channel":"server"}`)
	if p := c.await("problem"); p.Code != "quota" {
		t.Errorf("got %s", p.raw)
	}
}

// stuck reports whether more than n watches of a socket wait to be shown.
func (h *Hub) stuck(n int) (any bool) {
	for _, s := range h.all() {
		s.out.mu.Lock()
		any = any || len(s.out.dirty) > n
		s.out.mu.Unlock()
	}
	return any
}

func TestSlowViewerHoldsUpNobody(t *testing.T) {
	r := start(t)
	for i := range 200 {
		r.topic(fmt.Sprintf("a-topic-with-a-rather-long-name-that-makes-the-figures-longer-and-fills-buffers-%d", i))
	}
	slow, quick := r.dialSlow(), r.dial(nil)
	const watches = 20
	for range watches {
		slow.send(`{"op":"watch","channel":"topics"}`) // and never reads: 20 × 50 KiB
	}
	eventually(t, "the slow one is stuck", func() bool { return r.hub.stuck(10) })
	quick.call(`{"op":"watch","channel":"topics"}`, "watching")
	last := quick.await("figures")
	topic, _ := r.b.System().Topic("a-topic-with-a-rather-long-name-that-makes-the-figures-longer-and-fills-buffers-0")
	for range 3 {
		r.publish(topic, "x")
		f := quick.await("figures")
		if f.Seq <= last.Seq {
			t.Errorf("figures %d follow %d", f.Seq, last.Seq)
		}
		last = f
	}
	if !r.hub.stuck(5) {
		t.Error("the slow viewer got everything: nothing was tested")
	}
	// When it reads at last, each watch has the newest figures and none in between.
	newest := map[string]int64{}
	older := 0
	slow.until("newest figures", func(f got) bool {
		if f.Type == "figures" {
			newest[f.Watch] = f.Seq
			if f.Seq < last.Seq {
				older++
			}
		}
		return len(newest) == watches && newest["w20"] >= last.Seq
	})
	if older > watches+5 { // one each may have been under way
		t.Errorf("the slow viewer got %d frames with older figures", older)
	}
}

func TestTailShowsWhatIsNewAndCountsWhatItMisses(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	r.publish(topic, "old")
	c := r.dial(nil)
	c.call(`{"op":"watch","channel":"tail","topic":"orders","filter":"eu.*","text":"body","limit":1000}`, "watching")
	all := r.dial(nil)
	all.call(`{"op":"watch","channel":"tail","topic":"orders","limit":5}`, "watching")
	r.publish(topic, "us.a", "eu.a")
	if f := c.next().is(t, "tail"); len(f.Messages) != 1 || *f.Messages[0].Tag != "eu.a" || f.Messages[0].Offset != "2" || f.Missed != "0" {
		t.Errorf("got %s", f.raw)
	}
	tags := make([]string, 100)
	for i := range tags {
		tags[i] = "eu.x"
	}
	r.publish(topic, tags...)
	r.publish(topic, strings.Repeat("x", 10))
	shown, missed, last := 0, 0, ""
	for shown+missed < 103 {
		f := all.next().is(t, "tail")
		for _, m := range f.Messages {
			shown, last = shown+1, m.Offset
		}
		n := 0
		if _, err := fmt.Sscan(f.Missed, &n); err != nil {
			t.Fatal(err)
		}
		missed += n
	}
	if shown+missed != 103 || shown < 5 || shown > 10 {
		t.Errorf("%d shown, the last at %s, and %d missed of 103", shown, last, missed)
	}
	for n := 1; n < 101; {
		f := c.next().is(t, "tail")
		if n += len(f.Messages); f.Missed != "0" {
			t.Errorf("got %s", f.raw)
		}
	}
}

func TestTailCutsBodiesAsListsDo(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	c.call(`{"op":"watch","channel":"tail","topic":"orders"}`, "watching")
	in := broker.Message{Topic: topic}
	in.Body = []byte(strings.Repeat("x", apiconv.ListBody+1))
	if _, err := r.b.System().Store(context.Background(), []broker.Message{in}); err != nil {
		t.Fatal(err)
	}
	if m := c.next().is(t, "tail").Messages[0]; len(*m.Body) != apiconv.ListBody || m.Truncated == nil || m.Size != fmt.Sprint(apiconv.ListBody+1) {
		t.Errorf("got a body of %d bytes", len(*m.Body))
	}
}
