package contract

import "testing"

func TestTopicIsCreatedChangedAndDeleted(t *testing.T) {
	c := startClient(t)
	made := c.post("/topics", object{"name": "Orders", "retention": object{"maxCount": "100"}}).want(201)
	made.is("name", "Orders", "kind", "log", "paused", false, "depth", 0, "firstOffset", 0, "nextOffset", 0, "retention.maxCount", 100)
	if got := made.header.Get("Location"); got != "topics/Orders" {
		t.Errorf("Location %q", got)
	}
	c.post("/topics/Orders/messages", list{object{"body": "a"}, object{"body": "b"}}).want(201)
	c.get("/topics/orders").is("name", "Orders", "depth", 2, "nextOffset", 2)
	c.do("PATCH", "/topics/Orders", object{"retention": object{"maxAge": 60_000, "maxCount": "0"}}).want(200).
		is("retention.maxAge", 60_000, "retention.maxCount", nil)
	c.post("/topics/Orders:pause").want(200).is("paused", true)
	c.post("/topics/Orders:resume").want(200).is("paused", false)
	c.post("/topics/Orders:empty").want(200).is("depth", 0, "firstOffset", 2, "nextOffset", 2)
	c.do("DELETE", "/topics/Orders").want(204)
	c.do("GET", "/topics/Orders").refused(404, "not_found", "Orders")
}

func TestTopicsOfEachKind(t *testing.T) {
	c := startClient(t)
	for _, kind := range []string{"log", "memory", "rpc", "proxy"} {
		c.post("/topics", object{"name": kind, "kind": kind}).want(201).is("kind", kind)
		c.get("/topics/"+kind).is("kind", kind)
		c.get("/topics?kind="+kind).is("total", 1, "topics.0.name", kind)
	}
	exported := c.get("/definitions").want(200)
	c.do("DELETE", "/topics/proxy").want(204)
	c.post("/definitions", exported.value).want(200)
	c.get("/topics/proxy").is("kind", "proxy")
}
