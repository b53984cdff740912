package server_test

import (
	"strconv"
	"strings"
	"testing"
)

func TestNeverMoreDeliveriesThanCredit(t *testing.T) {
	t.Parallel()
	b := start(t)
	p, c := b.dial(t), b.dial(t)
	p.ok("declare topic=T")
	for i := range 20 {
		p.ok("produce topic=T", strconv.Itoa(i))
	}
	next := 0
	take := func(id string, credit int, windows bool) {
		t.Helper()
		for left := credit - 1; left >= 0; left-- {
			a := c.recv().want(t, 200, strconv.Itoa(next)).header(t, "id", id)
			if windows {
				a.header(t, "window", strconv.Itoa(left))
			} else {
				a.without(t, "window")
			}
			next++
		}
		c.quiet()
	}
	c.send("consume topic=T id=plain")
	take("plain", 1, false)
	c.send("consume topic=T id=one consume_window=1 window=1")
	take("one", 1, false)
	c.send("consume topic=T id=zero window=0")
	take("zero", 1, false)
	c.send("consume topic=T id=three window=3")
	take("three", 3, true)
	c.send("consume topic=T id=four consume_window=4")
	take("four", 4, true)

	// More credit than messages: the rest is for later, under the latest id.
	c.send("consume topic=T id=many window=12")
	for left := 11; left >= 2; left-- {
		c.recv().want(t, 200, strconv.Itoa(next)).header(t, "id", "many", "window", strconv.Itoa(left))
		next++
	}
	c.quiet()
	c.send("consume topic=T id=again window=2")
	c.quiet()
	for range 3 {
		p.ok("produce topic=T", "late")
	}
	c.recv().want(t, 200, "late").header(t, "id", "again", "window", "1")
	c.recv().want(t, 200, "late").header(t, "id", "again", "window", "0")
	c.quiet()
	c.ok("consume topic=T").want(t, 200, "late")
}

func TestWaitingConsumersAreServedFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	b := start(t)
	p := b.dial(t)
	p.ok("declare topic=T")
	clients := []*client{b.dial(t), b.dial(t), b.dial(t)}
	for i, c := range clients {
		c.send("consume topic=T id=w")
		c.quiet()
		eventually(t, "it waits", func() bool {
			return strings.Contains(string(p.ok("query topic=T").Body), `"consumerCount":`+strconv.Itoa(i+1))
		})
	}
	for i := range 6 {
		p.ok("produce topic=T", strconv.Itoa(i))
		c := clients[i%3]
		c.recv().want(t, 200, strconv.Itoa(i)).header(t, "id", "w")
		c.send("consume topic=T id=w")
		c.quiet()
	}
}

func TestUnconsumeEndsTheWaitWithoutAReplyToIt(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, p := b.dial(t), b.dial(t)
	c.ok("declare topic=T")
	c.send("consume topic=T id=waits window=5")
	c.ok("unconsume topic=T")
	p.ok("produce topic=T", "m")
	c.quiet()
	p.ok("consume topic=T").want(t, 200, "m")
	c.ok("unconsume topic=T") // nothing to end is no error
}

func TestRemoveAnswersAWaitingConsumeWith404Once(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, waits, served, admin := b.dial(t), b.dial(t), b.dial(t), b.dial(t)
	for _, remove := range []string{"remove topic=T", "remove topic=T consume_group=T"} {
		c.ok("declare topic=T")
		c.ok("produce topic=T", "m")
		served.ok("consume topic=T").want(t, 200, "m") // and has no credit left
		waits.send("consume topic=T id=waits")
		waits.quiet()
		admin.ok(remove)
		if a := waits.recv(); a.Status != 404 || a.Get("id") != "waits" {
			t.Errorf("%s: the one that waits gets %d %q, id %q", remove, a.Status, a.Body, a.Get("id"))
		}
		waits.quiet()
		served.quiet() // its consume was answered
		for _, c := range []*client{waits, served} {
			if a := c.call("consume topic=T"); a.Status != 404 {
				t.Errorf("%s: a later consume gets %d", remove, a.Status)
			}
		}
	}
}

func TestAGroupSharesSeveralGroupsEachGetAll(t *testing.T) {
	t.Parallel()
	b := start(t)
	p := b.dial(t)
	p.ok("declare topic=T")
	p.ok("declare topic=T consume_group=copy")
	one, two, other := b.dial(t), b.dial(t), b.dial(t)
	one.send("consume topic=T id=1")
	two.send("consume topic=T id=1")
	other.send("consume topic=T consume_group=copy id=1 window=10")
	for _, c := range []*client{one, two, other} {
		c.quiet()
	}
	p.ok("produce topic=T", "a")
	p.ok("produce topic=T", "b")
	if x, y := string(one.recv().Body), string(two.recv().Body); x == y {
		t.Errorf("both got %q", x)
	}
	other.recv().want(t, 200, "a")
	other.recv().want(t, 200, "b")
}

func TestNamesAreFoundInAnyCaseAndKeepTheFirstSpelling(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=MyTopic consume_group=MyGroup")
	for _, line := range []string{"declare topic=mytopic consume_group=MYGROUP", "query topic=MYTOPIC consume_group=mygroup"} {
		if a := c.ok(line); !strings.HasPrefix(string(a.Body), `{"topicName":"MyTopic","groupName":"MyGroup",`) {
			t.Errorf("%s: %s", line, a.Body)
		}
	}
	c.ok("produce topic=MYTOPIC", "m")
	c.ok("consume topic=mytopic consume_group=mygroup").want(t, 200, "m").header(t, "topic", "MYTOPIC")
	c.ok("remove topic=mYtOpIc")
	if a := c.call("query topic=MyTopic"); a.Status != 404 {
		t.Errorf("after remove: %d", a.Status)
	}
}
