package server_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
	"github.com/rushmore/zbus-go/internal/wire"
)

// socket is a WebSocket client.
type socket struct {
	t   testing.TB
	ctx context.Context
	ws  *websocket.Conn
}

func (b *instance) socket(t testing.TB, path string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, "ws://"+b.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t, ctx, ws}
}

func (s *socket) write(kind websocket.MessageType, frame string) {
	s.t.Helper()
	if err := s.ws.Write(s.ctx, kind, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// recv waits for a frame, which has to be binary and exactly one message.
func (s *socket) recv() answer {
	s.t.Helper()
	kind, frame, err := s.ws.Read(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if kind != websocket.MessageBinary {
		s.t.Errorf("frame of type %v", kind)
	}
	r := wire.NewReader(bytes.NewReader(frame), wire.Limits{Head: 1 << 20, Body: 64 << 20})
	if err := r.Fill(); err != nil {
		s.t.Fatal(err)
	}
	head, ok := r.Peek()
	a := answer{head: string(head)}
	if a.Message, err = r.Read(); err != nil || !ok || len(r.Buffered()) > 0 {
		s.t.Fatalf("a frame that is not one message: %v %q", err, frame)
	}
	checkHead(s.t, a)
	return a
}

func TestWebSocketTakesTextAndBinaryOnAnyPathAndAnswersBinaryOneMessageAFrame(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	for _, path := range []string{"", "/", "/consume/T", "/any/path?x=y"} {
		s := b.socket(t, path)
		for _, kind := range []websocket.MessageType{websocket.MessageBinary, websocket.MessageText} {
			s.write(kind, request("produce topic=T id=p", "\xff\x00body"))
			s.recv().header(t, "id", "p")
			s.write(kind, request("consume topic=T id=c", ""))
			s.recv().want(t, 200, "\xff\x00body").header(t, "id", "c")
		}
		for range 3 {
			s.write(websocket.MessageBinary, request("produce topic=T ack=0", "m"))
		}
		s.write(websocket.MessageBinary, request("consume topic=T id=w window=3", ""))
		for _, left := range []string{"2", "1", "0"} {
			s.recv().want(t, 200, "m").header(t, "id", "w", "window", left)
		}
	}
}

func TestWebSocketRefusesFramesThatAreNotOneMessage(t *testing.T) {
	t.Parallel()
	b := start(t)
	whole := request("ping id=1", "")
	for name, frame := range map[string]string{
		"part of a head": whole[:20],
		"part of a body": "GET / HTTP/1.1\r\ncmd: ping\r\ncontent-length: 5\r\n\r\nab",
		"two messages":   whole + whole,
		"one and a half": whole + whole[:9],
		"garbage":        "{\"cmd\":\"ping\"}",
		"nothing":        "",
	} {
		s := b.socket(t, "/")
		s.write(websocket.MessageBinary, frame)
		if a := s.recv(); a.Status != 400 {
			t.Errorf("%s: %d %q", name, a.Status, a.Body)
		}
		if _, _, err := s.ws.Read(s.ctx); websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
			t.Errorf("%s: then %v", name, err)
		}
	}
}

func TestWebSocketAnswersPingsWhileAConsumeWaits(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	s := b.socket(t, "/")
	s.write(websocket.MessageText, request("consume topic=T id=1", ""))
	got := make(chan answer, 1)
	go func() { got <- s.recv() }()
	if err := s.ws.Ping(s.ctx); err != nil {
		t.Error(err)
	}
	c.ok("produce topic=T", "late")
	(<-got).want(t, 200, "late").header(t, "id", "1")
	if err := s.ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing handshake: %v", err)
	}
	eventually(t, "the consumer is gone", func() bool {
		return strings.Contains(string(c.ok("query topic=T").Body), `"consumerCount":0`)
	})
}

func TestWebSocketAndStreamSessionsCallEachOther(t *testing.T) {
	t.Parallel()
	b := start(t)
	service, caller := b.dial(t), b.socket(t, "/")
	service.ok("declare topic=R topic_mask=3")
	service.send("consume topic=R id=c")
	service.ok("server")
	caller.write(websocket.MessageBinary, request("produce topic=R ack=false id=call", "question"))
	a := service.recv().want(t, 200, "question").header(t, "id", "c", "origin_id", "call")
	service.send("route recver="+a.Get("sender")+" id=call origin_status=500", "answer")
	caller.recv().want(t, 500, "answer").header(t, "id", "call")
}

func TestWebSocketOfAForeignPageNeedsItsOriginAllowed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience) // a broker for each
	defer cancel()
	for _, c := range []struct {
		allow []string
		good  []string // besides the broker's own
		bad   []string
	}{
		{nil, nil, []string{"http://evil.example", "null"}},
		{[]string{"*.example.com"}, []string{"https://app.example.com"}, []string{"http://evil.example", "null", "http://example.com"}},
		{[]string{"*"}, []string{"http://evil.example", "null"}, nil},
	} {
		b := start(t, func(cfg *config.Config) { cfg.AllowOrigin = c.allow })
		accepted := func(origin string) bool {
			ws, _, err := websocket.Dial(ctx, "ws://"+b.addr, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
			if err == nil {
				_ = ws.CloseNow()
			}
			return err == nil
		}
		for _, origin := range append(c.good, "http://"+b.addr) {
			if !accepted(origin) {
				t.Errorf("allowed %q: %s is refused", c.allow, origin)
			}
		}
		for _, origin := range c.bad {
			if accepted(origin) {
				t.Errorf("allowed %q: %s may connect", c.allow, origin)
			}
		}
	}
}

func TestWebSocketIsClosedWithAReasonWhenTheBrokerStops(t *testing.T) {
	t.Parallel()
	b := start(t)
	s := b.socket(t, "/")
	s.write(websocket.MessageText, request("ping id=1", ""))
	s.recv()
	ended := make(chan error, 1)
	go func() { _, _, err := s.ws.Read(s.ctx); ended <- err }()
	began := time.Now()
	b.stop(t)
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestWebSocketAnswersTheFrameThatItHandlesWhenTheBrokerStops(t *testing.T) {
	b, store := startFaulty(t)
	s := b.socket(t, "/")
	entered, release := make(chan struct{}), make(chan struct{})
	store.FailNext(storetest.Fault{Entered: entered, Release: release, If: func(ops []storage.Op) bool {
		all, ok := ops[0].(*storage.Atomic)
		if !ok {
			return false
		}
		_, ok = all.Ops[0].(*storage.CreateTopic)
		return ok
	}})
	s.write(websocket.MessageText, request("declare id=d topic=new", ""))
	<-entered
	ended := make(chan struct{})
	go func() { b.cancel(); close(ended) }()
	got := make(chan error, 1)
	var frame []byte
	go func() {
		var err error
		_, frame, err = s.ws.Read(s.ctx)
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("before the topic is stored it got %q, %v", frame, err)
		close(release)
	case <-time.After(200 * time.Millisecond):
		close(release)
		if err := <-got; err != nil || !bytes.Contains(frame, []byte("\r\nid: d\r\n")) {
			t.Errorf("got %q, %v; want the answer", frame, err)
		}
	}
	<-ended
}

// A WebSocket whose client answers nothing, not even a ping, is closed like any other silent
// connection. One that only listens, as a browser does, stays.
func TestOnlyAWebSocketThatIsSilentIsClosedAsIdle(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.IdleTimeout = time.Second })
	b.dial(t).ok("declare topic=T")
	listens := b.socket(t, "/")
	listens.write(websocket.MessageBinary, request("consume topic=T id=c", ""))
	got := make(chan answer, 1)
	go func() { defer close(got); got <- listens.recv() }()
	for _, said := range []string{"", "\x89\x80\x00\x00\x00\x00"} { // nothing at all, or one ping
		mute, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		_, _ = io.WriteString(mute, "GET / HTTP/1.1\r\nHost: "+b.addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"+said)
		began := time.Now()
		_ = mute.SetReadDeadline(began.Add(patience))
		if _, err := io.Copy(io.Discard, mute); err != nil || time.Since(began) < time.Second/2 {
			t.Fatalf("after saying %q a silent WebSocket was open for %v: %v", said, time.Since(began), err)
		}
	}
	b.dial(t).ok("produce topic=T", "m")
	(<-got).want(t, 200, "m")
}
