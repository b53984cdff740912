package server_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

// drain consumes all that a group still has, in order. Without a group it is the
// topic's default group.
func (c *client) drain(group string) (bodies []string) {
	c.t.Helper()
	if !strings.Contains(group, "consume_group=") {
		_, topic, _ := strings.Cut(group, "topic=")
		group += " consume_group=" + topic
	}
	var info struct{ MessageCount int }
	if err := json.Unmarshal(c.ok("query"+group).Body, &info); err != nil {
		c.t.Fatal(err)
	}
	for range info.MessageCount {
		bodies = append(bodies, string(c.ok("consume"+group).Body))
	}
	if a := c.call("consume timeout=1" + group); a.Status != 204 {
		c.t.Errorf("consume%s: there is more than %d messages: %d %q", group, info.MessageCount, a.Status, a.Body)
	}
	return bodies
}

func TestAGroupGetsWhatItsFilterLetsThrough(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	filters := map[string]string{ // to the tags it lets through, "-" for none
		"":             "[- Stock Stock.A Stock.A.600 Stock.A.b.c Stock.B.600 stock.A a.1 b.1]",
		"#":            "[- Stock Stock.A Stock.A.600 Stock.A.b.c Stock.B.600 stock.A a.1 b.1]",
		"*":            "[Stock Stock.A Stock.A.600 Stock.A.b.c Stock.B.600 stock.A a.1 b.1]",
		"+":            "[Stock]",
		"Stock.A.*":    "[Stock.A.600 Stock.A.b.c]",
		"Stock.+.600":  "[Stock.A.600 Stock.B.600]",
		"Stock.*.600":  "[Stock.A.600 Stock.B.600]",
		"Stock.#":      "[Stock Stock.A Stock.A.600 Stock.A.b.c Stock.B.600]",
		"a.*;b.*":      "[a.1 b.1]",
		"Stock.#;!*.A": "[Stock Stock.A.600 Stock.A.b.c Stock.B.600]",
		"none":         "[]",
	}
	names := map[string]string{}
	for filter := range filters {
		names[filter] = fmt.Sprintf(" topic=T consume_group=g%d", len(names))
		c.ok("declare group_filter=" + filter + names[filter])
	}
	c.ok("produce topic=T", "-")
	for _, tag := range strings.Fields("Stock Stock.A Stock.A.600 Stock.A.b.c Stock.B.600 stock.A a.1 b.1") {
		c.ok("produce topic=T tag="+tag, tag)
	}
	for filter, want := range filters {
		if got := fmt.Sprint(c.drain(names[filter])); got != want {
			t.Errorf("filter %q: got %s, want %s", filter, got, want)
		}
	}
}

func TestAFilterIsChangedOnlyWhenItsHeaderIsThere(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	const group = " topic=T consume_group=g"
	shows := func(filter string) {
		t.Helper()
		if a := c.ok("query" + group); !strings.Contains(string(a.Body), `"filter":`+strconv.Quote(filter)) {
			t.Errorf("want filter %q: %s", filter, a.Body)
		}
	}
	c.ok("declare group_filter=a.*" + group)
	c.ok("declare" + group)
	c.ok("declare group_filter=null" + group)
	shows("a.*")
	// A live consumer gets by the new filter what comes after the change.
	w := b.dial(t)
	w.send("consume window=10 id=w" + group)
	w.quiet()
	c.ok("declare group_filter=b.*" + group)
	c.ok("produce topic=T tag=a.1", "a")
	c.ok("produce topic=T tag=b.1", "b")
	w.recv().want(t, 200, "b")
	c.ok("declare group_filter=" + group)
	shows("")
	c.ok("produce topic=T", "untagged")
	w.recv().want(t, 200, "untagged")
}

func TestWhereANewGroupStarts(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T consume_group=slow")
	var at [5]string // times of storing
	for i := range at {
		at[i] = string(c.ok("produce topic=T", strconv.Itoa(i)).Body)
		// Times are milliseconds: the next one has to differ.
		eventually(t, "the clock advances", func() bool { return string(c.ok("unconsume topic=T consume_group=slow").Body) > at[i] })
	}
	c.ok("declare topic=T consume_group=fast")
	for range 3 {
		c.ok("consume topic=T consume_group=fast")
	}
	id := c.ok("consume topic=T consume_group=slow").Get("origin_id")
	for i, s := range []struct{ with, first string }{
		{"", "3"}, // where the fastest is
		{"group_start_copy=SLOW", "1"},
		{"group_start_copy=fast", "3"},
		{"group_start_offset=2", "2"},
		{"group_start_offset=0 group_start_msgid=" + id, "0"},
		{"group_start_offset=99", ""},
		{"group_start_time=" + at[3], "3"},
		{"group_start_time=1", "0"},
		{"group_start_time=9999999999999", ""},
	} {
		group := fmt.Sprintf(" topic=T consume_group=g%d", i)
		c.ok("declare " + s.with + group)
		c.ok("declare group_start_offset=4" + group) // means nothing to a group that is there
		if s.first == "" {
			c.call("consume timeout=1"+group).want(t, 204, "")
		} else {
			c.ok("consume"+group).want(t, 200, s.first)
		}
		c.ok("remove" + group) // it would be the fastest
	}
	for with, status := range map[string]int{
		"group_start_offset=1 group_start_msgid=" + id: 400, "group_start_copy=none": 404, "group_start_offset=x": 400,
	} {
		if a := c.call("declare topic=T consume_group=bad " + with); a.Status != status {
			t.Errorf("%s: %d %q", with, a.Status, a.Body)
		}
		if a := c.call("query topic=T consume_group=bad"); a.Status != 404 {
			t.Errorf("%s: the group was made", with)
		}
	}
}

func TestRelocateMovesAGroupUnderItsConsumer(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, admin := b.dial(t), b.dial(t)
	for _, kind := range []string{"auto", "explicit"} {
		group := " topic=" + kind + " consume_group=g"
		admin.ok("declare group_mask=" + map[string]string{"auto": "0", "explicit": "64"}[kind] + group)
		admin.ok("declare topic=" + kind + " consume_group=mark")
		var at [6]string
		for i := range at {
			admin.send("produce id=m"+strconv.Itoa(i)+"x topic="+kind, strconv.Itoa(i))
			at[i] = string(admin.recv().Body)
			eventually(t, "the clock advances", func() bool { return string(admin.ok("unconsume topic="+kind+" consume_group=mark").Body) > at[i] })
		}
		for range 2 {
			admin.ok("consume consume_group=mark topic=" + kind)
		}
		for _, move := range []struct{ to, first string }{
			{"to=earliest", "0"},
			{"offset=4", "4"},
			{"timestamp=" + at[3], "3"},
			{"from_group=mark", "2"},
			{"offset=1", "1"},
			{"msgid=m4x", "4"},
			{"to=latest", ""},
		} {
			a := c.ok("consume" + group) // something is under way when it moves
			if a := admin.ok("relocate " + move.to + group); !strings.Contains(string(a.Body), `"inFlight":0`) {
				t.Errorf("%s %s: %s", kind, move.to, a.Body)
			}
			if kind == "explicit" {
				if a := c.call("ack" + group + held(a)); a.Status != 409 {
					t.Errorf("%s: a handle of before: %d", move.to, a.Status)
				}
			}
			c.send("consume id=w" + group)
			if move.first == "" { // it waits at the end
				c.quiet()
				admin.ok("produce topic="+kind, "new")
				move.first = "new"
			}
			c.recv().want(t, 200, move.first).header(t, "id", "w")
		}
		c.ok("unconsume" + group)
	}
}

func TestEmptyTakesAwayWhatIsThereAndKeepsOffsets(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	c.ok("declare topic=T consume_group=g")
	for i := range 3 {
		c.ok("produce topic=T", strconv.Itoa(i))
	}
	c.ok("empty topic=T consume_group=g")
	if got := c.drain(" topic=T consume_group=g"); got != nil {
		t.Errorf("an emptied group gets %q", got)
	}
	c.ok("consume topic=T").want(t, 200, "0")
	c.ok("empty topic=T")
	if got := c.drain(" topic=T consume_group=T"); got != nil {
		t.Errorf("a group of an emptied topic gets %q", got)
	}
	c.ok("produce topic=T", "new")
	c.ok("relocate topic=T to=earliest")
	c.ok("consume topic=T").want(t, 200, "new").header(t, "offset", "3")
}

func TestARestartKeepsFilterCursorAndMask(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T topic_mask=3451256832") // what an unset variable may hold
	c.ok("declare topic=T consume_group=filtered group_filter=a.* group_mask=16")
	c.ok("declare topic=T consume_group=cleared group_filter=a.*")
	c.ok("declare topic=T consume_group=cleared group_filter=")
	for i := range 4 {
		c.ok(fmt.Sprintf("produce topic=T tag=%c.1", 'a'+i%2), strconv.Itoa(i))
	}
	c.ok("consume topic=T consume_group=filtered").want(t, 200, "0")
	c.ok("consume topic=T consume_group=cleared").want(t, 200, "0")

	c = b.restart(t).dial(t)
	if a := c.ok("query topic=t"); !strings.Contains(string(a.Body), `"topicName":"T","mask":3451256832,"messageDepth":4`) {
		t.Errorf("the topic: %s", a.Body)
	}
	if a := c.ok("query topic=T consume_group=FILTERED"); !strings.Contains(string(a.Body), `"groupName":"filtered","mask":16,"filter":"a.*"`) {
		t.Errorf("the group: %s", a.Body)
	}
	for group, want := range map[string]string{"T": "[0 1 2 3]", "filtered": "[2]", "cleared": "[1 2 3]"} {
		if got := fmt.Sprint(c.drain(" topic=T consume_group=" + group)); got != want {
			t.Errorf("%s continues with %s, want %s", group, got, want)
		}
	}
}

// A consume whose time is over before the group has heard of it is answered all the
// same: the request would wait forever otherwise.
func TestAConsumeWithoutTimeIsAlwaysAnswered(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for i := range 5_000 {
		if a := c.call("consume topic=T timeout=0"); a.Status != 204 {
			t.Fatalf("consume %d: %d %q", i, a.Status, a.Body)
		}
	}
}

func TestATimeInSecondsIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t).dial(t)
	c.ok("declare topic=T")
	c.ok("produce topic=T", "1")
	c.ok("consume topic=T").want(t, 200, "1")
	for _, line := range []string{"relocate topic=T timestamp=1795346026", "declare topic=T consume_group=g group_start_time=1795346026"} {
		if a := c.call(line); a.Status != 400 || !strings.Contains(string(a.Body), "must be in milliseconds: 1795346026000") {
			t.Errorf("%s: %d %q", line, a.Status, a.Body)
		}
	}
	c.ok("relocate topic=T timestamp=999999999")
}

func TestABodyThatIsTooLargeIsRefusedByItsID(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxBody = 1 << 10 })
	c := b.dial(t)
	c.ok("declare topic=T")
	long := strings.Repeat("x", 5<<20)
	for name, x := range map[string]struct {
		framing string
		kept    bool // the next request on the connection is answered
	}{
		"one byte":                {"content-length: 1025\r\n\r\n" + long[:1025], true},
		"more than a buffer":      {"content-length: 5242880\r\n\r\n" + long, true},
		"in pieces":               {"transfer-encoding: chunked\r\n\r\n401\r\n" + long[:1025], false},
		"more than is read":       {"content-length: 999999999999\r\n\r\n" + long[:1025], false},
		"one that is not sent":    {"expect: 100-continue\r\ncontent-length: 1025\r\n\r\n", false},
		"of a client of HTTP":     {"x: y\r\ncontent-length: 1025\r\n\r\n" + long[:1025], false},
		"whose end is a way away": {"content-length: 1048576\r\n\r\n" + long[:1<<20], true},
	} {
		c := b.dial(t)
		head := "POST / HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: second\r\n"
		if name == "of a client of HTTP" {
			head = "POST /produce/T HTTP/1.1\r\nid: second\r\n"
		}
		c.write(request("produce topic=T id=first", "x") + head + x.framing)
		got := map[string]int{}
		for range 2 { // in the order in which they are known
			a := c.recv()
			got[a.Get("id")] = a.Status
		}
		if got["first"] != 200 || got["second"] != 413 {
			t.Errorf("%s: answers by id: %v", name, got)
		}
		if !x.kept {
			c.closed()
			continue
		}
		c.write(request("produce topic=T id=third", "y") + request("query topic=T id=fourth", ""))
		c.recv().header(t, "id", "third")
		if a := c.recv().header(t, "id", "fourth"); !strings.Contains(string(a.Body), `"messageDepth":`) {
			t.Errorf("%s: %q", name, a.Body)
		}
	}
	c.ok("query topic=T")
}

func TestADeliveryIsExtended(t *testing.T) {
	t.Parallel()
	b := start(t)
	c, other := b.dial(t), b.dial(t)
	c.ok("declare topic=T consume_group=g group_mask=64 group_ack_timeout=700")
	if a := c.ok("query topic=T consume_group=g"); !strings.Contains(string(a.Body), `"ackTimeout":700`) {
		t.Errorf("the group: %s", a.Body)
	}
	c.ok("produce topic=T", "x")
	d := c.ok("consume topic=T consume_group=g")
	place := "extend topic=T consume_group=g offset=" + d.Get("offset")
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		c.call(place).want(t, 200, "700")
		other.call(place+" handle="+d.Get("handle")).want(t, 200, "700")
	}
	c.send(place + " ack=false id=silent")
	c.quiet()
	for line, status := range map[string]int{"extend topic=T consume_group=g": 400, "extend topic=T consume_group=h offset=0": 404, place + " handle=0": 400} {
		if a := c.call(line); a.Status != status {
			t.Errorf("%s: %d %q", line, a.Status, a.Body)
		}
	}
	if a := other.call(place); a.Status != 400 {
		t.Errorf("of another connection: %d %q", a.Status, a.Body)
	}
	c.ok("ack topic=T consume_group=g offset=" + d.Get("offset"))
	if a := c.call(place + " handle=" + d.Get("handle")); a.Status != 409 {
		t.Errorf("of a settled message: %d %q", a.Status, a.Body)
	}
	if n := c.call("query topic=T consume_group=g"); !strings.Contains(string(n.Body), `"messageCount":0`) {
		t.Errorf("%s", n.Body)
	}
}

// A group that a connection has created for itself goes with it, also before it consumed.
func TestAnEphemeralGroupBelongsToItsConnection(t *testing.T) {
	t.Parallel()
	b := start(t)
	admin := b.dial(t)
	admin.ok("declare topic=T")
	groups := func() string { return string(admin.ok("query topic=T").Body) }
	one, two := b.dial(t), b.dial(t)
	for _, name := range []string{"~unused", "~shared", "named"} {
		one.ok("declare topic=T group_mask=32 consume_group=" + name)
	}
	two.ok("declare topic=T group_mask=32 consume_group=~shared") // it was there
	two.send("consume topic=T consume_group=~shared id=c")
	two.quiet()
	one.conn.Close()
	eventually(t, "the group that nobody uses is gone", func() bool { return !strings.Contains(groups(), "~unused") })
	if got := groups(); !strings.Contains(got, "~shared") || !strings.Contains(got, "named") {
		t.Errorf("%s", got)
	}
	two.conn.Close()
	eventually(t, "the other is gone", func() bool { return !strings.Contains(groups(), "~shared") })
}
