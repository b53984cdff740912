package sso

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Bounds of the sign-ons that are under way.
const (
	signOnTime = 10 * time.Minute
	maxSignOns = 10_000
	ofAddress  = 50
)

// signOn is one of a browser that is under way.
type signOn struct {
	browser  [sha256.Size]byte // of the secret in its cookie
	verifier string            // what the issuer wants to see with the code
	nonce    string            // what the issuer has to repeat
	redirect string
	address  string
	began    time.Duration
}

// pending are those under way.
type pending struct {
	mu    sync.Mutex
	all   map[string]*signOn // guarded by mu; by state
	since func() time.Duration
}

func (p *pending) init() {
	began := time.Now()
	p.all, p.since = map[string]*signOn{}, func() time.Duration { return time.Since(began) }
}

// add adds one, instead of the oldest of an address that has too many.
func (p *pending) add(state string, s *signOn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.began = p.since()
	oldest, n := "", 0
	for key, x := range p.all {
		switch {
		case s.began-x.began >= signOnTime:
			delete(p.all, key)
		case x.address == s.address:
			if n++; oldest == "" || x.began < p.all[oldest].began {
				oldest = key
			}
		}
	}
	if n >= ofAddress {
		delete(p.all, oldest)
	}
	if len(p.all) >= maxSignOns {
		return false
	}
	p.all[state] = s
	return true
}

// take uses one up.
func (p *pending) take(state, browser string) *signOn {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[state]
	delete(p.all, state)
	sum := sha256.Sum256([]byte(browser))
	if s == nil || p.since()-s.began >= signOnTime || subtle.ConstantTimeCompare(sum[:], s.browser[:]) != 1 {
		return nil
	}
	return s
}

// has reports whether there is one with a state.
func (p *pending) has(state string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[state] != nil
}

// Begin begins the sign-on of a browser: the page of the issuer that it has to go to, and the secret
// for a cookie, without which it can't be finished. redirect is where the issuer sends it back.
func (i *Issuer) Begin(ctx context.Context, redirect, address string) (page, browser string, err error) {
	if i.known.Load() == nil {
		i.askAgain(ctx)
	}
	k := i.known.Load()
	if k == nil {
		return "", "", i.silent()
	}
	state := rand.Text()
	browser = rand.Text()
	s := &signOn{
		browser: sha256.Sum256([]byte(browser)), verifier: oauth2.GenerateVerifier(), nonce: rand.Text(), redirect: redirect, address: address,
	}
	if !i.pending.add(state, s) {
		return "", "", &access.Refused{Text: "too many sign-ons are under way: try again", RetryAfter: time.Minute}
	}
	page = i.oauth(k, s, "").AuthCodeURL(state, oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier))
	return page, browser, nil
}

func (i *Issuer) oauth(k *known, s *signOn, secret string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: i.opts.ClientID, ClientSecret: secret, Endpoint: k.endpoint, RedirectURL: s.redirect,
		Scopes: append([]string{oidc.ScopeOpenID}, i.opts.Scopes...),
	}
}

// Finish finishes a sign-on with what the issuer has sent the browser back with. It can be tried
// once.
func (i *Issuer) Finish(ctx context.Context, browser, state, code string) (access.Assertion, error) {
	s := i.pending.take(state, browser)
	if s == nil {
		return access.Assertion{}, notBegun()
	}
	k := i.known.Load()
	if k == nil {
		return access.Assertion{}, i.silent()
	}
	secret := ""
	if i.opts.Secret != nil {
		var err error
		if secret, err = i.opts.Secret(); err != nil {
			i.opts.Log.Error("the secret for the issuer can't be read", "err", err)
			return access.Assertion{}, &access.Error{Text: "the broker can't read its secret for the issuer", Err: storage.ErrUnavailable}
		}
	}
	ctx = oidc.ClientContext(ctx, i.client)
	token, err := i.oauth(k, s, secret).Exchange(ctx, code, oauth2.VerifierOption(s.verifier))
	if err != nil {
		return access.Assertion{}, i.exchangeError(err)
	}
	a, err := i.identity(ctx, k, token, s.nonce)
	if err != nil {
		i.opts.Log.Info("sign-on refused", "err", err)
	}
	return a, refusal(err)
}

func notBegun() error {
	return &access.Refused{Text: "this sign-on was not begun in this browser, or is used up or too old: begin it again"}
}

// exchangeError is what a person is told when the issuer gave no token for a code.
func (i *Issuer) exchangeError(err error) error {
	i.opts.Log.Info("sign-on refused", "err", clip(err.Error(), 500))
	var said *oauth2.RetrieveError
	if !errors.As(err, &said) || said.Response.StatusCode >= 500 {
		return i.silent()
	}
	return &access.Refused{Text: "the issuer does not accept this sign-on: " + clip(said.ErrorCode, 80)}
}

// identity reads whom the tokens of a sign-on are of.
func (i *Issuer) identity(ctx context.Context, k *known, token *oauth2.Token, nonce string) (access.Assertion, error) {
	raw, _ := token.Extra("id_token").(string)
	t, c, err := i.read(ctx, raw)
	switch {
	case err != nil:
		return access.Assertion{}, err
	case !isFor(t.Audience, i.opts.ClientID) || len(t.Audience) > 1 && c["azp"] != i.opts.ClientID:
		return access.Assertion{}, errors.New("it is for another")
	case subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(nonce)) != 1:
		return access.Assertion{}, errors.New("it is of another sign-on")
	}
	if c.find(i.opts.GroupsClaim) == nil || c.find(i.opts.NameClaim) == nil {
		i.more(ctx, k, token, t.Subject, c)
	}
	return i.assertion(t, c)
}

func isFor(audience []string, client string) bool {
	for _, a := range audience {
		if a == client {
			return true
		}
	}
	return false
}

// more adds the claims that some issuers tell only when they are asked for them.
func (i *Issuer) more(ctx context.Context, k *known, token *oauth2.Token, subject string, c claims) {
	if k.provider.UserInfoEndpoint() == "" || CheckURL(k.provider.UserInfoEndpoint()) != nil {
		return
	}
	info, err := k.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	var said claims
	if err == nil {
		err = info.Claims(&said)
	}
	if err != nil || info.Subject != subject {
		i.opts.Log.Info("the issuer tells no more of who signs on", "err", err)
		return
	}
	for name, v := range said {
		if _, known := c[name]; !known {
			c[name] = v
		}
	}
}
