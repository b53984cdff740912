package contract

import (
	"testing"
	"time"
)

func TestGroupIsCreatedChangedAndDeleted(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", list{object{"tag": "a"}, object{"tag": "b"}, object{"tag": "a"}}).want(201)
	made := c.post("/topics/T/groups", object{
		"name": "g", "filter": "a", "settle": "explicit", "ackTimeout": 1000, "ackWindow": 5, "maxDeliver": 3,
		"exclusive": true, "paused": true, "start": object{"offset": "1"},
	}).want(201)
	made.is("topic", "T", "name", "g", "filter", "a", "settle", "explicit", "ackTimeout", 1000, "ackWindow", 5, "maxDeliver", 3,
		"exclusive", true, "paused", true, "ephemeral", false, "cursor", 1, "lag", 1, "lagExact", true, "inFlight", 0)
	if got := made.header.Get("Location"); got != "groups/g" {
		t.Errorf("Location %q", got)
	}
	c.do("PATCH", "/topics/T/groups/g", object{"filter": "", "paused": false, "settle": "auto", "reason": "all of it"}).want(200).
		is("filter", "", "paused", false, "settle", "auto", "exclusive", true, "lag", 2)
	c.get("/topics/T/groups/g/journal").is(
		"entries.0.kind", "filter", "entries.0.filterFrom", "a", "entries.0.filterTo", "", "entries.0.reason", "all of it")
	c.get("/topics/T").is("groups.0.name", "g")
	c.do("DELETE", "/topics/T/groups/g").want(204)
	c.do("GET", "/topics/T/groups/g").refused(404, "not_found", "g")
}

func TestGroupStartsWhereItIsTold(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", list{object{"id": "m0"}, object{"id": "m1"}, object{"id": "m2"}}).want(201)
	long := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for i, x := range []struct {
		start any
		want  int
	}{
		{"earliest", 0},
		{"latest", 3},
		{object{"earliest": true}, 0},
		{object{"latest": true}, 3},
		{object{"offset": "2"}, 2},
		{object{"offset": 1}, 1},
		{object{"offset": "99"}, 3},
		{object{"messageId": "m1"}, 1},
		{object{"time": long}, 3},
		{object{"time": 1}, 0},
		{object{"time": "1"}, 0},
		{object{"group": "e"}, 2},
	} {
		name := string(rune('a' + i))
		c.post("/topics/T/groups", object{"name": name, "start": x.start}).want(201).is("cursor", x.want)
	}
	c.post("/topics/T/groups", object{"name": "usual"}).want(201).is("cursor", 3)
	c.post("/topics/T/groups", object{"name": "no", "start": object{"shift": "1"}}).refused(400, "invalid", "shift")
	c.post("/topics/T/groups", object{"name": "no", "start": object{"messageId": "m9"}}).refused(404, "not_found", "m9")
	c.post("/topics/T/groups", object{"name": "no", "start": object{"group": "none"}}).refused(404, "not_found", "none")
}

func TestFilterTestComparesWithTheCurrentFilter(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", list{object{"tag": "a.1"}, object{"tag": "b.1"}, object{"tag": "a.2"}, object{}, object{"tag": "c"}}).want(201)
	c.post("/topics/T/groups", object{"name": "g", "filter": "a.*", "start": object{"offset": "1"}}).want(201)
	plain := c.post("/topics/T/filters:test", object{"filter": "b.*;c"}).want(200)
	plain.is("scanned", 5, "from", 0, "to", 5, "matched", 2, "unmatched", 3, "kept", 0, "lost", 0, "gained", 0, "untagged", 1)
	r := c.post("/topics/T/filters:test", object{"filter": "a.1;c", "group": "g"}).want(200)
	r.is("matched", 2, "unmatched", 3, "kept", 1, "lost", 1, "gained", 1, "pendingLost", 1, "firstGained", 4,
		"examples.lost.0.offset", 2, "examples.gained.0.offset", 4)
	c.post("/topics/T/filters:test", object{"filter": "a.1;c", "current": "a.*", "last": 2}).want(200).
		is("scanned", 2, "from", 3, "matched", 1, "lost", 0, "gained", 1, "pendingLost", 0)
}
