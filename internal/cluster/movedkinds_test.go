package cluster_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/zbustest"
)

// consumer is who consumes a group at a server over HTTP. It returns what has come, which it has
// settled, and at the end false.
type consumer func() (body string, more bool)

// Clients of HTTP consume what is left on a drained server, and are told where to go; no publish
// fails for those who go where they are sent.
func TestClientsOverHTTPMoveFromADrainedServer(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T, addr string) consumer{"pull": pulls, "websocket": listens, "events": streams} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := set(t, 2)
			for _, c := range shared(t, all, "orders") {
				mask := "64"
				if name == "events" {
					mask = "0"
				}
				c.ok("declare", "topic", "orders", "consume_group", "g", "group_mask", mask, "group_ack_timeout", "600000")
			}
			moves(t, all, begin)
		})
	}
}

func moves(t *testing.T, all []*zbustest.Broker, begin func(t *testing.T, addr string) consumer) {
	const half = 20
	a, b := all[0].Addr, all[1].Addr
	// publish sends a message to a server, and goes where that sends it on.
	publish := func(n int) {
		t.Helper()
		body := fmt.Sprintf(`{"body":"%d"}`, n)
		resp, v := ask(t, a, "POST", "/topics/orders/messages", body)
		if to, _ := v["servers"].([]any); resp.StatusCode == 503 && len(to) == 1 && to[0] == b {
			resp, v = ask(t, b, "POST", "/topics/orders/messages", body)
		}
		if resp.StatusCode != 201 {
			t.Fatalf("message %d: %s %v", n, resp.Status, v)
		}
	}
	for n := range half {
		publish(n)
	}
	next := begin(t, a)
	got := map[string]int{}
	for range 3 {
		body, _ := next()
		got[body]++
	}
	request(t, a, "POST", "/servers/"+a+":drain", "", false)
	for n := half; n < 2*half; n++ {
		publish(n)
	}
	for {
		body, more := next()
		if !more {
			break
		}
		got[body]++
	}
	if len(got) != half {
		t.Errorf("%d messages came from the drained server, want the %d that it had", len(got), half)
	}
	// Who comes again is sent to the other server.
	for path, body := range map[string]string{"/topics/orders/groups/g:pull": `{}`, "/topics/orders/events": ""} {
		method := "POST"
		if body == "" {
			method = "GET"
		}
		if resp, v := ask(t, a, method, path, body); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !slices.Equal(v["servers"].([]any), []any{b}) {
			t.Errorf("%s: %s %v", path, resp.Status, v)
		}
	}
	next = begin(t, b)
	for len(got) < 2*half {
		body, more := next()
		if !more {
			t.Fatalf("the other server ends it after %d messages", len(got))
		}
		got[body]++
	}
	for body, n := range got {
		if n != 1 {
			t.Errorf("message %s came %d times", body, n)
		}
	}
}

// A pull consumer is not connected while it handles a message. What is left is for it all the same.
func TestPullConsumerHasTimeToHandleWhatItHas(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	a, b := all[0].Addr, all[1].Addr
	for _, c := range shared(t, all, "orders") {
		c.ok("declare", "topic", "orders", "consume_group", "g", "group_mask", "64", "group_ack_timeout", "600000")
	}
	request(t, a, "POST", "/topics/orders/messages", `[{"body":"1"},{"body":"2"}]`, false)
	pull := func() (answer, map[string]any) {
		return ask(t, a, "POST", "/topics/orders/groups/g:pull", `{"max":1}`)
	}
	var handles []string
	for i := range 2 {
		resp, v := pull()
		if list, _ := v["deliveries"].([]any); resp.StatusCode != 200 || len(list) != 1 {
			t.Fatalf("message %d: %s %v", i, resp.Status, v)
		} else {
			handles = append(handles, fmt.Sprintf("%q", list[0].(map[string]any)["handle"]))
		}
		if i == 0 {
			request(t, a, "POST", "/servers/"+a+":drain", "", false)
			<-time.After(1500 * time.Millisecond) // which is how long it takes to handle
		}
	}
	request(t, a, "POST", "/topics/orders/groups/g:ack", `{"handles":[`+strings.Join(handles, ",")+`]}`, false)
	eventually(t, "it is sent to the other server", func() bool {
		resp, v := pull()
		return resp.StatusCode == 503 && slices.Equal(v["servers"].([]any), []any{b})
	})
}

// pulls pulls a message at a time, and acks it once it has the next one or there is none. A server that is
// drained takes who holds nothing and does not ask for a second for gone, which it need not be on a machine that
// is busy.
func pulls(t *testing.T, addr string) consumer {
	held := ""
	ack := func() {
		if held != "" {
			request(t, addr, "POST", "/topics/orders/groups/g:ack", fmt.Sprintf(`{"handles":[%q]}`, held), false)
		}
		held = ""
	}
	return func() (string, bool) {
		for {
			resp, v := ask(t, addr, "POST", "/topics/orders/groups/g:pull", `{"max":1,"timeout":100}`)
			if resp.StatusCode == 503 {
				return "", false
			}
			list, _ := v["deliveries"].([]any)
			ack()
			if len(list) == 0 {
				continue
			}
			d := list[0].(map[string]any)
			held = d["handle"].(string)
			return d["body"].(string), true
		}
	}
}

// listens subscribes by the WebSocket of the API, and acks each message.
func listens(t *testing.T, addr string) consumer {
	ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/api/v1/ws", nil) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	say := func(text string) {
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"op":"subscribe","ref":"s","topic":"orders","group":"g","window":100}`)
	return func() (string, bool) {
		for {
			_, frame, err := ws.Read(t.Context())
			if err != nil {
				if status := websocket.CloseStatus(err); !strings.Contains(err.Error(), "drained") || status == -1 {
					t.Errorf("it ends with %v", err)
				}
				return "", false
			}
			var m struct {
				Type, Sub string
				Message   struct{ Body, Handle string }
			}
			if err := json.Unmarshal(frame, &m); err != nil {
				t.Fatal(err)
			}
			switch m.Type {
			case "message":
				say(fmt.Sprintf(`{"op":"ack","ref":"k","sub":%q,"handles":[%q]}`, m.Sub, m.Message.Handle))
				return m.Message.Body, true
			case "problem", "end":
				t.Fatalf("%s", frame)
			}
		}
	}
}

// streams reads server-sent events.
func streams(t *testing.T, addr string) consumer {
	resp, err := http.Get("http://" + addr + "/api/v1/topics/orders/events?group=g")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	in := bufio.NewScanner(resp.Body)
	return func() (string, bool) {
		for end := false; in.Scan(); {
			line := in.Text()
			end = end || line == "event: end"
			data, ok := strings.CutPrefix(line, "data: ")
			if ok && end {
				if !strings.Contains(data, "drained") {
					t.Errorf("it ends with %q", data)
				}
				return "", false
			}
			var m struct{ Body string }
			if ok && json.Unmarshal([]byte(data), &m) == nil {
				return m.Body, true
			}
		}
		t.Errorf("it ends without a reason: %v", in.Err())
		return "", false
	}
}
