package live

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestPublishIsAnsweredAfterItsCommitAllOrNothing(t *testing.T) {
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	p := c.call(`{"op":"publish","ref":"6","topic":"orders","messages":[{"id":"m1","tag":"eu","key":"k","body":"one"},{"bodyBase64":"/w=="}]}`, "published")
	if p.Ref != "6" || len(p.Results) != 2 || p.Results[0].Id != "m1" || p.Results[0].Offset != "0" || p.Results[1].Offset != "1" || p.Results[1].Id == "" {
		t.Errorf("got %s", p.raw)
	}
	if next := topic.Next(); next != 2 {
		t.Errorf("the log ends at %d", next)
	}
	again := c.call(`{"op":"publish","topic":"orders","messages":[{"id":"m1","body":"one"}]}`, "published")
	if again.Results[0].Offset != "0" || again.Results[0].Duplicate == nil {
		t.Errorf("got %s", again.raw)
	}
	c.refused(`{"op":"publish","ref":"7","topic":"orders","messages":[{"body":"x"},{"body":"x","bodyBase64":"eA=="}]}`, "invalid", "message 2")
	c.refused(`{"op":"publish","topic":"orders","messages":[{"body":"x","headers":{"key":"x"}}]}`, "invalid", "can't have the header key")
	c.refused(`{"op":"publish","topic":"orders","messages":[]}`, "invalid", "messages")
	c.refused(`{"op":"publish","topic":"nowhere","messages":[{"body":"x"}]}`, "not_found", "Topic(nowhere)")
	if next := topic.Next(); next != 2 {
		t.Errorf("a refused publish stored something: the log ends at %d", next)
	}
	eventually(t, "nothing is accounted for", func() bool { return r.held.Load() == 0 })
}

func TestPublishesOfASocketKeepTheirOrderWithoutWaitingForAnswers(t *testing.T) {
	r := start(t)
	r.topic("orders")
	c := r.dial(nil)
	const n = 500
	go func() {
		for i := range n {
			_ = c.ws.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, `{"op":"publish","ref":"%d","topic":"orders","messages":[{"body":"x"}]}`, i))
		}
	}()
	for range n {
		if p := c.next().is(t, "published"); p.Ref != p.Results[0].Offset {
			t.Fatalf("publish %s is at offset %s", p.Ref, p.Results[0].Offset)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefusedByName(t *testing.T) {
	r := start(t)
	r.topic("orders")
	r.group(broker.GroupSpec{Topic: "orders", Name: "g"})
	if _, _, err := r.b.System().DeclareTopic(context.Background(), broker.TopicSpec{Name: "calls", Kind: storage.KindRPC}); err != nil {
		t.Fatal(err)
	}
	c := r.dial(nil)
	for _, x := range []struct{ frame, code, detail string }{
		{`{"op":"dance","ref":"1"}`, "invalid", `"dance"`},
		{`{}`, "invalid", `op ""`},
		{`{"op":"ping","pong":1}`, "invalid", `"pong"`},
		{`{"op":"subscribe","topic":"orders","grup":"g"}`, "invalid", `unknown member "grup" (did you mean "group"?)`},
		{`{"op":"publish","topic":"orders","messages":[{"boddy":"x"}]}`, "invalid", `unknown member "boddy" (did you mean "body"?)`},
		{`{"op":"nack","sub":"s1","handels":[]}`, "invalid", `(did you mean "handles"?)`},
		{`{"op":"nack","sub":"s1","zzz":[]}`, "invalid", `unknown member "zzz"`},
		{`{"op":"publish","topic":"calls","messages":[{"body":"x"}]}`, "invalid", "for calls"},
		{`{"op":"watch","channel":"weather"}`, "invalid", `"weather"`},
		{`{"op":"watch","channel":"server","topic":"orders"}`, "invalid", `no member "topic"`},
		{`{"op":"watch","channel":"topic"}`, "invalid", `"topic"`},
		{`{"op":"watch","channel":"topic","topic":"nowhere"}`, "not_found", "Topic(nowhere)"},
		{`{"op":"watch","channel":"tail","topic":"orders","limit":0}`, "invalid", "limit 0"},
		{`{"op":"unwatch","watch":"w9"}`, "not_found", `"w9"`},
		{`{"op":"subscribe","topic":"orders","group":"nobody"}`, "not_found", "ConsumeGroup(nobody)"},
		{`{"op":"subscribe","topic":"orders","group":"g","filter":"x"}`, "invalid", "leave out group"},
		{`{"op":"subscribe","topic":"orders","settle":"later"}`, "invalid", `"later"`},
		{`{"op":"subscribe","topic":"orders","start":"middle"}`, "invalid", "start"},
		{`{"op":"subscribe","topic":"orders","window":10001}`, "invalid", "window 10001"},
		{`{"op":"subscribe"}`, "invalid", `"topic"`},
		{`{"op":"ping","ref":"` + strings.Repeat("r", 65) + `"}`, "invalid", "64 bytes"},
		{`{"op":"ping"} {}`, "invalid", "JSON"},
		{`{"op":"publish","ref":"1","topic":"orders","messages":[{"body":"a"},{"bodyBase64":"%"}]}`, "invalid", "number 2 of messages: the member bodyBase64 is not base64 at character 1"},
		{`not json`, "invalid", "not JSON"},
		{`{"op":"publish","topic":"orders","messages":[{"body":"\ud800"}]}`, "invalid", `\ud800`},
		{"{\"op\":\"publish\",\"topic\":\"orders\",\"messages\":[{\"body\":\"caf\xe9\"}]}", "invalid", "the frame is not UTF-8 at byte 57; use bodyBase64"},
		{`[1]`, "invalid", "the frame"},
		{`{"op":7}`, "invalid", "op"},
	} {
		c.refused(x.frame, x.code, x.detail)
	}
}

func TestProblemsRepeatTheRefAndBinaryFramesAreRefused(t *testing.T) {
	r := start(t)
	c := r.dial(nil)
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, []byte(`{"op":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if p := c.next().is(t, "problem"); !strings.Contains(p.Detail, "binary") {
		t.Errorf("got %s", p.raw)
	}
	if g := c.refused(`{"op":"dance","ref":"mine"}`, "invalid", "dance"); g.Ref != "mine" {
		t.Errorf("got %s", g.raw)
	}
	c.call(`{"op":"ping","ref":"8"}`, "ok")
}

func TestFrameOverTheLimitEndsTheSocket(t *testing.T) {
	r := start(t, func(o *Options) { o.ReadLimit = 1000 })
	r.topic("orders")
	c := r.dial(nil)
	c.send(`{"op":"publish","topic":"orders","messages":[{"body":"` + strings.Repeat("x", 2000) + `"}]}`)
	if code := c.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("closed with status %d", code)
	}
	eventually(t, "the socket is gone", func() bool { return len(r.hub.Sessions()) == 0 && r.held.Load() == 0 })
}

func TestFramesOfAllSocketsTogetherAreBounded(t *testing.T) {
	r := start(t, func(o *Options) { o.ReadLimit = 1 << 20 })
	r.topic("orders")
	one, two := r.dial(nil), r.dial(nil)
	w, err := one.ws.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	frame := `{"op":"publish","topic":"orders","messages":[{"body":"` + strings.Repeat("x", 700<<10) + `"}]}`
	if _, err := w.Write([]byte(frame)); err != nil { // all but the end of the frame
		t.Fatal(err)
	}
	eventually(t, "the first frame is held", func() bool { return r.held.Load() > 500<<10 })
	two.send(frame)
	if p := two.next().is(t, "problem"); p.Code != "unavailable" {
		t.Errorf("got %s", p.raw)
	}
	if code := two.closed(); code != websocket.StatusTryAgainLater {
		t.Errorf("closed with status %d", code)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	one.next().is(t, "published")
}

func TestPageOfAnotherOriginIsRefused(t *testing.T) {
	for _, x := range []struct {
		origins []string
		origin  string
		ok      bool
	}{
		{nil, "https://evil.example", false},
		{nil, "", true},
		{[]string{"good.example"}, "https://good.example", true},
		{[]string{"good.example"}, "https://evil.example", false},
		{[]string{"*"}, "https://any.example", true},
	} {
		r := startFor(t, x.origins)
		opts := &websocket.DialOptions{HTTPHeader: http.Header{}}
		if x.origin != "" {
			opts.HTTPHeader.Set("Origin", x.origin)
		}
		ws, resp, err := websocket.Dial(context.Background(), r.url(), opts)
		if (err == nil) != x.ok {
			t.Errorf("origin %q with %q: %v", x.origin, x.origins, err)
		}
		if err == nil {
			_ = ws.CloseNow()
		} else if resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("answered with %v", resp)
		}
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
	}
}

func TestSocketsOverTheLimitAreTurnedAway(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxSockets = 1 })
	c := r.dial(nil)
	c.call(`{"op":"ping"}`, "ok")
	_, resp, err := websocket.Dial(context.Background(), r.url(), nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	_ = c.ws.CloseNow()
	eventually(t, "there is room again", func() bool {
		ws, resp, err := websocket.Dial(context.Background(), r.url(), nil)
		if err == nil {
			_ = ws.CloseNow()
		}
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return err == nil
	})
}
