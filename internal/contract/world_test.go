package contract

import (
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// What a random log is made of. Filters are compared in words here and not by the
// broker's own code: see passes.
var (
	someTags    = []string{"", "a", "b", "a.x", "a.y", "b.x", "a.x.1", "c"}
	someFilters = []string{"", "a", "a.*", "+.x", "a.#", "!a.x", "a.*;c", "#;!b.x", "none"}
)

// passes says whether a tag passes a filter, as the README has it: the slow way.
func passes(filter, tag string) bool {
	included, any := false, false
	for _, pattern := range strings.Split(filter, ";") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if pattern == "" {
			continue
		}
		fits := fits(strings.Split(pattern, "."), parts(tag))
		if negated && fits {
			return false
		}
		any = any || !negated
		included = included || fits && !negated
	}
	return included || !any
}

func parts(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ".")
}

func fits(pattern, tag []string) bool {
	switch {
	case len(pattern) == 0:
		return len(tag) == 0
	case pattern[0] == "#":
		return fits(pattern[1:], tag) || len(tag) > 0 && fits(pattern, tag[1:])
	case len(tag) == 0:
		return false
	case pattern[0] == "*" && len(pattern) == 1:
		return true
	}
	return (pattern[0] == "*" || pattern[0] == "+" || pattern[0] == tag[0]) && fits(pattern[1:], tag[1:])
}

// logged is a message of a log as browsing shows it.
type logged struct {
	offset  int64
	tag     string
	size    int64 // of body, id, tag and headers
	settled bool
}

// world is a random topic T with a random explicit group g: messages with tags,
// acks in any order, and perhaps the oldest dropped.
type world struct {
	c      *client
	rt     *rapid.T
	filter string
	acked  map[int64]bool
	read   int64 // how far the group has read the log
}

func newWorld(c *client, rt *rapid.T) *world {
	w := &world{c: c, rt: rt, filter: rapid.SampledFrom(someFilters).Draw(rt, "filter"), acked: map[int64]bool{}}
	c.do("DELETE", "/topics/T")
	c.post("/topics", object{"name": "T"}).want(201)
	w.publish("messages", 1, 40)
	w.read = c.post("/topics/T/groups", object{
		"name": "g", "filter": w.filter, "settle": "explicit", "ackTimeout": 86_400_000,
		"start": object{"offset": rapid.Int64Range(0, 10).Draw(rt, "start")},
	}).want(201).num("cursor")
	w.ack()
	if drop := rapid.Int64Range(0, 30).Draw(rt, "left"); drop > 0 {
		c.do("PATCH", "/topics/T", object{"retention": object{"maxCount": strconv.FormatInt(drop, 10)}}).want(200)
		eventually(c.t, "retention works", func() bool { return c.get("/topics/T").num("depth") <= drop })
	}
	if rapid.Bool().Draw(rt, "more") { // and a group that has looked at the log since
		c.do("PATCH", "/topics/T", object{"retention": object{"maxCount": "0"}}).want(200)
		w.publish("later", 0, 10)
		w.ack()
	}
	return w
}

func (w *world) publish(name string, least, most int) {
	var messages list
	for _, tag := range rapid.SliceOfN(rapid.SampledFrom(someTags), least, most).Draw(w.rt, name) {
		messages = append(messages, object{"tag": tag, "body": strings.Repeat("x", 1+len(messages)), "headers": object{"h": tag}})
	}
	if len(messages) > 0 {
		w.c.post("/topics/T/messages", messages).want(201)
	}
}

// ack pulls some messages that the group has not seen, and acks some of them.
func (w *world) ack() {
	all, _, _ := w.log()
	fresh := 0
	for _, m := range all {
		if m.offset >= w.read && passes(w.filter, m.tag) {
			fresh++
		}
	}
	most := rapid.IntRange(0, fresh).Draw(w.rt, "pulled")
	var handles list
	for got := 0; got < most; {
		r := w.c.post("/topics/T/groups/g:pull", object{"max": most - got, "timeout": 10_000}).want(200)
		for i := range r.list("deliveries") {
			at := "deliveries." + strconv.Itoa(i) + "."
			got, w.read = got+1, r.num(at+"offset")+1
			if rapid.Bool().Draw(w.rt, "ack") {
				handles = append(handles, r.str(at+"handle"))
				w.acked[r.num(at+"offset")] = true
			}
		}
	}
	if len(handles) > 0 {
		w.c.post("/topics/T/groups/g:ack", object{"handles": handles}).want(200)
	}
}

// log browses all messages. What is settled follows from what was acked, from how
// far the group has read, as what its filter shuts out it settles in passing, and
// from its cursor.
func (w *world) log() (all []logged, first, next int64) {
	cursor := w.c.get("/topics/T/groups/g").num("cursor")
	for from, more := "0", true; more; {
		r := w.c.get("/topics/T/messages" + query("limit", "17", "from", from))
		for i := range r.list("messages") {
			at := "messages." + strconv.Itoa(i) + "."
			m := logged{offset: r.num(at + "offset")}
			m.tag, _ = r.at(at + "tag").(string)
			m.size = r.num(at+"size") + int64(len(r.str(at+"id"))+len(m.tag)+len(`{"h":""}`)+len(r.str(at+"headers.h")))
			m.settled = m.offset < cursor || w.acked[m.offset] || m.offset < w.read && !passes(w.filter, m.tag)
			all = append(all, m)
		}
		from, more = r.str("scannedTo"), r.at("more") == true
		first, next = r.num("firstOffset"), r.num("nextOffset")
	}
	return all, first, next
}
