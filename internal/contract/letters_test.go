package contract

import (
	"testing"
	"time"
)

// died publishes messages to T and has all of them die in the group g, with causes by turns.
func died(t *testing.T, c *client, n int, causes ...string) {
	t.Helper()
	explicitGroup(c, n, object{"maxDeliver": 5, "ackTimeout": 600_000})
	for i, h := range c.post("/topics/T/groups/g:pull", object{"max": n, "timeout": 15_000}).want(200).each("deliveries", "handle") {
		c.post("/topics/T/groups/g:nack", object{"handles": list{h}, "dead": true, "reason": causes[i%len(causes)]}).want(200)
	}
	eventually(t, "the letters are there", func() bool {
		r := c.do("GET", "/topics/T.dead/messages", anyway)
		return r.status == 200 && len(r.list("messages")) == n
	})
}

func TestDeadLettersAreGroupedByCauseAndGoBack(t *testing.T) {
	c := startClient(t)
	died(t, c, 5, "HTTP 503", "HTTP 502", "no such customer")
	c.post("/topics/T/groups", object{"name": "tagged", "filter": "a.*"}).want(201)
	c.post("/topics/T/groups", object{"name": "all"}).want(201)
	const letters, redrive = "/topics/T.dead/dead-letters", "/topics/T.dead/messages:redrive"
	all := c.get(letters).want(200)
	all.is("origin", "T", "waiting", 5, "scanned", 5, "scannedTo", 5, "more", false, "letters.0", nil,
		"kinds.0.group", "g", "kinds.0.cause", "HTTP #", "kinds.0.example", "HTTP 502", "kinds.0.letters", 4, "kinds.0.first", 0, "kinds.0.last", 4,
		"kinds.1.cause", "no such customer", "kinds.1.letters", 1, "kinds.1.first", 2, "kinds.2", nil)
	http, customer := all.str("kinds.0.kind"), all.str("kinds.1.kind")
	c.get(letters+query("kind", customer, "limit", "10")).want(200).is("kinds.1", nil, "letters.0.offset", 2, "letters.1", nil)
	c.get(letters+query("group", "G", "limit", "2")).want(200).is("letters.1.offset", 1, "letters.2", nil, "scannedTo", 2, "more", true)
	c.get(letters+query("group", "other")).want(200).is("kinds.0", nil)

	dry := c.post(redrive, object{"kind": http, "dryRun": true}).want(200)
	dry.is("origin", "T", "matched", 4, "done", 0, "more", false, "reaches.0.group", "all", "reaches.0.letters", 4, "reaches.0.died", 0,
		"reaches.1.group", "g", "reaches.1.died", 4, "reaches.2", nil)
	c.get(letters).is("waiting", 5)
	c.get("/topics/T").is("depth", 5)

	first := c.post(redrive, object{"kind": http, "limit": 1}).want(200)
	first.is("matched", 1, "done", 1, "scannedTo", 1, "more", true)
	c.post(redrive, object{"kind": http, "from": "1", "to": "2"}).want(200).is("matched", 1, "done", 1, "more", false)
	c.post(redrive, object{"kind": http}).want(200).is("matched", 2, "done", 2, "more", false)
	c.post(redrive, object{"kind": http}).want(200).is("matched", 0, "done", 0, "more", false)
	c.get("/topics/T").is("depth", 9)
	c.get("/topics/T.dead").is("firstOffset", 2)
	c.get(letters).want(200).is("waiting", 1, "kinds.0.kind", customer, "kinds.1", nil)

	c.post(redrive, object{"offsets": list{"2"}, "edit": object{"tag": "a.b", "headers": object{"x": "y"}, "body": "mended"}}).want(200).
		is("done", 1, "reaches.2.group", "tagged")
	c.get("/topics/T/messages/9").want(200).is("tag", "a.b", "body", "mended", "headers.x", "y", "headers.dead-topic", nil)
	c.get("/topics/T.dead").is("depth", 0)
	c.get("/audit").is("entries.0.action", "topic.redrive", "entries.0.target", "T.dead", "entries.0.detail", "1 letters to T")
}

func TestDeadLettersAreDropped(t *testing.T) {
	c := startClient(t)
	died(t, c, 3, "x")
	c.post("/topics/T.dead/messages:redrive", object{"offsets": list{"1", "1", "7"}, "drop": true}).want(200).
		is("matched", 1, "done", 1, "reaches.0", nil, "more", false)
	c.get("/topics/T.dead/dead-letters").is("waiting", 2, "kinds.0.letters", 2)
	c.get("/topics/T").is("depth", 3)
	c.get("/topics/T.dead/groups/redrive").is("settle", "explicit", "cursor", 0)
}

func TestLettersGoBackAtARate(t *testing.T) {
	c := startClient(t)
	died(t, c, 4, "x")
	began := time.Now()
	c.post("/topics/T.dead/messages:redrive", object{"rate": 2}).want(200).is("done", 4)
	if took := time.Since(began); took < time.Second {
		t.Errorf("4 letters went in %v at 2 a second", took)
	}
}

func TestRedriveThatCannotBeMeantIsRefused(t *testing.T) {
	c := startClient(t)
	died(t, c, 1, "x")
	for _, x := range []struct {
		path string
		body object
		want string
	}{
		{"/topics/T/messages:redrive", object{}, "takes no dead letters"},
		{"/topics/T.dead/messages:redrive", object{"edit": object{"body": "x"}}, "name the letter"},
		{"/topics/T.dead/messages:redrive", object{"offsets": list{"0"}, "drop": true, "edit": object{"body": "x"}}, "name the letter"},
		{"/topics/T.dead/messages:redrive", object{"offsets": list{"0"}, "edit": object{"id": "x"}}, "id"},
		{"/topics/T.dead/messages:redrive", object{"rate": 0.01}, "0.1"},
	} {
		c.post(x.path, x.body).refused(400, "invalid", x.want)
	}
	for _, x := range []struct {
		body object
		want string
	}{
		{object{"offset": list{"0"}}, "offset"},
		{object{"offsets": list{"-1"}}, "offsets"},
		{object{"limit": 0}, "limit"},
		{object{"limit": 10_001}, "10000"},
		{object{"rate": -1}, "rate"},
		{object{"from": "x"}, "from"},
		{object{"to": "x"}, "to"},
		{object{"offsets": make([]struct{}, 1001)}, ""},
	} {
		c.post("/topics/T.dead/messages:redrive", x.body, forbidden).refused(400, "invalid", x.want)
	}
	c.do("GET", "/topics/T/dead-letters").refused(400, "invalid", "takes no dead letters")
	c.do("GET", "/topics/T.dead/dead-letters?limit=1001", forbidden).refused(400, "invalid", "limit")
	c.do("GET", "/topics/none.dead/dead-letters").refused(404, "not_found", "none.dead")
	c.do("DELETE", "/topics/T", anyway).want(204)
	c.post("/topics/T.dead/messages:redrive", object{}).refused(404, "not_found", "Topic(T)")
	c.post("/topics/T.dead/messages:redrive", object{"drop": true}).want(200).is("done", 1)
}

// Letters go where one may publish, and nowhere else.
func TestRedriveTakesThePermissionToPublish(t *testing.T) {
	g := startGuarded(t)
	c := g.unchecked
	c.do("POST", "/topics", object{"name": "T"}, as(g.token)).want(201)
	c.do("POST", "/topics", object{"name": "T.dead"}, as(g.token)).want(201)
	mover, _ := g.account("mover", nil, "move:T.dead", "browse:T")
	both, _ := g.account("both", nil, "move:T.dead", "publish:T")
	redrive := func(token string, body object) *reply {
		return c.do("POST", "/topics/T.dead/messages:redrive", body, as(token))
	}
	redrive(mover, object{"dryRun": true}).refused(403, "forbidden", "publish")
	redrive(mover, object{}).refused(403, "forbidden", "publish")
	redrive(mover, object{"drop": true}).want(200)
	redrive(both, object{}).want(200)
}
