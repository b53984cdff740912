package contract

import (
	"strings"
	"sync"
	"testing"
)

func TestPutCreatesATopicOrMakesItSo(t *testing.T) {
	c := startClient(t)
	made := c.do("PUT", "/topics/T", object{"retention": object{"maxCount": "10"}, "paused": true}).want(201)
	made.is("outcome", "created", "topic.name", "T", "topic.kind", "log", "topic.paused", true, "topic.retention.maxCount", 10, "differences.0.member", "kind")
	tag := made.header.Get("ETag")
	again := c.do("PUT", "/topics/T", object{"retention": object{"maxCount": "10"}, "paused": true}).want(200)
	again.is("outcome", "unchanged", "differences.0", nil, "topic.updated", made.str("topic.updated"))
	if got := again.header.Get("ETag"); got != tag {
		t.Errorf("a topic that is so already has ETag %s, and had %s", got, tag)
	}
	changed := c.do("PUT", "/topics/T", object{"kind": "log", "retention": object{"maxAge": 5000}}).want(200)
	changed.is("outcome", "changed", "topic.paused", false, "topic.retention.maxCount", nil, "topic.retention.maxAge", 5000,
		"differences.0.member", "paused", "differences.0.from", "true", "differences.0.to", "false",
		"differences.1.member", "retention", "differences.1.from", `{"maxCount":"10"}`, "differences.2", nil)
	c.do("PUT", "/topics/x..y", object{}).refused(400, "invalid", "two dots")
	c.do("PUT", "/topics/~x", object{}).refused(400, "invalid", "~")
	c.do("PUT", "/topics/T/groups/~g", object{}).refused(400, "invalid", "~")
	c.do("PUT", "/topics/T", object{"kind": "rpc"}).refused(409, "conflict", "delete it first")
	c.get("/topics/T").is("kind", "log", "retention.maxAge", 5000)
}

func TestPutCreatesAGroupOrMakesItSo(t *testing.T) {
	c := startClient(t)
	c.do("PUT", "/topics/T/groups/g", object{}).refused(404, "not_found", "T")
	c.do("PUT", "/topics/T", object{}).want(201)
	c.post("/topics/T/messages", list{object{"body": "a"}, object{"body": "b"}}).want(201)
	want := object{"settle": "explicit", "maxDeliver": 3, "start": object{"offset": "1"}}
	made := c.do("PUT", "/topics/T/groups/g", want).want(201)
	made.is("outcome", "created", "group.cursor", 1, "group.settle", "explicit", "group.maxDeliver", 3, "group.ackTimeout", 10_000)
	again := c.do("PUT", "/topics/T/groups/g", object{"settle": "explicit", "maxDeliver": 3, "start": "earliest"}).want(200)
	again.is("outcome", "unchanged", "differences.0", nil, "group.cursor", 1, "group.version", made.str("group.version"))
	c.do("PUT", "/topics/T/groups/g", object{"settle": "explicit", "filter": "a.*", "reason": "only a"}).want(200).
		is("outcome", "changed", "group.cursor", 1, "group.maxDeliver", 0, "group.filter", "a.*",
			"differences.0.member", "filter", "differences.0.to", `"a.*"`, "differences.1.member", "maxDeliver", "differences.2", nil)
	c.get("/topics/T/groups/g/journal").is("entries.0.kind", "filter", "entries.0.reason", "only a")
}

func TestPutOfAVersionCreatesNothing(t *testing.T) {
	c := startClient(t)
	for _, path := range []string{"/topics/T", "/topics/T/groups/g"} {
		for _, tag := range []string{"*", `"a"`} {
			answer := c.do("PUT", path, object{}, header{"If-Match", tag})
			if path == "/topics/T" {
				answer.refused(412, "precondition_failed", "T")
			} else {
				answer.refused(404, "not_found", "T")
			}
		}
	}
	c.do("PUT", "/topics/T", object{}).want(201)
	c.do("PUT", "/topics/T/groups/g", object{}, header{"If-Match", "*"}).refused(412, "precondition_failed", "g")
	old := c.do("PUT", "/topics/T/groups/g", object{}).want(201).header.Get("ETag")
	for path, old := range map[string]string{"/topics/T": c.get("/topics/T").header.Get("ETag"), "/topics/T/groups/g": old} {
		now := c.do("PUT", path, object{"paused": true}, header{"If-Match", old}).want(200).header.Get("ETag")
		c.do("PUT", path, object{"paused": false}, header{"If-Match", old}).refused(412, "precondition_failed", "version")
		c.do("PUT", path, object{"paused": true}, header{"If-Match", old}).refused(412, "precondition_failed", "version")
		c.do("PUT", path, object{"paused": true}, header{"If-Match", now}).want(200).is("outcome", "unchanged")
		c.do("PUT", path, object{"paused": false}, header{"If-Match", "*"}).want(200).is("outcome", "changed")
	}
}

// What concurrent puts say adds up: each change is claimed by one of them.
func TestPutsAtTheSameTimeEachSayWhatTheyHaveDone(t *testing.T) {
	c := startClient(t)
	var all sync.WaitGroup
	outcomes := make(chan string, 8)
	for range cap(outcomes) {
		all.Go(func() { outcomes <- c.do("PUT", "/topics/T", object{"paused": true}).str("outcome") })
	}
	all.Wait()
	close(outcomes)
	count := map[string]int{}
	for o := range outcomes {
		count[o]++
	}
	if count["created"] != 1 || count["unchanged"] != cap(outcomes)-1 {
		t.Errorf("%v", count)
	}
}

func TestPutTakesWhatCreatingAndChangingTake(t *testing.T) {
	g := startGuarded(t)
	g.admin.do("PUT", "/topics/t", object{}, as(g.token)).want(201)
	consumer, _ := g.account("consumer", nil, "consume:t/g")
	seer, _ := g.account("seer", nil, "browse:t")
	manager, _ := g.account("manager", nil, "manage:t")
	c := g.admin
	c.do("PUT", "/topics/new", object{}, as(consumer)).refused(404, "not_found", "new")
	c.do("PUT", "/topics/t", object{}, as(seer)).refused(403, "forbidden", "manage")
	c.do("PUT", "/topics/t/groups/g", object{}, as(seer)).refused(403, "forbidden", "g")
	c.do("PUT", "/topics/t/groups/g", object{}, as(consumer)).want(201)
	c.do("PUT", "/topics/t/groups/g", object{}, as(consumer)).want(200).is("outcome", "unchanged")
	c.do("PUT", "/topics/t/groups/g", object{"paused": true}, as(consumer)).refused(403, "forbidden", "manage")
	c.do("PUT", "/topics/t/groups/g", object{"paused": true}, as(manager)).want(200).is("outcome", "changed")
	c.do("PUT", "/topics/t", object{"paused": true}, as(manager)).want(200).is("outcome", "changed", "topic.owner", "root")
	if text := strings.ToLower(string(c.get("/audit", as(g.token)).raw)); !strings.Contains(text, "topic.pause") {
		t.Errorf("the audit trail has %s", text)
	}
}
