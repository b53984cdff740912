package sso

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/condition"
)

// served is an issuer whose answers a test chooses. URL in them stands for its own.
func served(t *testing.T, pages map[string]string) *Issuer {
	t.Helper()
	var web *httptest.Server
	web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		page, ok := pages[req.URL.Path]
		if to, redirects := strings.CutPrefix(page, "to "); redirects {
			http.Redirect(w, req, to, http.StatusFound)
		} else if !ok {
			http.NotFound(w, req)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.ReplaceAll(page, "URL", web.URL)))
	}))
	t.Cleanup(web.Close)
	return New(Options{URL: web.URL, ClientID: "console", Audiences: []string{"zbus"}, NameClaim: "sub", GroupsClaim: "groups", Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

const (
	description = `{"issuer":"URL","authorization_endpoint":"URL/a","token_endpoint":"URL/t","jwks_uri":"URL/keys"}`
	where       = "/.well-known/openid-configuration"
)

func keysOf(t *testing.T, keys ...any) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for i, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k, KeyID: fmt.Sprint(i)})
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// What an issuer says that nobody should go by is not gone by, and takes no more memory than it may.
func TestAnIssuerThatAnswersStrangely(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := keysOf(t, curve.Public())
	for what, x := range map[string]struct {
		pages map[string]string
		want  string
	}{
		"good":                  {map[string]string{where: description, "/keys": good}, ""},
		"no description":        {map[string]string{}, "404"},
		"another's name":        {map[string]string{where: strings.Replace(description, `"URL"`, `"https://evil.example"`, 1)}, "did not match"},
		"keys in the clear":     {map[string]string{where: strings.Replace(description, "URL/keys", "http://login.example/keys", 1)}, "must be https"},
		"a page that is none":   {map[string]string{where: strings.Replace(description, "URL/a", "javascript:alert(1)", 1)}, "must be a URL"},
		"tokens in the clear":   {map[string]string{where: strings.Replace(description, "URL/t", "http://login.example/", 1)}, "must be https"},
		"redirected":            {map[string]string{where: "to http://169.254.169.254/"}, "not followed"},
		"redirected to keys":    {map[string]string{where: description, "/keys": "to /others", "/others": good}, "not followed"},
		"too much":              {map[string]string{where: strings.Repeat(" ", maxAnswer) + description}, "too large"},
		"too many keys":         {map[string]string{where: description, "/keys": strings.Repeat(" ", maxAnswer) + good}, "too large"},
		"no keys":               {map[string]string{where: description, "/keys": `{"keys":[]}`}, "none of 0"},
		"keys that are none":    {map[string]string{where: description, "/keys": `{"keys":[{"kty":"oct","k":"AAAA"},7,{}]}`}, "none of 3"},
		"what is not JSON":      {map[string]string{where: description, "/keys": `<html>`}, "invalid character"},
		"private keys, as ours": {map[string]string{where: description, "/keys": keysOf(t, curve)}, "none of 1"},
	} {
		i := served(t, x.pages)
		err := i.ask(t.Context())
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v", what, err)
		}
		if (i.known.Load() != nil) != (err == nil) {
			t.Errorf("%s: something was learned from it", what)
		}
	}
}

func TestWhichKeysAreUsable(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("NOT TESTED: a weak key, which can't be made")
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		key  jose.JSONWebKey
		want bool
	}{
		{jose.JSONWebKey{Key: weak.Public()}, false},
		{jose.JSONWebKey{Key: strong.Public()}, true},
		{jose.JSONWebKey{Key: strong.Public(), Use: "enc"}, false},
		{jose.JSONWebKey{Key: strong}, false},
		{jose.JSONWebKey{Key: []byte("secret")}, false},
	} {
		if got := usable(&x.key); got != x.want {
			t.Errorf("%T for %q: %t", x.key.Key, x.key.Use, got)
		}
	}
}

// An issuer that does not answer is a condition until it does, and is no answer to who asks for a token to be
// checked.
func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	i := served(t, map[string]string{})
	i.opts.Conditions = condition.New(slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); i.Run(ctx) }()
	_, err := i.Check(t.Context(), "a.b.c")
	var told *access.Error
	if !errors.As(err, &told) {
		t.Errorf("got %v", err)
	}
	if list := i.opts.Conditions.List(); len(list) != 1 || list[0].Kind != "sso" || !strings.Contains(list[0].Text, "404") {
		t.Errorf("%+v", list)
	}
	stop()
	<-done
}

// Sign-ons that are begun and not finished take no more than they may, no matter where they are begun.
func TestSignOnsUnderWayAreBounded(t *testing.T) {
	var p pending
	p.init()
	now := time.Duration(0)
	p.since = func() time.Duration { return now }
	for n := range 3 * ofAddress {
		now++
		if !p.add(fmt.Sprint("one ", n), &signOn{address: "one"}) {
			t.Fatal("refused")
		}
	}
	if len(p.all) != ofAddress || p.all["one 0"] != nil || p.all[fmt.Sprint("one ", 3*ofAddress-1)] == nil {
		t.Errorf("one address has %d", len(p.all))
	}
	for n := range maxSignOns {
		p.add(fmt.Sprint("many ", n), &signOn{address: fmt.Sprint(n)})
	}
	if len(p.all) != maxSignOns || p.add("more", &signOn{address: "more"}) {
		t.Errorf("%d", len(p.all))
	}
	now += signOnTime
	if !p.add("later", &signOn{address: "more"}) || len(p.all) != 1 {
		t.Errorf("%d stay", len(p.all))
	}
	now += signOnTime
	if p.take("later", "") != nil {
		t.Error("one is good for too long")
	}
}

func TestClaims(t *testing.T) {
	c := claims{"a.b": "flat", "realm": map[string]any{"roles": []any{"x", 1.0, "y"}}, "scope": "read write", "one": "a group", "n": 1.0}
	for name, want := range map[string][]string{"a.b": {"flat"}, "realm.roles": {"x", "y"}, "scope": {"read", "write"}, "one": {"a group"}, "n": nil, "no": nil, "realm": nil, "realm.roles.x": nil, "": nil} {
		if got := listOf(name, c.find(name)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// No bytes make it do anything but refuse them.
func FuzzCheck(f *testing.F) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	i := New(Options{URL: "https://login.example", Audiences: []string{"zbus"}, NameClaim: "sub", GroupsClaim: "groups", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	i.known.Store(&known{keys: []jose.JSONWebKey{{Key: curve.Public(), KeyID: "0"}}})
	i.asked = time.Now().Add(time.Hour) // nobody is there to be asked
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6IjAifQ.e30.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if a, err := i.Check(t.Context(), token); err == nil {
			t.Errorf("%q is of %+v", token, a)
		}
	})
}
