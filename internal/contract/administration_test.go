package contract

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestServerDescribesItself(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	explicitGroup(c, 2)
	c.get("/server").is("version", "test", "durability", "fsync", "live", true, "topics", 1, "groups", 1, "messages", 2, "address", c.addr)
	c.get("/cluster").is("nodes.0.address", c.addr, "nodes.0.state", "active", "nodes.0.topics", 1, "nodes.1", nil, "database", nil, "takeovers.0", nil)
	c.get("/servers").is("servers.0.address", c.addr, "servers.0.messages", 2, "servers.0.state", "up", "servers.0.this", true, "servers.0.age", 0, "servers.1", nil)
	c.get("/stats").is("range", "15m", "step", 1000)
	c.get("/stats?range=24h").is("range", "24h", "step", 15_000)
	c.get("/stats/topics").is("step", 5000)
	eventually(t, "the lag is in the figures", func() bool {
		now := c.get("/stats")
		n := len(now.list("points"))
		return n > 0 && now.num("points."+strconv.Itoa(n-1)+".lag") == 2
	})
	c.post("/topics/T/messages", []object{{}}).want(201)
	eventually(t, "what came to the topic is kept", func() bool {
		return slices.Equal(c.get("/stats/topics").each("topics", "name"), []string{"T"})
	})
}

func TestAServerIsDrainedByItsAddress(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 2)
	c.post("/servers/"+c.addr+":drain").want(200).is("address", c.addr, "state", "draining", "live", false, "this", true)
	c.get("/servers").is("servers.0.state", "draining")
	c.post("/topics/T/messages", object{"body": "no other server has the topic"}).want(201)
	c.post("/servers/"+c.addr+":undrain").want(200).is("state", "up", "live", true)
	c.post("/servers/10.1.2.3:15555:drain").want(404).is("code", "not_found")
	c.post("/servers/10.1.2.3:15555:undrain").want(404).is("code", "not_found")
}

func TestTopicsOfAllServers(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 2)
	c.post("/topics", object{"name": "calls", "kind": "rpc"}).want(201)
	c.get("/topics?scope=cluster").is("total", 2, "next", nil,
		"topics.1.name", "calls", "topics.1.kind", "rpc", "topics.0.name", "T", "topics.0.depth", 2, "topics.0.lag", 2, "topics.0.consumers", 0,
		"topics.0.servers.0.address", c.addr, "topics.0.servers.0.state", "up", "topics.0.servers.0.depth", 2, "topics.0.servers.1", nil)
	c.get("/topics?scope=cluster&limit=1").is("total", 2, "next", "T", "topics.1", nil)
	c.get("/topics?scope=cluster&kind=rpc").is("total", 1, "topics.0.name", "calls")
	c.get("/topics?scope=cluster&name=t").is("total", 1, "topics.0.name", "T")
}

func TestAClockThatIsNotInDoubtCanBeConfirmed(t *testing.T) {
	c := startClient(t)
	r := c.get("/server")
	r.is("clock.jump", nil, "clock.suspendedUntil", nil)
	if n := r.num("clock.offset"); n < -1000 || n > 1000 {
		t.Errorf("the clock was set by %d ms", n)
	}
	c.post("/server:confirm-clock").want(200).is("suspended", false)
	if got := c.get("/audit?action=clock.").each("entries", "action"); len(got) != 0 {
		t.Errorf("audit: %q", got)
	}
}

func TestAuditTellsWhoDidWhat(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	c.do("PATCH", "/topics/T/groups/g", object{"paused": true}).want(200)
	c.post("/topics/T:empty").want(200)
	c.do("DELETE", "/topics/T").want(204)
	r := c.get("/audit")
	got := r.each("entries", "action")
	slices.Reverse(got)
	want := []string{"topic.create", "group.create", "group.alter", "topic.empty", "topic.remove"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	details := r.each("entries", "detail")
	slices.Reverse(details)
	for i, want := range []string{"", "settle auto → explicit", "paused false → true", "#0 to #1", "#1 to #1"} {
		if !strings.Contains(details[i], want) {
			t.Errorf("%s: %q, want %q in it", got[i], details[i], want)
		}
	}
	if who := r.str("entries.0.actor"); !strings.HasPrefix(who, "127.0.0.1:") {
		t.Errorf("actor %q", who)
	}
	if got := c.get("/audit?action=group.&target=t/g").each("entries", "action"); len(got) != 2 {
		t.Errorf("of the group: %q", got)
	}
}

func TestDisconnectedConsumersMessageGoesToAnother(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 0)
	holder := b.native(t)
	holder.send("consume id=c topic=T consume_group=g window=5")
	c.post("/topics/T/messages", object{"body": "one"}).want(201)
	holder.delivered(0)

	sessions := c.get("/sessions?topic=t&protocol=tcp")
	sessions.is("total", 1, "sessions.0.protocol", "tcp", "sessions.0.remote", holder.LocalAddr().String(), "sessions.0.in", 1, "sessions.0.out", 1,
		"sessions.0.subscriptions.0.topic", "T", "sessions.0.subscriptions.0.group", "g",
		"sessions.0.subscriptions.0.credit", 4, "sessions.0.subscriptions.0.inFlight", 1)
	c.get("/sessions?topic=other").is("total", 0)
	other := b.native(t)
	other.send("consume id=c topic=T consume_group=g window=5")
	eventually(t, "both consume", func() bool { return c.get("/sessions?topic=T").num("total") == 2 })

	id := sessions.str("sessions.0.id")
	c.do("DELETE", "/sessions/"+id+query("reason", "holds too long")).want(204)
	c.get("/audit?action=session.").is("entries.0.action", "session.close", "entries.0.target", id,
		"entries.0.detail", holder.LocalAddr().String()+": holds too long", "entries.1", nil)
	holder.cut()
	if m := other.delivered(0); m.Get("delivery-count") != "2" || string(m.Body) != "one" {
		t.Errorf("got %q, delivery %s", m.Body, m.Get("delivery-count"))
	}
	eventually(t, "its session is gone", func() bool { return c.get("/sessions?topic=T").num("total") == 1 })
	c.do("DELETE", "/sessions/"+id).refused(404, "not_found", id)
	c.do("DELETE", "/sessions?topic=none").want(200).is("closed", 0)
	c.do("DELETE", "/sessions?protocol=tcp&topic=T").want(200).is("closed", 1)
	other.cut()
}
