package live

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// late revokes a credential after it was looked at, and before the socket is the hub's.
type late struct {
	Accounts
	revoke func()
}

func (l *late) Socket(ctx context.Context) (func(), error) {
	l.revoke()
	return l.Accounts.Socket(ctx)
}

// A socket is open as long as its credential is good, also if that ends while it is being opened.
func TestACredentialThatEndsWhileASocketIsOpenedEndsIt(t *testing.T) {
	registry, err := access.New(access.Options{Mode: access.On, Save: func(context.Context, ...storage.Op) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	by := access.Actor{Administers: true}
	if err := registry.AddAccount(t.Context(), by, access.Account{Name: "shop"}, ""); err != nil {
		t.Fatal(err)
	}
	token, text, err := registry.CreateToken(t.Context(), by, access.Token{Account: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	who, err := registry.Authenticate(t.Context(), access.Credential{Token: text})
	if err != nil {
		t.Fatal(err)
	}
	accounts := &late{}
	r := start(t, func(o *Options) { accounts.Accounts, o.Accounts = o.Accounts, accounts })
	registry.Watch(r.hub.Changed)
	judged := make(chan struct{})
	accounts.revoke = func() {
		if err := registry.RevokeToken(t.Context(), by, token.ID); err != nil {
			t.Error(err)
		}
		for len(r.hub.rights) > 0 { // the others are judged
			time.Sleep(time.Millisecond)
		}
		close(judged)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.hub.ServeHTTP(w, req.WithContext(access.With(req.Context(), access.Caller{Principal: who, Address: req.RemoteAddr})))
	}))
	defer server.Close()
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	<-judged
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the socket is still open: %v", err)
	}
}
