package zbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// closed is a broker that wants to know who asks, with its administrator.
type closed struct {
	testing.TB
	*zbustest.Broker
}

// startClosed runs a broker with an account "app" that may do what the grants say.
func startClosed(t testing.TB, grants ...string) *closed {
	t.Helper()
	return startClosedWith(t, func(*config.Config) {}, grants...)
}

func startClosedWith(t testing.TB, set func(*config.Config), grants ...string) *closed {
	t.Helper()
	c := &closed{t, zbustest.Start(t, set, func(cfg *config.Config) { cfg.Auth = config.AuthAuto })}
	c.ask("POST", "/accounts", map[string]any{"name": "boss", "password": "a good password", "roles": []string{"admin"}})
	c.ask("POST", "/accounts", map[string]any{"name": "app", "grants": grants})
	return c
}

// ask makes a request to the API, as the administrator once there is one.
func (c *closed) ask(method, path string, body any) map[string]any {
	c.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.Fatal(err)
	}
	req, err := http.NewRequestWithContext(within(c), method, "http://"+c.Addr+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if path != "/accounts" || body.(map[string]any)["name"] != "boss" {
		req.SetBasicAuth("boss", "a good password")
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		c.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, answer)
	}
	var v map[string]any
	_ = json.Unmarshal(answer, &v) // a 204 has nothing
	return v
}

// token creates a token for the account "app".
func (c *closed) token() (id, token string) {
	c.Helper()
	v := c.ask("POST", "/tokens", map[string]any{"account": "app"})
	return v["id"].(string), v["token"].(string)
}

func (c *closed) revoke(id string) { c.Helper(); c.ask("DELETE", "/tokens/"+id, nil) }

// used reports whether the server has been given a token.
func (c *closed) used(id string) bool {
	c.Helper()
	for _, t := range c.ask("GET", "/tokens", nil)["tokens"].([]any) {
		if t := t.(map[string]any); t["id"] == id {
			return t["used"] != nil
		}
	}
	return false
}

func TestWhoHasNoGoodTokenIsUnauthorized(t *testing.T) {
	t.Parallel()
	b := startClosed(t, "publish,consume,manage:log", "consume:other")
	b.ask("POST", "/topics", map[string]any{"name": "other"})
	id, good := b.token()
	for _, scheme := range []string{"zbus://", "ws://"} {
		c := dial(t, scheme+b.Addr, zbus.Options{Token: good})
		declare(t, c, "log")
		if _, err := c.Publish(within(t), "log", zbus.Message{}); err != nil {
			t.Errorf("%s with a good token: %v", scheme, err)
		}
		_, err := c.Publish(within(t), "other", zbus.Message{})
		if !errors.Is(err, zbus.ErrForbidden) || !strings.Contains(err.Error(), "publish:other") {
			t.Errorf("%s without the grant: %v; the text must name it", scheme, err)
		}
		anonymous := dial(t, scheme+b.Addr, zbus.Options{})
		if _, err := anonymous.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrUnauthorized) || !strings.Contains(err.Error(), "token") {
			t.Errorf("%s without a token: %v", scheme, err)
		}
		_, err = zbus.Dial(within(t), scheme+b.Addr, zbus.Options{Token: "zb_" + id + "_wrong"})
		if !errors.Is(err, zbus.ErrUnauthorized) || errors.Is(err, zbus.ErrUnavailable) || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s with a wrong token: %v", scheme, err)
		}
		_, err = zbus.Dial(within(t), scheme+b.Addr, zbus.Options{Token: "zb_" + id + "_wrong", AllServers: true})
		if !errors.Is(err, zbus.ErrUnauthorized) || errors.Is(err, zbus.ErrUnavailable) {
			t.Errorf("%s, a cluster with a wrong token: %v", scheme, err)
		}
	}
	cluster, err := zbus.Dial(within(t), b.Addr, zbus.Options{Token: good, AllServers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	if _, err := cluster.Publish(within(t), "log", zbus.Message{}); err != nil {
		t.Errorf("a cluster with a good token: %v", err)
	}
	if _, err := zbus.Dial(within(t), b.Addr, zbus.Options{Token: good + "\n"}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("a token with a line end: %v", err)
	}
	none := errors.New("the vault is sealed")
	source := func(context.Context) (string, time.Time, error) { return "", time.Time{}, none }
	if _, err := zbus.Dial(within(t), b.Addr, zbus.Options{TokenSource: source}); !errors.Is(err, none) {
		t.Errorf("a source without a token: %v", err)
	}
}

func TestRevokedTokenEndsTheConnectionAndIsNotTriedInALoop(t *testing.T) {
	t.Parallel()
	b := startClosed(t, "publish,manage:log")
	id, token := b.token()
	news := make(chan zbus.State, 100)
	opts := hurried
	opts.Token, opts.ReconnectTimeout = token, time.Minute
	opts.OnState = func(s zbus.State) { news <- s }
	c := dial(t, b.Addr, opts)
	declare(t, c, "log")
	receive(t, "the connection", news)

	began := time.Now()
	b.revoke(id)
	if s := receive(t, "the loss", news); s.Connected || s.Err == nil {
		t.Errorf("state %+v", s)
	}
	if s := receive(t, "the refusal", news); !errors.Is(s.Err, zbus.ErrUnauthorized) {
		t.Errorf("state %+v", s)
	}
	if _, err := c.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrUnauthorized) || errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("a publish: %v", err)
	}
	receive(t, "another refusal", news)
	if took := time.Since(began); took < 900*time.Millisecond { // the first attempt was later than that
		t.Errorf("the next attempt came after %v", took)
	}
}

func TestTokenSourceGivesAnotherTokenAtReconnect(t *testing.T) {
	t.Parallel()
	b := startClosed(t, "publish,consume,manage:jobs")
	var next atomic.Value
	id, token := b.token()
	next.Store(token)
	opts := hurried
	opts.TokenSource = func(context.Context) (string, time.Time, error) { return next.Load().(string), time.Time{}, nil }
	for _, scheme := range []string{"zbus://", "ws://"} {
		c := dial(t, scheme+b.Addr, opts)
		got := make(chan string, 10)
		_, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Declare: jobs}, func(_ context.Context, d *zbus.Delivery) error {
			got <- d.ID
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		old := id
		id, token = b.token()
		next.Store(token)
		b.revoke(old)
		_, err = c.Publish(within(t), "jobs", zbus.Message{ID: scheme})
		for errors.Is(err, zbus.ErrUnknownOutcome) || errors.Is(err, zbus.ErrUnauthorized) { // sent before the loss was noticed
			_, err = c.Publish(within(t), "jobs", zbus.Message{ID: scheme})
		}
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		for receive(t, "the message", got) != scheme {
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// said is a writer of what is said.
type said chan<- string

func (s said) Write(p []byte) (int, error) {
	s <- string(p)
	return len(p), nil
}

// The connection and its subscriptions outlive the token by which they were begun.
func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	b := startClosed(t, "publish,consume,manage:jobs")
	type made struct{ id, token string }
	tokens := make([]made, 2)
	for i := range tokens {
		tokens[i].id, tokens[i].token = b.token()
	}
	var asked atomic.Int64
	news := make(chan zbus.State, 100)
	opts := hurried
	warned := make(chan string, 100)
	opts.Log = slog.New(slog.NewTextHandler(said(warned), &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts.OnState = func(s zbus.State) { news <- s }
	opts.TokenSource = func(context.Context) (string, time.Time, error) {
		if n := asked.Add(1); n == 1 {
			return tokens[0].token, time.Now().Add(1500 * time.Millisecond), nil
		}
		return tokens[1].token, time.Time{}, nil
	}
	c := dial(t, b.Addr, opts)
	receive(t, "the connection", news)
	got := make(chan string, 10)
	_, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Declare: jobs}, func(_ context.Context, d *zbus.Delivery) error {
		got <- d.ID
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !b.used(tokens[1].id); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the token is not renewed")
		}
	}
	b.revoke(tokens[0].id)
	for i := range 10 {
		if _, err := c.Publish(within(t), "jobs", zbus.Message{ID: fmt.Sprint(i)}); err != nil {
			t.Errorf("after the first token has ended: %v", err)
		}
		for receive(t, "the message", got) != fmt.Sprint(i) {
		}
	}
	select {
	case s := <-news:
		t.Errorf("the connection was lost: %+v", s)
	case text := <-warned: // the subscription was refused, and is made again
		t.Errorf("the client says %s", text)
	default:
	}
}
