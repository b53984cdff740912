package gateway

import (
	"context"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// A credential that the broker has judged was for the broker alone, a password too. Without
// access it is for the server behind.
func TestTheBrokersCredentialsStayHere(t *testing.T) {
	const basic = "Basic YW5uOmEgZ29vZCBwYXNzd29yZA==" // ann:a good password
	registry, err := access.New(access.Options{Mode: access.On, Save: func(context.Context, ...storage.Op) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.AddAccount(t.Context(), access.Owner(), access.Account{Name: "ann"}, "a good password"); err != nil {
		t.Fatal(err)
	}
	ann, err := registry.Authenticate(t.Context(), access.Credential{Account: "ann", Password: "a good password"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		who  *access.Principal
		want string
	}{{ann, ""}, {access.Open().Anonymous(), basic}} {
		ctx := context.WithValue(t.Context(), routeKey{}, &route{prefix: "/proxy/web", rest: "/"})
		in := httptest.NewRequestWithContext(access.With(ctx, access.Caller{Principal: x.who}), "GET", "/proxy/web/", nil)
		in.Header.Set("Authorization", basic)
		pr := &httputil.ProxyRequest{In: in, Out: in.Clone(in.Context())}
		rewrite(pr)
		if got := pr.Out.Header.Get("Authorization"); got != x.want {
			t.Errorf("the server behind gets %q, want %q", got, x.want)
		}
	}
}
