package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// A page of an allowed origin, which can't set headers for a WebSocket, gets in by a ticket: once, as who has
// asked for it, and not for longer.
func TestAPageGetsInByATicketOnce(t *testing.T) {
	g := startGuarded(t, func(c *config.Config) { c.AllowOrigin = []string{"app.example.com"} })
	g.fixture()
	token, id := g.account("shop", nil, "browse:t")
	page := header{"Origin", "https://app.example.com"}
	dial := func(ticket, origin string) (*websocket.Conn, int) {
		t.Helper()
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+g.addr+base+"/ws", &websocket.DialOptions{
			Subprotocols: []string{"zbus", "zbus.ticket." + ticket}, HTTPHeader: http.Header{"Origin": {origin}},
		})
		if err != nil {
			return nil, resp.StatusCode
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, resp.StatusCode
	}
	get := func() string {
		t.Helper()
		return g.admin.post("/tickets", as(token), page).want(201).str("ticket")
	}
	g.admin.post("/tickets", page).refused(401, "unauthorized")
	g.admin.post("/tickets", as(token), header{"Origin", "https://evil.example"}).refused(403, "forbidden")

	ticket := get()
	if _, status := dial(ticket, "https://evil.example"); status != 403 && status != 401 {
		t.Errorf("a page of another origin: %d", status)
	}
	ticket = get()
	ws, status := dial(ticket, page.value)
	if status != 101 || ws.Subprotocol() != "zbus" {
		t.Fatalf("%d", status)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"publish","ref":"1","topic":"t","messages":[{"body":"x"}]}`)); err != nil {
		t.Fatal(err)
	}
	if _, frame, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(frame), "lacks the grant publish:t") {
		t.Errorf("%s %v", frame, err)
	}
	for what, bad := range map[string]string{"used": ticket, "unknown": "aaaa", "none": ""} {
		if _, status := dial(bad, page.value); status != 401 {
			t.Errorf("a ticket that is %s: %d", what, status)
		}
	}
	waiting := get()
	g.admin.do("DELETE", "/tokens/"+id, as(g.token)).want(204)
	for err := error(nil); err == nil; {
		_, _, err = ws.Read(t.Context())
		if err != nil && websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("the socket ends with %v", err)
		}
	}
	if _, status := dial(waiting, page.value); status != 401 {
		t.Errorf("a ticket of a token that was revoked: %d", status)
	}
}
