package server_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// held is what settles a delivery.
func held(a answer) string { return " offset=" + a.Get("offset") + " handle=" + a.Get("handle") }

func TestAnAckNeedsTheHandleOfTheDelivery(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, other := b.dial(t), b.dial(t)
	c.ok("declare topic=T consume_group=g group_mask=64")
	for i := range 4 {
		c.ok("produce topic=T", strconv.Itoa(i))
	}
	const group = " topic=T consume_group=g"
	first := c.ok("consume"+group).want(t, 200, "0")
	second := other.ok("consume"+group).want(t, 200, "1")
	if first.Get("handle") == "" || first.Get("handle") == second.Get("handle") {
		t.Fatalf("handles %q and %q", first.Get("handle"), second.Get("handle"))
	}
	for _, bad := range []struct {
		by     *client
		line   string
		status int
	}{
		{other, "ack" + group + " offset=0", 409},                                 // not its delivery
		{other, "ack" + group + " offset=0 handle=" + second.Get("handle"), 409},  // another's handle
		{c, "ack" + group + " offset=1 handle=" + first.Get("handle"), 409},       // another offset
		{c, "ack" + group + " offset=0 handle=nonsense", 400},                     // no handle at all
		{c, "ack" + group, 400},                                                   // no offset
		{c, "ack" + group + " offset=-1" + " handle=" + first.Get("handle"), 400}, // no offset
		{b.dial(t), "ack" + group + " offset=0", 400},                             // no handle, no subscription
		{c, "nack" + group + held(first) + " delay=x", 400},
	} {
		if a := bad.by.call(bad.line); a.Status != bad.status {
			t.Errorf("%s: %d %q, want %d", bad.line, a.Status, a.Body, bad.status)
		}
	}
	c.ok("ack" + group + held(first))
	other.ok("ack" + group + " offset=1") // the connection that got it needs no handle
	if a := c.call("ack" + group + held(first)); a.Status != 409 {
		t.Errorf("a second ack: %d", a.Status)
	}
	// The bearer of a handle may be another connection; without ack there is no reply.
	third := c.ok("consume"+group).want(t, 200, "2")
	other.send("ack ack=0" + group + held(third))
	other.quiet()
	fourth := c.ok("consume"+group).want(t, 200, "3")

	// What was acked is done, what was not comes again, after a restart.
	b = b.restart(t)
	c = b.dial(t)
	again := c.ok("consume"+group).want(t, 200, "3").header(t, "delivery-count", "2")
	if a := c.call("ack" + group + held(fourth)); a.Status != 409 {
		t.Errorf("a handle of before the restart: %d", a.Status)
	}
	c.call("consume timeout=50"+group).want(t, 204, "") // once, while it is held
	c.ok("ack" + group + held(again))
	c.call("consume timeout=50"+group).want(t, 204, "") // and not again after its ack
}

func TestWhatIsNotAckedComesBack(t *testing.T) {
	t.Parallel()
	b := start(t)
	group := "" // one of its own each
	for _, how := range []struct {
		name   string
		back   func(c *client, a answer)
		least  time.Duration
		closed bool
	}{
		{name: "nack", back: func(c *client, a answer) { c.ok("nack" + group + held(a)) }},
		{name: "nack with a delay", least: 150 * time.Millisecond, back: func(c *client, a answer) { c.ok("nack delay=150" + group + held(a)) }},
		{name: "ack timeout", least: 500 * time.Millisecond, back: func(*client, answer) {}},
		{name: "connection lost", back: func(c *client, _ answer) { _ = c.conn.Close() }, closed: true},
		{name: "unconsume", back: func(c *client, _ answer) { c.ok("unconsume" + group) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			admin, c, other := b.dial(t), b.dial(t), b.dial(t)
			group = " consume_group=g topic=" + strings.ReplaceAll(how.name, " ", "-")
			timeout := "60000"
			if how.name == "ack timeout" {
				timeout = "500"
			}
			admin.ok("declare group_mask=64 group_ack_timeout=" + timeout + group)
			admin.ok("produce"+group, how.name)
			began := time.Now()
			a := c.ok("consume"+group).want(t, 200, how.name).header(t, "delivery-count", "1")
			other.send("consume id=o" + group)
			other.quiet()
			how.back(c, a)
			again := other.recv().want(t, 200, how.name).header(t, "id", "o", "delivery-count", "2", "offset", a.Get("offset"))
			if took := time.Since(began); took < how.least {
				t.Errorf("came back after %v", took)
			}
			if !how.closed {
				if a := c.call("ack" + group + held(a)); a.Status != 409 {
					t.Errorf("the old handle still counts: %d", a.Status)
				}
			}
			other.ok("ack" + group + held(again))
		})
	}
}

func TestAfterMaxDeliverAMessageGoesToTheDeadLetterTopic(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	const group = " topic=T consume_group=g"
	c.ok("declare group_mask=64 max_deliver=2" + group)
	c.ok("produce topic=T tag=a.b x-own=1 content-type=text/x", "poison")
	c.ok("produce topic=T", "fine")
	for count := 1; count <= 2; count++ {
		a := c.ok("consume"+group).want(t, 200, "poison").header(t, "delivery-count", strconv.Itoa(count))
		c.ok("nack" + group + held(a))
	}
	c.ok("consume"+group).want(t, 200, "fine")
	eventually(t, "the dead-letter topic is there", func() bool { return c.call("declare topic=T.dead").Status == 200 })
	eventually(t, "the dead letter is there", func() bool {
		return strings.Contains(string(c.ok("query topic=T.dead").Body), `"messageDepth":1`)
	})
	c.ok("relocate topic=T.dead to=earliest")
	c.ok("consume topic=T.dead").want(t, 200, "poison").header(t, "tag", "a.b", "x-own", "1", "content-type", "text/x",
		"dead-topic", "T", "dead-group", "g", "dead-offset", "0", "dead-count", "2", "dead-cause", "nack")
	if a := c.ok("query" + group); !strings.Contains(string(a.Body), `"cursor":1,"inFlight":1`) {
		t.Errorf("the group: %s", a.Body)
	}
}

func TestTheAckWindowLimitsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	const group = " topic=T consume_group=g"
	c.ok("declare group_mask=64 group_ack_window=2" + group)
	for i := range 4 {
		c.ok("produce topic=T", strconv.Itoa(i))
	}
	c.send("consume window=10 id=w" + group)
	first := c.recv().want(t, 200, "0").header(t, "window", "9")
	c.recv().want(t, 200, "1")
	c.quiet()
	c.send("ack ack=0" + group + held(first))
	c.recv().want(t, 200, "2").header(t, "window", "7")
	c.quiet()
}

func TestALostAutoConsumerLosesNothingThatWasNotWritten(t *testing.T) {
	t.Parallel()
	b := start(t)
	p := b.dial(t)
	p.ok("declare topic=T")
	const n = 50
	seen := map[string]bool{}
	for i := range n {
		// It waits, and is cut at about the moment when a message comes.
		c := b.dial(t)
		c.send("consume topic=T id=1 window=3")
		p.send("produce topic=T ack=0", strconv.Itoa(i))
		if i%2 == 0 {
			p.quiet()
		}
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
		for { // all that was written to it, it can still read
			a, err := c.next()
			if err != nil {
				break
			}
			if a.Get("id") == "1" {
				seen[string(a.Body)] = true
			}
		}
		c.conn.Close()
	}
	last := b.dial(t)
	for len(seen) < n {
		last.send("consume topic=T id=1 timeout=2000")
		a := last.recv()
		if a.Status != 200 {
			t.Fatalf("%d of %d messages came: %d", len(seen), n, a.Status)
		}
		if seen[string(a.Body)] {
			t.Errorf("message %s came twice", a.Body)
		}
		seen[string(a.Body)] = true
	}
}

func TestAnExclusiveGroupHasOneSession(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, other := b.dial(t), b.dial(t)
	const group = " topic=T consume_group=g"
	c.ok("declare group_mask=16" + group)
	c.send("consume id=1" + group)
	c.send("consume id=2" + group) // the same session may
	c.quiet()
	if a := other.call("consume" + group); a.Status != 401 {
		t.Errorf("another session gets %d", a.Status)
	}
	c.conn.Close()
	eventually(t, "the group is free", func() bool {
		return strings.Contains(string(other.ok("query"+group).Body), `"consumerCount":0`)
	})
	other.ok("produce topic=T", "m")
	other.ok("consume"+group).want(t, 200, "m")
}

func TestAGroupIsDeletedOnExitOfItsLastSession(t *testing.T) {
	t.Parallel()
	b := start(t)
	admin, one, two := b.dial(t), b.dial(t), b.dial(t)
	const group = " topic=T consume_group=g"
	admin.ok("declare group_mask=32" + group)
	for _, c := range []*client{one, two} {
		c.send("consume id=1" + group)
		c.quiet()
	}
	one.conn.Close()
	eventually(t, "one is gone", func() bool {
		return strings.Contains(string(admin.ok("query"+group).Body), `"consumerCount":1`)
	})
	two.conn.Close()
	eventually(t, "the group is gone", func() bool { return admin.call("query"+group).Status == 404 })
	admin.ok("query topic=T")
}

func TestAPausedGroupHoldsUntilItIsResumed(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, admin := b.dial(t), b.dial(t)
	const group = " topic=T consume_group=g"
	admin.ok("declare group_mask=8" + group)
	admin.ok("declare topic=T consume_group=free")
	c.send("consume id=1" + group)
	c.send("consume id=free topic=T consume_group=free")
	admin.ok("produce topic=T", "m")
	c.recv().want(t, 200, "m").header(t, "id", "free")
	c.quiet()
	admin.ok("declare group_mask=0" + group) // as consumers do that come again
	c.quiet()
	req, err := http.NewRequest(http.MethodPatch, "http://"+b.addr+"/api/v1/topics/T/groups/g", strings.NewReader(`{"paused":false}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("resume: %s, %v", resp.Status, err)
	}
	c.recv().want(t, 200, "m").header(t, "id", "1")
	// The mask of a topic pauses nothing.
	admin.ok("declare topic=T topic_mask=8")
	admin.ok("produce topic=T", fmt.Sprint(2))
	c.ok("consume"+group).want(t, 200, "2")
}

func TestDeliveriesAreAckedTogether(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	const group = " topic=T consume_group=g"
	c.ok("declare group_mask=64 group_ack_timeout=60000" + group)
	for i := range 6 {
		c.ok("produce topic=T", fmt.Sprint(i))
	}
	c.send("consume id=c window=6" + group)
	handle := ""
	for range 6 {
		handle = " handle=" + c.recv().Get("handle")
	}
	c.ok("ack offset=0-2,4" + group + handle)
	c.call("ack offset=0-3"+group+handle).header(t, "offset", "0-2").want(t, 409, "the delivery of offset 0 is no longer yours: it was settled, timed out or its group was relocated")
	c.send("ack ack=false id=quiet offset=4-5" + group + handle) // says only what it could not do
	c.recv().header(t, "id", "quiet", "offset", "4").want(t, 409, "the delivery of offset 4 is no longer yours: it was settled, timed out or its group was relocated")
	for text, want := range map[string]string{"3,1": "3,1", "1-": "1-", "0-10000": "0-10000"} {
		c.call("ack offset="+text+group+handle).want(t, 400, `Bad offset: "`+want+`" must be offsets and ranges of them in rising order, such as 3,5-9, and at most 10000 of them`)
	}
	c.call("ack offset=0-1"+group).want(t, 400, "Missing handle: deliveries that are acked together have one handle")
	c.call("ack offset=0-1"+group+" handle=x").header(t, "offset", "0-1").want(t, 400, `malformed handle "x": give one that a delivery carried`)
	_ = c.conn.Close()
	b = b.restart(t)
	b.dial(t).call("consume timeout=50"+group).want(t, 204, "") // all six are settled
}
