package sso

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Issuers are all that are trusted. None vouches for an account of another: see [Options.Name].
type Issuers []*Issuer

// Check finds out whom the token of a program is of: see [access.Issuer]. The issuer that it names is the one whose
// keys it is checked with.
func (all Issuers) Check(ctx context.Context, token string) (access.Assertion, error) {
	at := all[0].opts.URL
	if len(all) > 1 && compact(token) {
		at = issuerIn(token)
	}
	for _, i := range all {
		if i.opts.URL == at {
			return i.Check(ctx, token)
		}
	}
	return access.Assertion{}, refusal(errors.New("it is of an issuer that is not trusted here"))
}

// issuerIn is the issuer that a token says it is of, which is not yet checked.
func issuerIn(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	part, _, _ := strings.Cut(rest, ".")
	var said struct {
		Issuer string `json:"iss"`
	}
	if raw, err := base64.RawURLEncoding.DecodeString(part); err != nil || json.Unmarshal(raw, &said) != nil {
		return ""
	}
	return said.Issuer
}

// Roles are all that groups of any can give.
func (all Issuers) Roles() (list []string) {
	for _, i := range all {
		list = append(list, i.Roles()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Run learns what they say of themselves, and keeps that fresh, until ctx ends.
func (all Issuers) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, i := range all {
		running.Go(func() { i.Run(ctx) })
	}
	running.Wait()
	return nil
}

// Names are those by which people know the issuers that they can sign on with in a browser.
func (all Issuers) Names() (names []string) {
	for _, i := range all {
		if i.opts.ClientID != "" {
			names = append(names, i.shown())
		}
	}
	return names
}

// Begin begins the sign-on of a browser with the issuer of a name, or with the first for "": see [Issuer.Begin].
func (all Issuers) Begin(ctx context.Context, name, redirect, address string) (page, browser string, err error) {
	for _, i := range all {
		if i.opts.ClientID != "" && (name == "" || i.shown() == name) {
			return i.Begin(ctx, redirect, address)
		}
	}
	return "", "", &access.Error{Text: "there is no issuer " + clip(name, 80) + " that people could sign on with", Err: storage.ErrNotFound}
}

// Finish finishes a sign-on: see [Issuer.Finish]. The code is for the issuer with which it was begun. from is the
// issuer that the browser was sent back by, where that says so: another one could have sent a code of its own, or
// want to have the one that belongs to this.
func (all Issuers) Finish(ctx context.Context, browser, state, code, from string) (access.Assertion, error) {
	for _, i := range all {
		if !i.pending.has(state) {
			continue
		}
		if k := i.known.Load(); from != i.opts.URL && (from != "" || len(all) > 1 && k != nil && k.says) {
			i.pending.take(state, browser)
			return access.Assertion{}, &access.Refused{Text: "this sign-on was begun with another issuer: begin it again"}
		}
		return i.Finish(ctx, browser, state, code)
	}
	return access.Assertion{}, notBegun()
}

// Logout is the page at which the issuer with a URL ends its own login, if it has one; it is asked to send the
// browser to back, unless that is "". The issuer knows this broker by its client ID: its token, which is more than
// that, would be in the address.
func (all Issuers) Logout(issuer, back string) string {
	for _, i := range all {
		k := i.known.Load()
		if i.opts.URL != issuer || k == nil || k.logout == nil {
			continue
		}
		page := *k.logout
		q := page.Query()
		q.Set("client_id", i.opts.ClientID)
		if back != "" {
			q.Set("post_logout_redirect_uri", back)
		}
		page.RawQuery = q.Encode()
		return page.String()
	}
	return ""
}

// shown is what people know the issuer by: its name, or its host.
func (i *Issuer) shown() string {
	if u, err := url.Parse(i.opts.URL); err == nil && i.opts.Name == "" {
		return u.Hostname()
	}
	return i.opts.Name
}
