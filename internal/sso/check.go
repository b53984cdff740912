package sso

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/rushmore/zbus-go/internal/access"
)

const (
	// leeway is how much later the clock of the issuer may be.
	leeway = time.Minute
	// longest is for how long a token is good at most.
	longest   = 10 * 365 * 24 * time.Hour
	maxGroups = 1000
)

// claims are the members of a token.
type claims map[string]any

// Check finds out whom the token of a program is of: see [access.Issuer].
func (i *Issuer) Check(ctx context.Context, token string) (access.Assertion, error) {
	t, c, err := i.read(ctx, token)
	if err == nil && !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(i.opts.Audiences, a) }) {
		err = fmt.Errorf("it is for %q", clip(strings.Join(t.Audience, " "), 100))
	}
	if err == nil && c["cnf"] != nil {
		err = errors.New("it is good only with a key of who has it")
	}
	var a access.Assertion
	if err == nil {
		a, err = i.assertion(t, c)
	}
	if err == nil {
		if a.Grants, err = i.grantsOf(c); err != nil {
			i.opts.Log.Warn("a token of the issuer is refused for its grants", "subject", clip(t.Subject, 100), "err", err)
		}
	}
	return a, refusal(err)
}

// refusal is what a client is told of a token that is no good.
func refusal(err error) error {
	var told *access.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &access.Refused{Text: "the token of the issuer is not accepted: " + strings.TrimPrefix(err.Error(), "oidc: ")}
}

// read checks a token: that the issuer has signed it, and that it is good now.
func (i *Issuer) read(ctx context.Context, token string) (*oidc.IDToken, claims, error) {
	if !compact(token) {
		return nil, nil, errors.New("it is no signed token in the compact form")
	}
	if i.known.Load() == nil {
		if i.askAgain(ctx); i.known.Load() == nil {
			return nil, nil, i.silent()
		}
	}
	t, err := oidc.NewVerifier(i.opts.URL, i, &oidc.Config{
		SkipClientIDCheck: true, SkipExpiryCheck: true, // which are checked here, more strictly
		SupportedSigningAlgs: algorithms,
	}).Verify(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return nil, nil, err
	}
	return t, c, i.timely(t, c)
}

// timely refuses a token that is not good now.
func (i *Issuer) timely(t *oidc.IDToken, c claims) error {
	now := i.opts.Now()
	switch notBefore, given := c["nbf"].(float64); {
	case c["exp"] == nil:
		return errors.New("it does not say when it expires")
	case !t.Expiry.After(now):
		return fmt.Errorf("it has expired at %s", t.Expiry.UTC().Format(time.RFC3339))
	case c["nbf"] != nil && (!given || notBefore > float64(now.Add(leeway).Unix())):
		return errors.New("it is not good yet")
	case t.IssuedAt.After(now.Add(leeway)):
		return errors.New("it was issued in the future")
	}
	return nil
}

// assertion is what a token says of whom it is of.
func (i *Issuer) assertion(t *oidc.IDToken, c claims) (access.Assertion, error) {
	name, _ := c.find(i.opts.NameClaim).(string)
	switch {
	case t.Subject == "":
		return access.Assertion{}, errors.New("it has no subject")
	case name == "":
		return access.Assertion{}, fmt.Errorf("its claim %s, which is to name the account, is missing", i.opts.NameClaim)
	case i.opts.NameClaim == "email" && c["email_verified"] != nil && c["email_verified"] != true:
		return access.Assertion{}, errors.New("its mail address is not verified")
	}
	name, err := i.accountOf(name)
	if err != nil {
		return access.Assertion{}, err
	}
	now := i.opts.Now()
	left := min(t.Expiry.Sub(now), longest)
	return access.Assertion{
		Name: name, Issuer: i.opts.URL, Subject: t.Subject, Roles: i.rolesOf(c), Expires: now.Add(left).UnixMilli(), Left: left,
	}, nil
}

// accountOf is the account of a person or program that the issuer knows by a name. Accounts of an issuer with a name
// end in that, so no two issuers have an account in common.
func (i *Issuer) accountOf(name string) (string, error) {
	if i.opts.Name != "" {
		return name + "@" + i.opts.Name, nil
	}
	for _, other := range i.opts.Others {
		if strings.HasSuffix(strings.ToLower(name), "@"+other) {
			return "", fmt.Errorf("it names %q, which is an account of the issuer %s", clip(name, 80), other)
		}
	}
	return name, nil
}

// rolesOf are the roles of the groups that a token has.
func (i *Issuer) rolesOf(c claims) (roles []string) {
	for n, group := range listOf(i.opts.GroupsClaim, c.find(i.opts.GroupsClaim)) {
		if n == maxGroups {
			break
		}
		roles = append(roles, i.opts.Roles[group]...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// grantsOf are the grants that a program's token has. One that can't be read refuses the token: what it leaves out
// could be what narrows the others.
func (i *Issuer) grantsOf(c claims) (grants []string, err error) {
	said := c.find(i.opts.GrantsClaim)
	if i.opts.GrantsClaim == "" || said == nil {
		return nil, nil
	}
	if text, is := said.(string); is {
		grants = strings.Fields(text)
	} else {
		grants = listOf("", said)
	}
	if all, is := said.([]any); len(grants) == 0 || is && len(all) != len(grants) {
		return nil, fmt.Errorf("its claim %s has no grants, or what is none", i.opts.GrantsClaim)
	}
	if err := access.CheckIssued(grants); err != nil { // not wrapped: the request is not invalid, its token is refused
		return nil, fmt.Errorf("its claim %s: %s", i.opts.GrantsClaim, err.Error())
	}
	return grants, nil
}

// find is a claim by its name, or by the names on the way to it with dots between.
func (c claims) find(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if inner, is := c[first].(map[string]any); ok && is {
		return claims(inner).find(rest)
	}
	return nil
}

// listOf reads a claim of groups: a list, or one. Scopes are one text with spaces between them.
func listOf(name string, v any) (list []string) {
	switch v := v.(type) {
	case string:
		if name == "scope" || name == "scp" {
			return strings.Fields(v)
		}
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}
