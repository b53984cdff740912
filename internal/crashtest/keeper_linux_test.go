package crashtest

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// keptTopic is what a keeper publishes to.
const keptTopic = "kept"

// keeper publishes small and large messages to a topic of its own, whatever others do to the
// broker, and knows which of them have to be there.
type keeper struct {
	p    *process
	stop chan struct{}
	over chan struct{}

	// The publisher owns these until over is closed.
	stored  map[int]bool // answered with 200
	refused int          // messages
	sent    int          // messages
}

// keep starts a keeper. It has published something when it returns.
func (p *process) keep() *keeper {
	p.t.Helper()
	c := p.dial()
	defer c.Close()
	c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, keptTopic), field(wire.HeaderConsumeGroup, verifyGroup))
	k := &keeper{p: p, stop: make(chan struct{}), over: make(chan struct{}), stored: map[int]bool{}}
	for range 30 {
		k.publish(c)
	}
	if len(k.stored) != 30 {
		p.t.Fatalf("%d of 30 messages stored before there was a load", len(k.stored))
	}
	return k
}

// begin publishes until end, on a connection after the other where the broker hangs up.
func (k *keeper) begin() {
	go func() {
		defer close(k.over)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if c, err := connect(k.p.t, k.p.address); err == nil {
				for k.publish(c) && !k.ended(tick) {
				}
				_ = c.Close()
			}
			if k.ended(tick) {
				return
			}
		}
	}()
}

// ended waits for the next turn, and reports whether there is none.
func (k *keeper) ended(tick *time.Ticker) bool {
	select {
	case <-k.stop:
		return true
	case <-tick.C:
		return false
	}
}

func (k *keeper) end() {
	close(k.stop)
	<-k.over
}

// publish sends the next message, and reports whether the connection is still good.
func (k *keeper) publish(c *conn) bool {
	n := k.sent
	k.sent++
	c.wait()
	c.put(keptBody(n), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, keptTopic),
		field(wire.HeaderAck, "true"), field(wire.HeaderID, strconv.Itoa(n)))
	if c.w.Flush() != nil {
		return false
	}
	m, err := c.r.Read()
	switch {
	case err != nil:
		return false
	case m.Status == http.StatusOK:
		k.stored[n] = true
	default:
		k.refused++
	}
	return true
}

// keptBody is 1 KB to 300 KB that say which message it is.
func keptBody(n int) []byte {
	size := 1 << 10
	if n%10 == 0 {
		size = 300 << 10
	}
	text := (&lane{name: keptTopic}).body(n)
	return bytes.Repeat(text, size/len(text)+1)
}

// lost counts what was answered and does not come back as it was sent. What had no answer, or
// no for one, may be there or not.
func (k *keeper) lost() int {
	k.p.t.Helper()
	c := k.p.dial()
	defer c.Close()
	k.publish(c)
	last := strconv.Itoa(k.sent - 1)
	if !k.stored[k.sent-1] {
		k.p.t.Fatal("no message can be stored after the load")
	}
	if err := c.consumeFrom(keptTopic, verifyGroup, k.sent); err != nil {
		k.p.t.Fatal(err)
	}
	whole := map[int]bool{}
	for id := ""; id != last; {
		c.wait()
		m, err := c.r.Read()
		if err != nil || m.Status != http.StatusOK {
			k.p.t.Fatalf("reading back: %v, %v", m, err)
		}
		id = m.Get(wire.HeaderOriginID)
		if n, err := strconv.Atoi(id); err == nil {
			whole[n] = bytes.Equal(m.Body, keptBody(n))
		}
	}
	lost := 0
	for n := range k.stored {
		if !whole[n] {
			lost++
		}
	}
	return lost
}
