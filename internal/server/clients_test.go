package server_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// family is one client library: what it writes, header by header. In the
// templates {T} is a topic, {id}, {to} and {sender} what the protocol says.
type family struct {
	name         string
	first        string // header lines of every request
	declare      string
	consume      string
	declareFirst bool   // or only after a 404
	again        string // the id of its next consume
	produce      string
	invoke       string // a call
	invokeBody   string
	route        string // the answer of a service written with it
	routeBody    string
	contentType  string // of the answer
}

// families are the clients that there are, as they were in August and September
// 2017.
var families = []family{
	{
		name: "JS", declareFirst: true, again: "{id}-2",
		declare: "cmd: declare\r\ntopic: {T}\r\ntopic_mask: 3\r\nconsume_group: {T}\r\ntoken: null\r\nid: {id}\r\n",
		consume: "cmd: consume\r\ntopic: {T}\r\nconsume_group: {T}\r\nid: {id}\r\n",
		produce: "topic: {T}\r\ncmd: produce\r\nack: true\r\nid: {id}\r\n",
		invoke:  "topic: {T}\r\nack: false\r\ncmd: produce\r\nid: {id}\r\n", invokeBody: `{"method":"plus","params":[1,2]}`,
		route:     "content-type: application/json\r\ncmd: route\r\ntopic: {T}\r\nrecver: {sender}\r\nid: {to}\r\norigin_status: 200\r\nack: false\r\ntoken: undefined\r\n",
		routeBody: `{"error":null,"result":3}`, contentType: "application/json",
	},
	{
		name: "Python", again: "{id}", // one message object for everything
		declare: "topic: {T}\r\ncmd: declare\r\ntopic_mask: 2\r\nid: {id}\r\ntoken: None\r\n",
		consume: "topic: {T}\r\ncmd: consume\r\nconsume_window: 1\r\ntopic_mask: 2\r\nid: {id}\r\n",
		produce: "topic: {T}\r\nack: True\r\ncmd: produce\r\nid: {id}\r\n",
		invoke:  "topic: {T}\r\nack: False\r\ncontent-type: application/json\r\ncmd: produce\r\nid: {id}\r\n", invokeBody: `{"params": [1, 2], "method": "plus", "module": ""}`,
		route:     "cmd: route\r\nrecver: {sender}\r\nid: {to}\r\ntopic: {T}\r\norigin_status: 200\r\nack: False\r\ncontent-type: application/json\r\n",
		routeBody: `{"error": null, "result": 3}`, contentType: "application/json",
	},
	{
		name: "PHP", declareFirst: true, again: "{id}",
		declare: "cmd: declare\r\ntopic: {T}\r\ntopic_mask: 3\r\nid: {id}\r\n",
		consume: "topic: {T}\r\ncmd: consume\r\nid: {id}\r\n",
		produce: "topic: {T}\r\ncmd: produce\r\nack: 1\r\nid: {id}\r\n",
		invoke:  "topic: {T}\r\nack: \r\ncontent-type: application/json\r\ncmd: produce\r\nid: {id}\r\n", invokeBody: `{"method":"plus","params":[1,2],"module":null}`,
		route:     "recver: {sender}\r\nid: {to}\r\ncontent-type: application/json\r\norigin_status: 200\r\ncmd: route\r\n",
		routeBody: `{"result":3,"error":null}`, contentType: "application/json",
	},
	{
		name: ".NET", again: "{id}-2", first: "connection: Keep-Alive\r\n",
		declare: "cmd: declare\r\ntopic: {T}\r\ntopic_mask: 3\r\nconsume_group: {T}\r\nversion: 0.8.0\r\nid: {id}\r\n",
		consume: "cmd: consume\r\ntopic: {T}\r\nconsume_group: {T}\r\nconsume_window: 1\r\nversion: 0.8.0\r\nid: {id}\r\n",
		produce: "topic: {T}\r\nversion: 0.8.0\r\ncmd: produce\r\nack: 1\r\nid: {id}\r\n",
		invoke:  "topic: {T}\r\nack: 0\r\ncontent-type: application/json\r\nencoding: utf-8\r\nversion: 0.8.0\r\ncmd: produce\r\nid: {id}\r\n", invokeBody: `{"method":"plus","params":[1,2]}`,
		route:     "recver: {sender}\r\nid: {to}\r\norigin_status: 200\r\ncontent-type: application/json\r\nencoding: utf-8\r\ncmd: route\r\nack: 0\r\n",
		routeBody: `{"result":3,"error":null}`, contentType: "application/json",
	},
	{
		name: "C++", again: "{id}-2",
		declare: "ack: 1\r\ncmd: declare\r\nid: {id}\r\ntopic: {T}\r\ntopic_mask: 3435973836\r\n",
		consume: "cmd: consume\r\nconsume_window: 1\r\nid: {id}\r\ntopic: {T}\r\n",
		produce: "ack: 1\r\ncmd: produce\r\nid: {id}\r\ntopic: {T}\r\n",
		invoke:  "ack: 0\r\ncmd: produce\r\ncontent-type: application/json\r\nid: {id}\r\ntopic: {T}\r\n", invokeBody: "{\n   \"method\" : \"plus\",\n   \"params\" : [ 1, 2 ]\n}\n",
		route:     "ack: 0\r\ncmd: route\r\ncontent-type: application/json\r\nid: {to}\r\norigin_status: 200\r\nrecver: {sender}\r\ntopic: {T}\r\n",
		routeBody: "{\n   \"error\" : null,\n   \"result\" : 3\n}\n", contentType: "application/json",
	},
	{
		name: "Java", declareFirst: true, again: "{id}-2", first: "connection: Keep-Alive\r\nversion: 0.9.0\r\n",
		declare: "cmd: declare\r\ntopic: {T}\r\ntopic_mask: 2\r\nconsume_group: {T}\r\ngroup_mask: 2\r\nid: {id}\r\n",
		consume: "cmd: consume\r\ntopic: {T}\r\nconsume_group: {T}\r\nid: {id}\r\n",
		produce: "cmd: produce\r\ntopic: {T}\r\nack: 1\r\ncontent-type: text/plain; charset=utf-8\r\nid: {id}\r\n",
		invoke:  "cmd: produce\r\ntopic: {T}\r\nack: 0\r\ncontent-type: text/plain; charset=UTF-8\r\nid: {id}\r\n", invokeBody: `{"@type":"io.zbus.rpc.Request","method":"plus","module":"","params":[1,2L,"x",1.5D]}`,
		route:     "cmd: route\r\nrecver: {sender}\r\nid: {to}\r\norigin_status: 200\r\nack: 0\r\ntopic: {T}\r\ntoken: t\r\ncontent-type: text/plain; charset=UTF-8\r\n",
		routeBody: `{"result": 3L}`, contentType: "text/plain; charset=UTF-8",
	},
}

// write sends a request as the family writes it.
func (f *family) write(c *client, template, topic, id, body string, more ...string) {
	c.t.Helper()
	pairs := append([]string{"{T}", topic, "{id}", id}, more...)
	head := "GET / HTTP/1.1\r\n" + f.first + strings.NewReplacer(pairs...).Replace(template)
	c.write(fmt.Sprintf("%scontent-length: %d\r\n\r\n%s", head, len(body), body))
}

// serve brings a consumer up to where it waits, in the order of the family.
func (f *family) serve(c *client, topic, id string) {
	c.t.Helper()
	if !f.declareFirst {
		f.write(c, f.consume, topic, id, "")
		if a := c.recv(); a.Status != 404 || a.Get("id") != id {
			c.t.Fatalf("consume of an unknown topic: %d, id %q", a.Status, a.Get("id"))
		}
	}
	f.write(c, f.declare, topic, id, "")
	c.recv().header(c.t, "id", id, "content-type", "application/json")
	f.write(c, f.consume, topic, id, "")
	c.quiet()
}

func TestEveryFamilyOfClientsProducesAndConsumes(t *testing.T) {
	t.Parallel()
	b := start(t)
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) {
			topic := "Queue" + strconv.Itoa(i)
			consumer, producer := b.dial(t), b.dial(t)
			b.dialOnce(t, "declare topic="+topic) // on disk: not what the family's RPC mask makes of it
			f.declareFirst = true
			f.serve(consumer, topic, "c1")
			b.dialOnce(t, "declare topic_mask=0 topic="+topic)
			f.write(producer, f.produce, topic, "p1", "body")
			if a := producer.recv(); a.Status != 200 || a.Get("id") != "p1" || len(a.Body) != 13 {
				t.Errorf("produce: %d %q, id %q", a.Status, a.Body, a.Get("id"))
			}
			consumer.recv().want(t, 200, "body").header(t, "id", "c1", "origin_id", "p1", "origin_url", "/", "topic", topic)

			// A client gives up waiting and asks again: the message comes once, for
			// the latest request.
			next := strings.ReplaceAll(f.again, "{id}", "c1")
			f.write(consumer, f.consume, topic, "c1", "")
			f.write(consumer, f.consume, topic, next, "")
			consumer.quiet()
			f.write(producer, f.produce, topic, "p2", "again")
			producer.recv()
			consumer.recv().want(t, 200, "again").header(t, "id", next)
			consumer.quiet()
		})
	}
}

func TestEveryFamilyCallsEveryFamily(t *testing.T) {
	t.Parallel()
	b := start(t)
	for i, service := range families {
		for k, caller := range families {
			t.Run(caller.name+" calls "+service.name, func(t *testing.T) {
				topic := fmt.Sprintf("Service%d.%d", i, k)
				s, c := b.dial(t), b.dial(t)
				service.serve(s, topic, "c1")
				caller.write(c, caller.invoke, topic, "r1", caller.invokeBody)
				a := s.recv().want(t, 200, caller.invokeBody).header(t, "id", "c1", "origin_id", "r1")
				if strings.Contains(caller.invoke, "encoding:") {
					a.header(t, "encoding", "utf-8")
				}
				c.quiet() // no ack of a call
				service.write(s, service.route, topic, "", service.routeBody, "{sender}", a.Get("sender"), "{to}", "r1")
				s.quiet() // no reply to a route
				r := c.recv().want(t, 200, service.routeBody).header(t, "id", "r1", "content-type", service.contentType)
				r.without(t, "cmd", "recver", "ack", "token", "origin_status", "connection")
				if r.Get("sender") == "" || r.Get("sender") == a.Get("sender") {
					t.Errorf("sender of the answer: %q", r.Get("sender"))
				}
				// A service that is gone: the caller learns that its topic is not there.
				b.dialOnce(t, "remove topic="+topic)
				caller.write(c, caller.invoke, topic, "r2", caller.invokeBody)
				if a := c.recv(); a.Status != 404 || a.Get("id") != "r2" {
					t.Errorf("a call of a removed topic: %d, id %q", a.Status, a.Get("id"))
				}
			})
		}
	}
}

func TestEveryFamilysTrackSubIsAnsweredAndPushed(t *testing.T) {
	t.Parallel()
	b := start(t)
	for i, head := range []string{
		"cmd: track_sub\r\nid: {id}\r\n",                                                       // JS, Python
		"cmd: track_sub\r\ntoken: \r\nid: {id}\r\n",                                            // PHP
		"connection: Keep-Alive\r\ncmd: track_sub\r\nversion: 0.8.0\r\nid: {id}\r\n",           // .NET
		"cmd: track_sub\r\nconnection: Keep-Alive\r\nversion: 0.9.0\r\nack: 0\r\nid: {id}\r\n", // Java
		"ack: 0\r\ncmd: track_sub\r\nid: {id}\r\n",                                             // C++
	} {
		c := b.dial(t)
		c.write("GET / HTTP/1.1\r\n" + strings.ReplaceAll(head, "{id}", "t1") + "content-length: 0\r\n\r\n")
		c.recv().header(t, "id", "t1", "cmd", "track_pub", "content-type", "application/json")
		topic := "Tracked" + strconv.Itoa(i)
		b.dialOnce(t, "declare topic="+topic)
		for !strings.Contains(string(c.recv().header(t, "cmd", "track_pub").without(t, "id").Body), `"`+topic+`":{`) {
			continue // an earlier change; recv has a deadline
		}
	}
}

// A table is made once for all: each that is made has a version of its own.
func TestAPushIsMadeOnceForAllSubscribers(t *testing.T) {
	t.Parallel()
	b := start(t)
	subscribers := make([]*client, 8)
	for i := range subscribers {
		subscribers[i] = b.dial(t)
		subscribers[i].send("track_sub id=t")
		subscribers[i].recv()
	}
	b.dialOnce(t, "declare topic=Pushed")
	var first string
	for i, c := range subscribers {
		body := ""
		for !strings.Contains(body, `"Pushed":{`) {
			body = string(c.recv().header(t, "cmd", "track_pub").Body) // an earlier change; recv has a deadline
		}
		if i == 0 {
			first = body
		}
		if body != first {
			t.Errorf("subscriber %d got another table:\n%s\nwant\n%s", i, body, first)
		}
	}
}

func TestAnAnswerToACallerThatIsGoneGoesNowhere(t *testing.T) {
	t.Parallel()
	b := start(t)
	s, c, other := b.dial(t), b.dial(t), b.dial(t)
	s.ok("declare topic=R topic_mask=3")
	s.send("consume topic=R id=c")
	s.quiet()
	c.send("produce topic=R ack=0 id=r", "x")
	a := s.recv()
	c.conn.Close()
	// Whether the broker knows already or not: the service continues.
	for range 100 {
		s.send("route recver="+a.Get("sender")+" id=r", "late")
	}
	s.quiet()
	other.quiet()
}
