package contract

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// socketFrames are what can be sent on the WebSocket of the API, with what it takes. What is of something that the client has
// itself begun takes nothing more.
var socketFrames = map[string]string{
	`{"op":"publish","topic":"t","messages":[{"body":"x"}]}`: "publish t",
	`{"op":"subscribe","topic":"t","group":"g"}`:             "consume t/g",
	`{"op":"subscribe","topic":"t"}`:                         "consume t",
	`{"op":"call","ref":"c","topic":"t","method":"m"}`:       "call t",
	`{"op":"serve","topic":"t"}`:                             "serve t",
	`{"op":"watch","channel":"tail","topic":"t"}`:            "browse t",
	`{"op":"watch","channel":"topic","topic":"t"}`:           "see t",
	`{"op":"watch","channel":"service","topic":"t"}`:         "see t",
	`{"op":"watch","channel":"topics"}`:                      "observe",
	`{"op":"watch","channel":"groups"}`:                      "observe",
	`{"op":"watch","channel":"rpc"}`:                         "observe",
	`{"op":"watch","channel":"attention"}`:                   "observe",
	`{"op":"watch","channel":"server"}`:                      "see",
	`{"op":"watch","channel":"sessions"}`:                    "sessions",
	`{"op":"watch","channel":"audit"}`:                       "sessions",
	`{"op":"ping"}`:                                          "nothing",
	`{"op":"unsubscribe","sub":"none"}`:                      "nothing",
	`{"op":"credit","sub":"none","credit":1}`:                "nothing",
	`{"op":"ack","sub":"none","handles":["0.x"]}`:            "nothing",
	`{"op":"nack","sub":"none","handles":["0.x"]}`:           "nothing",
	`{"op":"extend","sub":"none","handles":["0.x"]}`:         "nothing",
	`{"op":"answer","sub":"none","id":"none","result":1}`:    "nothing",
	`{"op":"unwatch","watch":"none"}`:                        "nothing",
}

// And so are the ops and channels of the WebSocket: all that its contract has.
func TestFramesTakeTheirPermission(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	contract, err := os.ReadFile("../../asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sent strings.Builder
	for frame := range socketFrames {
		sent.WriteString(frame)
	}
	ops := regexp.MustCompile(`(?m)^ *op: \{ const: (\w+) \}`).FindAllStringSubmatch(string(contract), -1)
	channels := regexp.MustCompile(`(?m)^ *enum: \[(server, [^]]*)\]`).FindStringSubmatch(string(contract))
	if len(ops) < 13 || len(channels) != 2 {
		t.Fatalf("the contract has %d ops and the channels %q", len(ops), channels)
	}
	for _, op := range ops {
		if !strings.Contains(sent.String(), `"op":"`+op[1]+`"`) {
			t.Errorf("the op %s is not in the matrix", op[1])
		}
	}
	for channel := range strings.SplitSeq(channels[1], ", ") {
		if !strings.Contains(sent.String(), `"channel":"`+channel+`"`) {
			t.Errorf("the channel %s is not in the matrix", channel)
		}
	}
	for _, s := range subjects {
		token, _ := g.account(s.name, s.roles, s.grants...)
		ws := g.socket(t, token)
		for frame, need := range socketFrames {
			s.judge(t, frame, need, statusOf(t, ws, frame), "")
		}
		_ = ws.CloseNow()
	}
	g.refusesSockets(t)
}

// statusOf sends a frame, and gives the status of what it is refused with; 0: it is not, or for something else. The
// answer to a ping ends what comes before: some frames have no answer.
func statusOf(t *testing.T, ws *websocket.Conn, frame string) (status int) {
	t.Helper()
	for _, f := range []string{frame, `{"op":"ping","ref":"end"}`} {
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		m := socketAnswer(t, ws)
		if m["ref"] == "end" {
			return status
		}
		if code := map[any]int{"forbidden": 403, "unauthorized": 401, "not_found": 404}[m["code"]]; status == 0 {
			status = code
		}
	}
}

// refusesSockets tries to open one with each token that is no good, and with none.
func (g *guarded) refusesSockets(t *testing.T) {
	t.Helper()
	for name, token := range g.badTokens() {
		for how, options := range map[string]*websocket.DialOptions{
			"a header":      {HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}},
			"a subprotocol": {Subprotocols: []string{"zbus", "zbus.token." + token}},
			"a ticket":      {Subprotocols: []string{"zbus", "zbus.ticket." + token}},
		} {
			_, resp, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/api/v1/ws", options)
			if err == nil || resp == nil || resp.StatusCode != 401 && resp.StatusCode != 429 {
				t.Errorf("a WebSocket with a token that is %s, by %s: %v", name, how, err)
			}
		}
	}
	if _, resp, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/api/v1/ws", nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("without a token: %v", err)
	}
}

// What is served beside the API, the commands and the WebSocket takes what it should as well.
func TestOtherRoutesTakeTheirPermission(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	g.admin.post("/topics", object{"name": "service", "kind": "proxy"}, as(g.token))
	routes := map[string]string{
		"/metrics": "observe", "/proxy/t/x": "call t", "/produce/t": "publish t", "/t": "publish t", "/query": "see", "/tracker": "see",
		"/": "nothing", "/healthz": "nothing", "/readyz": "nothing", "/ui/": "nothing", "/api/v1/openapi.yaml": "nothing", "/api/v1/asyncapi.yaml": "nothing",
	}
	bad := g.badTokens()
	for _, s := range subjects {
		token, _ := g.account(s.name, s.roles, s.grants...)
		for path, need := range routes {
			s.judge(t, path, need, g.got(t, path, token), "")
		}
	}
	for path, need := range routes {
		bad["absent"] = ""
		for name, token := range bad {
			status := g.got(t, path, token)
			if public := need == "nothing"; !public && status != 401 && status != 429 || public && token == "" && status >= 400 {
				t.Errorf("%s with a token that is %s: %d", path, name, status)
			}
		}
	}
}

// got is the status of a GET with a token, if there is one.
func (g *guarded) got(t *testing.T, path, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
