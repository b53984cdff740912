package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// stores publishes a message with dedup and checks where it is.
func (c *client) stores(id string, offset int, duplicate bool) {
	c.t.Helper()
	c.send("produce topic=t dedup=true id="+id, id)
	a := c.recv().header(c.t, "id", id, "offset", fmt.Sprint(offset))
	if a.want200(c.t); duplicate {
		a.header(c.t, "duplicate", "true")
	} else {
		a.without(c.t, "duplicate")
	}
}

func TestMessageWithDedupIsStoredOnceByItsID(t *testing.T) {
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=t")
	c.stores("a", 0, false)
	first := c.recvAll("produce topic=t dedup=1 id=a", "produce topic=t dedup=true id=b", "produce topic=t dedup=TRUE id=b", "produce topic=t id=b", "produce topic=t dedup=false id=b")
	for i, want := range []struct{ offset, duplicate string }{{"0", "true"}, {"1", ""}, {"1", "true"}, {"", ""}, {"", ""}} {
		first[i].header(t, "offset", want.offset, "duplicate", want.duplicate).want200(t)
	}
	b.dial(t).stores("b", 1, true) // on another connection
	resp, err := http.Post("http://"+b.addr+"/produce/t?dedup=true&id=b", "", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("duplicate") != "true" || resp.Header.Get("offset") != "1" {
		t.Errorf("over HTTP: %s, %v, %s", resp.Status, resp.Header, body)
	}

	b = b.restart(t)
	c = b.dial(t)
	c.stores("a", 0, true)
	c.stores("c", 4, false)
	c.send("consume id=m topic=t window=5")
	for i, id := range []string{"a", "b", "b", "b", "c"} {
		c.recv().header(t, "origin_id", id, "offset", fmt.Sprint(i)).without(t, "dedup", "duplicate")
	}
}

// recvAll sends requests ahead of their answers.
func (c *client) recvAll(lines ...string) (all []answer) {
	c.t.Helper()
	raw := ""
	for _, line := range lines {
		raw += request(line, "body")
	}
	c.write(raw)
	for range lines {
		all = append(all, c.recv())
	}
	return all
}

func TestDedupThatMakesNoSenseIsRefused(t *testing.T) {
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=t")
	c.ok("declare topic=calls topic_mask=2")
	c.send("produce topic=t dedup=true")
	c.recv().want(t, 400, "Missing id: a message with dedup is known by it, so give the same one with each repeat")
	c.call("produce topic=t dedup=yes").want(t, 400, `Bad dedup: "yes" must be true or false`)
	c.call("produce topic=calls dedup=true").want(t, 400, "Topic(calls) is for calls, which are not stored: publish without dedup")
	c.call("produce topic=none dedup=true").want(t, 404, "Topic(none) not found")
	off := start(t, func(cfg *config.Config) { cfg.DedupWindow = 0 }).dial(t)
	off.ok("declare topic=t")
	off.call("produce topic=t dedup=true").want(t, 400, "ids are not kept: start the broker with a --dedup-window, or publish without dedup")
	off.ok("produce topic=t dedup=false")
}

// The same messages on two connections while the disk takes its time, in batches and in
// opposite order.
func TestTwoConnectionsWithTheSameIDsStoreThemOnce(t *testing.T) {
	b, store := startFaulty(t)
	const n = 100
	one, other := b.dial(t), b.dial(t)
	release := make(chan struct{})
	store.FailNext(storetest.Fault{Release: release, If: failed().If})
	var up, down string
	for i := range n {
		up += request(fmt.Sprintf("produce topic=t dedup=true id=%d", i), "")
		down += request(fmt.Sprintf("produce topic=t dedup=true id=%d", n-1-i), "")
	}
	one.write(up)
	other.write(down)
	close(release)
	offsets, fresh := map[string]string{}, 0
	for _, c := range []*client{one, other} {
		for range n {
			a := c.recv()
			a.want200(t)
			if before := offsets[a.Get("id")]; before != "" && before != a.Get("offset") {
				t.Errorf("%s is at %s and at %s", a.Get("id"), before, a.Get("offset"))
			}
			if offsets[a.Get("id")] = a.Get("offset"); a.Get("duplicate") == "" {
				fresh++
			}
		}
	}
	if fresh != n {
		t.Errorf("%d were stored, want %d", fresh, n)
	}
}

func TestAnswerHasTheOffsetWhenItIsAskedFor(t *testing.T) {
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=t")
	c.ok("declare topic=m topic_mask=1")
	answers := c.recvAll("produce topic=t id=1", "produce topic=t id=2 zbus-receipt=true", "produce topic=t id=3 zbus-receipt=1", "produce topic=t id=4 zbus-receipt=no")
	for i, want := range []string{"", "1", "2", ""} {
		answers[i].want200(t)
		answers[i].header(t, "offset", want).without(t, "duplicate")
	}
	c.send("consume id=c topic=t window=4")
	for i := range 4 {
		c.recv().header(t, "offset", fmt.Sprint(i)).without(t, "zbus-receipt")
	}
	c.send("produce topic=m id=5 zbus-receipt=true")
	kept := c.recv().Get("offset")
	c.send("consume id=d topic=m")
	if offset := c.recv().Get("offset"); offset == "" || kept != offset {
		t.Errorf("in memory: the answer says %q, the delivery %q", kept, offset)
	}
}

func TestMessageHasAnIDOfItsOwnBesidesTheRequests(t *testing.T) {
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=t")
	answers := map[string]answer{}
	for _, a := range c.recvAll("produce topic=t id=r1 zbus-id=order-7 dedup=true", "produce topic=t id=r2 zbus-id=order-7 dedup=true",
		"produce topic=t id=r3 zbus-id=order-7", "produce topic=t id=r4 zbus-id=order-8 dedup=true",
		"produce topic=t id=r5 dedup=true zbus-id="+strings.Repeat("x", 129), "produce topic=none id=r6 zbus-id=a") {
		answers[a.Get("id")] = a
	}
	for id, want := range map[string]struct{ offset, duplicate string }{"r1": {"0", ""}, "r2": {"0", "true"}, "r3": {"", ""}, "r4": {"2", ""}} {
		answers[id].want200(t)
		answers[id].header(t, "offset", want.offset, "duplicate", want.duplicate)
	}
	answers["r5"].want(t, 400, "message id has 129 bytes: at most 128 are allowed")
	answers["r6"].want(t, 404, "Topic(none) not found")
	c.send("consume id=m topic=t window=3")
	for i, id := range []string{"order-7", "order-7", "order-8"} {
		c.recv().header(t, "origin_id", id, "offset", fmt.Sprint(i)).without(t, "zbus-id")
	}
	// The next process knows it, too.
	b.restart(t).dial(t).ok("produce topic=t zbus-id=order-8 dedup=true").header(t, "offset", "2", "duplicate", "true")
}
