package live

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestStopEndsAllSocketsAndLetsNoneIn(t *testing.T) {
	r := start(t, func(o *Options) { o.DrainTime = 5 * time.Second })
	topic := r.topic("orders")
	r.group(broker.GroupSpec{Topic: "orders", Name: "g", Settle: new(storage.SettleExplicit)})
	r.publish(topic, "a")
	idle, busy, stuck := r.dial(nil), r.dial(nil), r.dialSlow()
	busy.call(`{"op":"subscribe","topic":"orders","group":"g","window":5}`, "subscribed")
	busy.offsets(1)
	busy.call(`{"op":"watch","channel":"server"}`, "watching")
	busy.await("figures")
	for range 2000 { // answers that nobody takes
		stuck.send(`{"op":"` + strings.Repeat("x", 60) + `"}`)
	}
	stopped := make(chan struct{})
	go func() { r.end(); close(stopped) }()
	if code := idle.closed(); code != websocket.StatusServiceRestart {
		t.Errorf("an idle socket was closed with status %d", code)
	}
	if code := busy.closed(); code != websocket.StatusServiceRestart {
		t.Errorf("a busy socket was closed with status %d", code)
	}
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if n := len(r.hub.Sessions()); n != 0 || r.held.Load() != 0 {
		t.Errorf("%d sockets and %d bytes are left", n, r.held.Load())
	}
	_, resp, err := websocket.Dial(context.Background(), r.url(), nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestStopAnswersWhatWasTakenOn(t *testing.T) {
	r := start(t)
	r.topic("orders")
	c := r.dial(nil)
	const n = 200
	for i := range n {
		c.send(fmt.Sprintf(`{"op":"publish","ref":"%d","topic":"orders","messages":[{"body":"x"}]}`, i))
	}
	go r.end()
	answered := int64(0)
	for {
		g, err := c.read()
		if err != nil {
			break
		}
		g.is(t, "published")
		answered++
	}
	r.end()
	topic, _ := r.b.System().Topic("orders")
	if topic.Next() != answered {
		t.Errorf("%d publishes were answered and %d stored", answered, topic.Next())
	}
}

// chatter sends frames until the connection ends, and reads nothing.
func (c *client) chatter() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	frame := []byte(`{"op":"` + strings.Repeat("x", 60) + `","ref":"` + strings.Repeat("r", 60) + `"}`)
	go func() {
		defer close(done)
		for c.ws.Write(ctx, websocket.MessageText, frame) == nil {
		}
	}()
	return func() { cancel(); <-done }
}

func TestClientThatTakesNoAnswersIsNotReadFrom(t *testing.T) {
	r := start(t, func(o *Options) { o.DrainTime = 100 * time.Millisecond })
	c := r.dial(nil)
	c.call(`{"op":"ping"}`, "ok")
	defer c.chatter()()
	s := r.hub.all()[0]
	waiting := func() int64 {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		return s.out.bytes
	}
	eventually(t, "it has enough answers", func() bool { return waiting() > answerBytes })
	r.sample()
	if n := waiting(); n > answerBytes+1000 {
		t.Errorf("%d bytes of answers wait", n)
	}
}

func TestClientThatTakesNothingIsCut(t *testing.T) {
	r := start(t, func(o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	c := r.dial(nil)
	c.call(`{"op":"ping"}`, "ok")
	defer c.chatter()()
	eventually(t, "the socket is gone", func() bool { return len(r.hub.Sessions()) == 0 })
}

func TestClientThatAnswersNoPingIsCut(t *testing.T) {
	r := start(t, func(o *Options) { o.PingInterval, o.PingTimeout = 20*time.Millisecond, 8*time.Second })
	dead := r.dial(nil) // answers pings only while it reads
	alive := r.dial(nil)
	dead.call(`{"op":"ping"}`, "ok")
	alive.call(`{"op":"ping"}`, "ok")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = alive.ws.Read(context.Background())
	}()
	eventually(t, "one of two is left", func() bool { return len(r.hub.Sessions()) == 1 })
	if err := alive.ws.Write(context.Background(), websocket.MessageText, []byte(`{"op":"ping"}`)); err != nil {
		t.Error(err)
	}
	<-done // the answer
	if code := dead.closed(); code == websocket.StatusNormalClosure {
		t.Errorf("closed with status %d", code)
	}
}
