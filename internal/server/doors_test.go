package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// publication is a message that is to be stored once, by its id.
type publication struct{ topic, id, tag, body string }

// outcome is what became of it, in the words of the HTTP API.
type outcome struct {
	offset    string
	duplicate bool
	code      string // why it was refused
}

// doors are the ways in which a message comes into a topic.
var doors = map[string]func(*testing.T, *instance, publication) outcome{
	"native": func(t *testing.T, b *instance, p publication) outcome {
		line := "produce topic=" + p.topic + " dedup=true zbus-id=" + p.id
		if p.tag != "" {
			line += " tag=" + p.tag
		}
		c := b.dial(t)
		c.send(line, p.body)
		a := c.recv()
		return outcome{a.Get("offset"), a.Get("duplicate") == "true", codes[a.Status]}
	},
	"native over HTTP": func(t *testing.T, b *instance, p publication) outcome {
		path := "/produce/" + p.topic + "?dedup=true&id=" + p.id
		if p.tag != "" {
			path += "&tag=" + p.tag
		}
		resp, err := http.Post("http://"+b.addr+path, "", strings.NewReader(p.body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return outcome{resp.Header.Get("offset"), resp.Header.Get("duplicate") == "true", codes[resp.StatusCode]}
	},
	"REST": func(t *testing.T, b *instance, p publication) outcome {
		return p.post(t, b, "topics/"+p.topic+"/messages", "application/json", p.json())
	},
	"REST, a list": func(t *testing.T, b *instance, p publication) outcome {
		return p.post(t, b, "topics/"+p.topic+"/messages", "application/json", "["+p.json()+"]")
	},
	"REST, lines": func(t *testing.T, b *instance, p publication) outcome {
		return p.post(t, b, "topics/"+p.topic+"/messages", "application/x-ndjson", p.json()+"\n")
	},
	"transaction": func(t *testing.T, b *instance, p publication) outcome {
		return p.post(t, b, "messages:transaction", "application/json", `{"messages": [{"topic": "`+p.topic+`", `+p.json()[1:]+`]}`)
	},
	"WebSocket": func(t *testing.T, b *instance, p publication) outcome {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/api/v1/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		err = ws.Write(t.Context(), websocket.MessageText, []byte(`{"op": "publish", "ref": "1", "topic": "`+p.topic+`", "messages": [`+p.json()+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		_, data, err := ws.Read(t.Context())
		if err != nil {
			return outcome{code: fmt.Sprint("closed: ", websocket.CloseStatus(err))}
		}
		return outcomeOf(t, data)
	},
}

// codes are the API's words for the statuses of the native protocol.
var codes = map[int]string{400: "invalid", 404: "not_found", 413: "too_large"}

func (p publication) json() string {
	members := map[string]string{"id": p.id, "body": p.body}
	if p.tag != "" {
		members["tag"] = p.tag
	}
	raw, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func (p publication) post(t *testing.T, b *instance, path, kind, body string) outcome {
	t.Helper()
	resp, err := http.Post("http://"+b.addr+"/api/v1/"+path, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return outcomeOf(t, raw.Bytes())
}

// outcomeOf reads an answer of the HTTP API, of a transaction or of its WebSocket.
func outcomeOf(t *testing.T, raw []byte) outcome {
	t.Helper()
	type result struct {
		Offset    string
		Duplicate bool
	}
	var answer struct {
		Code              string
		Results, Messages []result
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for _, r := range append(answer.Results, answer.Messages...) {
		return outcome{r.Offset, r.Duplicate, answer.Code}
	}
	return outcome{code: answer.Code}
}

// Whichever way a message comes, it can do the same and is refused for the same reasons.
func TestAllDoorsToATopicAreAlike(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxBody = 4096 })
	c := b.dial(t)
	c.ok("declare topic=calls topic_mask=2")
	for name, publish := range doors {
		t.Run(name, func(t *testing.T) {
			topic := strings.NewReplacer(" ", "", ",", "").Replace("to-" + name)
			b.dial(t).ok("declare topic=" + topic)
			message := publication{topic: topic, id: "a", tag: "x.y", body: "body"}
			other := message
			other.id = "b"
			calls, none, longID, longTag, large := message, message, message, message, message
			calls.topic, none.topic = "calls", "none"
			longID.id, longTag.tag = strings.Repeat("i", 129), strings.Repeat("t", 128)
			large.id, large.body = "large", strings.Repeat("x", 4097)
			for _, x := range []struct {
				what string
				publication
				want outcome
			}{
				{"the first message", message, outcome{offset: "0"}},
				{"its repeat", message, outcome{offset: "0", duplicate: true}},
				{"another one", other, outcome{offset: "1"}},
				{"a topic for calls", calls, outcome{code: "invalid"}},
				{"no topic", none, outcome{code: "not_found"}},
				{"an id too long", longID, outcome{code: "invalid"}},
				{"a tag too long", longTag, outcome{code: "invalid"}},
				{"a body too large", large, outcome{code: "too_large"}},
				{"the first one again", message, outcome{offset: "0", duplicate: true}},
			} {
				if got := publish(t, b, x.publication); got != x.want {
					t.Errorf("%s: %+v, want %+v", x.what, got, x.want)
				}
			}
			for another, publish := range doors {
				if got, want := publish(t, b, other), (outcome{offset: "1", duplicate: true}); got != want {
					t.Errorf("repeated by %s: %+v, want %+v", another, got, want)
				}
			}
		})
	}
}
