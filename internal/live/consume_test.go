package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestAutoGroupDeliversByCreditAndSettlesByTheWrite(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	g := r.group(broker.GroupSpec{Topic: "orders", Name: "billing"})
	r.publish(topic, "a", "b", "c", "d")
	c := r.dial(nil)
	s := c.call(`{"op":"subscribe","ref":"1","topic":"ORDERS","group":"billing","window":2}`, "subscribed")
	if s.Ref != "1" || s.Sub == "" || s.Topic != "orders" || s.Group != "billing" || s.Settle != "auto" {
		t.Errorf("got %s", s.raw)
	}
	for i, tag := range []string{"a", "b"} {
		m := c.next().is(t, "message")
		if m.Sub != s.Sub || *m.Message.Tag != tag || *m.Message.Body != "body of "+tag || m.Message.DeliveryCount != 1 ||
			m.Message.Handle != nil || m.Credit != fmt.Sprint(1-i) {
			t.Errorf("got %s", m.raw)
		}
	}
	eventually(t, "two are settled", func() bool { return g.Info().Cursor == 2 })
	c.call(`{"op":"ping","ref":"p"}`, "ok") // nothing without credit
	c.call(`{"op":"credit","ref":"c","sub":"1","credit":64}`, "ok")
	if got := c.offsets(2); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("got offsets %s", got)
	}
	c.call(`{"op":"unsubscribe","ref":"u","sub":"1"}`, "ok")
	r.publish(topic, "e")
	c.call(`{"op":"ping","ref":"p"}`, "ok")
	c.refused(`{"op":"credit","sub":"1","credit":1}`, "not_found", "no subscription")
}

func TestExplicitGroupSettlesByHandles(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	g := r.group(broker.GroupSpec{Topic: "orders", Name: "billing", Settle: new(storage.SettleExplicit)})
	r.publish(topic, "a", "b", "c")
	c := r.dial(nil)
	if s := c.call(`{"op":"subscribe","topic":"orders","group":"billing","window":10}`, "subscribed"); s.Settle != "explicit" {
		t.Errorf("got %s", s.raw)
	}
	var handles []string
	for range 3 {
		handles = append(handles, *c.next().is(t, "message").Message.Handle)
	}
	c.call(`{"op":"extend","ref":"e","sub":"1","handles":["`+handles[0]+`"]}`, "ok")
	if a := c.call(`{"op":"ack","ref":"a","sub":"1","handles":["`+handles[0]+`","`+handles[2]+`"]}`, "ok"); a.Ref != "a" {
		t.Errorf("got %s", a.raw)
	}
	c.send(`{"op":"nack","ref":"n","sub":"1","handles":["` + handles[1] + `"],"delay":1}`)
	var again got
	for range 2 { // the answer and the message come in any order
		if f := c.next(); f.Type == "message" {
			again = f
		} else {
			f.is(t, "ok")
		}
	}
	if again.Message.Offset != "1" || again.Message.DeliveryCount != 2 || *again.Message.Handle == handles[1] {
		t.Errorf("got %s", again.raw)
	}
	f := c.refused(`{"op":"ack","ref":"x","sub":"1","handles":["`+handles[1]+`","`+*again.Message.Handle+`"]}`, "conflict", "no longer yours")
	if len(f.Failed) != 1 || f.Failed[0].Handle != handles[1] || f.Failed[0].Code != "conflict" || f.Ref != "x" {
		t.Errorf("got %s", f.raw)
	}
	if info := g.Info(); info.Cursor != 3 || info.InFlight != 0 {
		t.Errorf("the group is at %d with %d in flight", info.Cursor, info.InFlight)
	}
	c.refused(`{"op":"ack","sub":"1","handles":["nonsense"]}`, "invalid", "give one that a delivery carried")
	c.refused(`{"op":"ack","sub":"1","handles":[]}`, "invalid", "handles")
	c.refused(`{"op":"nack","sub":"1","handles":["`+handles[0]+`"],"delay":-1}`, "invalid", "delay")
}

func TestEphemeralGroupFiltersStartsAnywhereAndGoesWithItsSubscription(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	r.publish(topic, "eu.a", "us.a", "eu.b")
	c := r.dial(nil)
	s := c.call(`{"op":"subscribe","topic":"orders","filter":"eu.*","settle":"explicit","start":{"offset":"1"},"window":9}`, "subscribed")
	if !strings.HasPrefix(s.Group, broker.Ephemeral) || s.Settle != "explicit" {
		t.Errorf("got %s", s.raw)
	}
	if got := c.offsets(1); got[0] != "2" {
		t.Errorf("got offset %s", got)
	}
	c.call(`{"op":"subscribe","topic":"orders","window":9}`, "subscribed") // from the end on
	r.publish(topic, "us.b")
	if m := c.next().is(t, "message"); m.Message.Offset != "3" || m.Sub != "2" {
		t.Errorf("got %s", m.raw)
	}
	if n := len(topic.Groups()); n != 2 {
		t.Errorf("there are %d groups", n)
	}
	c.call(`{"op":"unsubscribe","ref":"u","sub":"1"}`, "ok")
	eventually(t, "the group goes with its subscription", func() bool { return len(topic.Groups()) == 1 })
	_ = c.ws.CloseNow()
	eventually(t, "the group goes with its socket", func() bool { return len(topic.Groups()) == 0 })
}

func TestSubscriptionEndsWithItsGroupOrTopic(t *testing.T) {
	r := start(t)
	r.topic("orders")
	r.topic("other")
	r.group(broker.GroupSpec{Topic: "orders", Name: "billing"})
	c := r.dial(nil)
	c.call(`{"op":"subscribe","topic":"orders","group":"billing","window":1}`, "subscribed")
	c.call(`{"op":"subscribe","topic":"other","window":1}`, "subscribed")
	if err := r.b.System().RemoveGroup(context.Background(), "orders", "billing", ""); err != nil {
		t.Fatal(err)
	}
	if e := c.next().is(t, "ended"); e.Sub != "1" || e.Code != "not_found" || !strings.Contains(e.Detail, "ConsumeGroup(billing)") {
		t.Errorf("got %s", e.raw)
	}
	if err := r.b.System().RemoveTopic(context.Background(), "other", ""); err != nil {
		t.Fatal(err)
	}
	if e := c.next().is(t, "ended"); e.Sub != "2" || !strings.Contains(e.Detail, "Topic(other)") {
		t.Errorf("got %s", e.raw)
	}
	c.refused(`{"op":"credit","sub":"1","credit":1}`, "not_found", "no subscription")
}

func TestRelocationDeliversAgainToWhoIsConnected(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	g := r.group(broker.GroupSpec{Topic: "orders", Name: "billing"})
	r.publish(topic, "a", "b", "c")
	c := r.dial(nil)
	c.call(`{"op":"subscribe","topic":"orders","group":"billing","window":100}`, "subscribed")
	c.offsets(3)
	if _, err := r.b.System().Relocate(context.Background(), g, broker.Position{At: broker.AtOffset, Offset: 1}, "relocate", ""); err != nil {
		t.Fatal(err)
	}
	if got := c.offsets(2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got offsets %s", got)
	}
}

func TestLostConnectionGivesBackWhatIsNotSettled(t *testing.T) {
	for _, mode := range []string{"cut", "closed", "unsubscribed", "disconnected"} {
		t.Run(mode, func(t *testing.T) {
			r := start(t)
			topic := r.topic("orders")
			g := r.group(broker.GroupSpec{Topic: "orders", Name: "billing", Settle: new(storage.SettleExplicit)})
			r.publish(topic, "a", "b")
			one := r.dial(nil)
			one.call(`{"op":"subscribe","topic":"orders","group":"billing","window":10}`, "subscribed")
			one.offsets(2)
			if n := g.Info().InFlight; n != 2 {
				t.Errorf("%d are in flight", n)
			}
			switch mode {
			case "cut":
				_ = one.ws.CloseNow()
			case "closed":
				_ = one.ws.Close(1000, "")
			case "unsubscribed":
				one.call(`{"op":"unsubscribe","sub":"1"}`, "ok")
			case "disconnected":
				if !r.hub.Disconnect(r.hub.Sessions()[0].ID, "enough") || r.hub.Disconnect("nobody", "") {
					t.Error("wrong answer of Disconnect")
				}
				if code := one.closed(); code != 1008 {
					t.Errorf("closed with status %d", code)
				}
			}
			two := r.dial(nil)
			two.call(`{"op":"subscribe","topic":"orders","group":"billing","window":10}`, "subscribed")
			for range 2 {
				if m := two.next().is(t, "message"); m.Message.DeliveryCount != 2 {
					t.Errorf("got %s", m.raw)
				}
			}
		})
	}
}

func TestWhatIsNotWrittenGoesToAnotherConsumer(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	r.group(broker.GroupSpec{Topic: "orders", Name: "billing"})
	stuck := r.dialSlow()
	stuck.call(`{"op":"subscribe","topic":"orders","group":"billing","window":10000}`, "subscribed")
	const n = 60
	body := []byte(strings.Repeat("x", 32<<10))
	inputs := make([]broker.Message, n)
	for i := range inputs {
		inputs[i] = broker.Message{Topic: topic, Record: storage.Record{Body: body}}
	}
	if _, err := r.b.System().Store(context.Background(), inputs); err != nil {
		t.Fatal(err)
	}
	if next := topic.Next(); next != n {
		t.Fatalf("the log ends at %d", next)
	}
	eventually(t, "the stuck client holds what may be under way", func() bool { return r.b.Outbound() > 512<<10 })
	r.group(broker.GroupSpec{Topic: "orders", Name: "queued"})
	before := r.b.Outbound()
	stuck.send(`{"op":"subscribe","topic":"orders","group":"queued","window":10}`)
	eventually(t, "more is queued behind it", func() bool { return r.b.Outbound() > before })
	_ = stuck.ws.CloseNow()
	eventually(t, "all of it is given back", func() bool { return r.b.Outbound() == 0 })
	c := r.dial(nil)
	c.call(`{"op":"subscribe","topic":"orders","group":"billing","window":10000}`, "subscribed")
	r.publish(topic, "last")
	seen := 0
	for c.next().is(t, "message").Message.Offset != fmt.Sprint(n) {
		seen++
	}
	if seen < n-20 { // some lie in buffers of the system
		t.Errorf("%d of %d came, although the first client took few", seen, n)
	}
}

func TestManySubscriptionsShareASocketUpToTheLimit(t *testing.T) {
	r := start(t)
	topics := make([]*broker.Topic, maxSubscriptions)
	c := r.dial(nil)
	for i := range topics {
		topics[i] = r.topic(fmt.Sprintf("topic-%d", i))
		r.group(broker.GroupSpec{Topic: topics[i].Name(), Name: "g"})
		c.call(fmt.Sprintf(`{"op":"subscribe","topic":"topic-%d","group":"g","window":1}`, i), "subscribed")
	}
	c.refused(`{"op":"subscribe","topic":"topic-0","group":"g"}`, "quota", "100 subscriptions")
	for i := range topics {
		r.publish(topics[i], "x")
		if m := c.next().is(t, "message"); m.Sub != fmt.Sprint(i+1) {
			t.Errorf("message %d came for subscription %s", i, m.Sub)
		}
	}
	info := r.hub.Sessions()
	if len(info) != 1 || info[0].Protocol != "api" || len(info[0].Subscriptions) != maxSubscriptions || info[0].In != 101 {
		t.Errorf("the socket is described as %+v", info)
	}
	c.call(`{"op":"unsubscribe","sub":"1"}`, "ok")
	c.call(`{"op":"subscribe","topic":"topic-0","group":"g"}`, "subscribed")
}

// A reader can come back before it got anything, and notices when the log is another one.
func TestASubscriptionIsResumedFromTheFirstMoment(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	says := func(s got, word string) {
		t.Helper()
		if !strings.Contains(s.raw, word) || strings.Contains(word, "after") == strings.Contains(s.raw, "reset") {
			t.Errorf("got %s, want %s", s.raw, word)
		}
	}
	says(c.call(`{"op":"subscribe","topic":"orders"}`, "subscribed"), `"after":"-1"`)
	r.publish(topic, "a", "b")
	says(c.call(`{"op":"subscribe","topic":"orders"}`, "subscribed"), `"after":"1"`)
	says(c.call(`{"op":"subscribe","topic":"orders","after":"-1","window":9}`, "subscribed"), `"after":"-1"`)
	if got := c.offsets(2); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("got offsets %s", got)
	}
	says(c.call(`{"op":"subscribe","topic":"orders","after":"0","window":9}`, "subscribed"), `"after":"0"`)
	if got := c.offsets(1); got[0] != "1" {
		t.Errorf("got offset %s", got)
	}
	says(c.call(`{"op":"subscribe","topic":"orders","after":"2","window":9}`, "subscribed"), `"reset":true`)
	if got := c.offsets(2); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("got offsets %s", got)
	}
	c.refused(`{"op":"subscribe","topic":"orders","after":"x"}`, "invalid", "after")
	c.refused(`{"op":"subscribe","topic":"orders","after":"1","start":{"offset":"1"}}`, "invalid", "leave out one")
	c.refused(`{"op":"subscribe","topic":"orders","group":"orders","after":"1"}`, "invalid", "leave out group")
}
