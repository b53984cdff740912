package server_test

import (
	"strconv"
	"testing"
)

// A consumer learns which session published a message. That does not let it answer
// what that session waits for.
func TestAConsumerOfAPlainTopicCanAnswerNobody(t *testing.T) {
	t.Parallel()
	b := start(t)
	publisher, consumer := b.dial(t), b.dial(t)
	publisher.ok("declare topic=Plain")
	publisher.send("produce topic=Plain id=seen")
	publisher.recv()
	a := consumer.ok("consume topic=Plain").header(t, "origin_id", "seen")
	for _, id := range []string{"seen", "waits"} {
		consumer.send("route topic=Plain recver="+a.Get("sender")+" id="+id, "forged")
		consumer.send("route recver="+a.Get("sender")+" id="+id, "forged")
	}
	consumer.quiet()
	publisher.quiet()
	if n := b.dropped(t); n["late"] != "4" && n["orphaned"] != "4" {
		t.Errorf("dropped answers: %v, want four", n)
	}
}

// Clients of the original declare the kind of a topic that others made for messages on
// disk: its messages are stored, and answered as calls are.
func TestAStoredCallIsAnsweredOnceAndByWhoeverGotIt(t *testing.T) {
	t.Parallel()
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) {
			b := start(t)
			topic := "Stored" + strconv.Itoa(i)
			caller, service, other := b.dial(t), b.dial(t), b.dial(t)
			caller.ok("declare topic=" + topic)
			f.declareFirst = true
			f.serve(service, topic, "c1")
			f.write(caller, f.invoke, topic, "r1", f.invokeBody)
			a := service.recv().want(t, 200, f.invokeBody)
			f.write(other, f.consume, topic, "c1", "")
			f.write(caller, f.invoke, topic, "r2", f.invokeBody)
			other.recv().header(t, "origin_id", "r2")
			answer := func(c *client, id string) {
				f.write(c, f.route, topic, "", f.routeBody, "{sender}", a.Get("sender"), "{to}", id)
				c.quiet()
			}
			answer(other, "r1")
			answer(service, "r2")
			answer(service, "r3")
			caller.quiet()
			answer(service, "r1")
			caller.recv().want(t, 200, f.routeBody).header(t, "id", "r1")
			answer(service, "r1")
			caller.quiet()
			answer(other, "r2")
			caller.recv().want(t, 200, f.routeBody).header(t, "id", "r2")
		})
	}
}
