package contract

import "testing"

// explicitGroup creates a topic T with n messages and an explicit group g at its begin.
func explicitGroup(c *client, n int, more ...object) {
	c.t.Helper()
	c.post("/topics", object{"name": "T"}).want(201)
	group := object{"name": "g", "settle": "explicit", "start": "earliest"}
	for _, m := range more {
		for k, v := range m {
			group[k] = v
		}
	}
	c.post("/topics/T/groups", group).want(201)
	if n > 0 {
		c.post("/topics/T/messages", make([]struct{}, n)).want(201)
	}
}

func TestHandlesAreAckedOverAnotherConnection(t *testing.T) {
	b := start(t)
	one, other := b.client(t), b.client(t)
	explicitGroup(one, 3)
	taken := one.post("/topics/T/groups/g:pull", object{"max": 3, "timeout": 5000}).want(200)
	taken.is("deliveries.0.offset", 0, "deliveries.2.offset", 2, "deliveries.0.deliveryCount", 1)
	other.get("/topics/T/groups/g").is("inFlight", 3, "cursor", 0)

	handles := taken.each("deliveries", "handle")
	other.post("/topics/T/groups/g:extend", object{"handles": handles}).want(200).is("settled", 3)
	other.post("/topics/T/groups/g:ack", object{"handles": handles[:1]}).want(200).is("settled", 1)
	other.post("/topics/T/groups/g:nack", object{"handles": handles[1:2], "delay": 0}).want(200).is("settled", 1)
	one.get("/topics/T/groups/g").is("cursor", 1)
	other.post("/topics/T/groups/g:pull", object{"max": 3, "timeout": 5000}).want(200).
		is("deliveries.0.offset", 1, "deliveries.0.deliveryCount", 2, "deliveries.1", nil)
}

func TestHandlesThatAreNotGoodAnyMoreAreListed(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 3)
	taken := c.post("/topics/T/groups/g:pull", object{"max": 3, "timeout": 5000}).want(200)
	h := taken.each("deliveries", "handle")
	c.post("/topics/T/groups/g:ack", object{"handles": h[:1]}).want(200)
	for _, verb := range []string{"extend", "nack", "ack"} {
		r := c.post("/topics/T/groups/g:"+verb, object{"handles": list{h[0], h[1], "7.none"}}).refused(409, "conflict")
		if len(r.list("failed")) == 0 {
			t.Errorf("%s: nothing failed", verb)
		}
		r.is("failed.0.handle", h[0], "failed.0.code", "conflict")
		taken := c.post("/topics/T/groups/g:pull", object{"timeout": 100}).want(200)
		if verb == "nack" { // it did go back, though others failed
			h[1] = taken.str("deliveries.0.handle")
		}
	}
	c.get("/topics/T/groups/g").is("cursor", 2, "inFlight", 1)
	c.post("/topics/T/groups/g:ack", object{"handles": list{"what"}}).refused(400, "invalid", "what")
}

func TestAutoGroupIsSettledByThePull(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 2, object{"settle": "auto"})
	c.post("/topics/T/groups/g:pull").want(200).is("deliveries.0.offset", 0, "deliveries.0.handle", nil, "deliveries.1", nil)
	eventually(t, "the first is settled", func() bool { return c.get("/topics/T/groups/g").num("cursor") == 1 })
	c.post("/topics/T/groups/g:pull", object{"max": 10, "timeout": 5000}).want(200).is("deliveries.0.offset", 1, "deliveries.1", nil)
	c.post("/topics/T/groups/g:pull", object{"timeout": 1}).want(200).is("deliveries.0", nil)
}

func TestPullWaitsForAMessage(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 0)
	got := make(chan *reply, 1)
	waiting := b.client(t)
	go func() {
		r, err := waiting.try("POST", "/topics/T/groups/g:pull", object{"timeout": 10_000})
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	eventually(t, "the pull consumes", func() bool { return len(c.get("/topics/T/groups/g").list("consumers")) == 1 })
	c.post("/topics/T/messages", object{"body": "now"}).want(201)
	if r := <-got; r != nil {
		r.want(200).is("deliveries.0.body", "now")
	}
}

func TestMessageWithoutAnAckComesAgainAndThenDies(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1, object{"ackTimeout": 50, "maxDeliver": 2})
	for n := 1; n <= 2; n++ {
		c.post("/topics/T/groups/g:pull", object{"timeout": 10_000}).want(200).is("deliveries.0.deliveryCount", n)
	}
	// The clock of a group runs while a client consumes it.
	eventually(t, "there is a dead-letter topic", func() bool {
		c.post("/topics/T/groups/g:pull", object{"timeout": 10}).want(200).is("deliveries.0", nil)
		return c.get("/topics"+query("name", "t.DEAD")).num("total") == 1
	})
	eventually(t, "the message is in it", func() bool { return c.get("/topics/T.dead").num("depth") == 1 })
	c.get("/topics/T.dead/messages/0").is("headers.dead-topic", "T", "headers.dead-offset", 0, "headers.dead-count", 2)
}

// A call that a client of this API took would never be answered.
func TestCallsAreNotConsumed(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/topics/calc/groups", object{"name": "g"}).want(201)
	c.post("/topics/calc/groups/g:pull", object{}).refused(400, "invalid", "calc")
	c.do("GET", "/topics/calc/events").refused(400, "invalid", "calc")
	c.get("/topics/calc/groups").is("total", 1)
}

// A message that no attempt can help goes to the dead letters at once, with the reason.
func TestMessagesAreGivenUp(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 2)
	taken := c.post("/topics/T/groups/g:pull", object{"max": 2, "timeout": 5000}).want(200)
	h := taken.each("deliveries", "handle")
	refused := c.post("/topics/T/groups/g:nack", object{"handles": h[:1], "dead": true}).refused(400, "invalid", "has no dead letters")
	refused.is("failed.0.handle", h[0])
	c.do("PATCH", "/topics/T/groups/g", object{"maxDeliver": 5}).want(200)
	c.post("/topics/T/groups/g:nack", object{"handles": h[:1], "dead": true, "reason": "no such customer"}).want(200)
	c.post("/topics/T/groups/g:nack", object{"handles": h[1:], "reason": "out of stock"}).want(200)
	eventually(t, "the letter is there", func() bool {
		r := c.do("GET", "/topics/T.dead/messages", anyway)
		return r.status == 200 && r.at("messages.0") != nil
	})
	c.get("/topics/T.dead/messages").want(200).
		is("messages.0.headers.dead-cause", "no such customer", "messages.0.headers.dead-count", "1", "messages.1", nil)
	c.post("/topics/T/groups/g:pull", object{"max": 2, "timeout": 5000}).want(200).is("deliveries.0.offset", 1, "deliveries.1", nil)
}
