package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Defaults of what an issuer is asked for, and of where the name and the groups are in what it says.
const (
	defaultNameClaim   = "sub"
	defaultGroupsClaim = "groups"
)

func defaultScopes() []string { return []string{"profile", "email"} }

// Issuer is one that people and programs sign on with: what the settings that begin with sso- say of it.
type Issuer struct {
	// Name is what it is called here, in the names of its accounts (ann@partner) and on the login page; "" for the
	// one whose accounts have the names that it says.
	Name string
	URL  string

	ClientID, SecretFile                string
	NameClaim, GroupsClaim, GrantsClaim string
	Audience, Scopes                    []string
	Roles                               map[string][]string // by group
}

// maxIssuers is how many there can be.
const maxIssuers = 16

// isIssuerName accepts what an issuer may be called. It has no dot, as hosts have, so that it is taken for none.
func isIssuerName(s string) bool {
	return s != "" && len(s) <= 32 && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// cutIssuer cuts [NAME=]VALUE, if NAME can be that of an issuer.
func cutIssuer(s string) (name, value string) {
	if name, value, ok := strings.Cut(s, "="); ok && isIssuerName(name) {
		return name, value
	}
	return "", s
}

// isIssuer accepts the URL of an issuer: it is trusted with who people are, so it has TLS, or is on
// this machine.
func isIssuer(s string) bool {
	_, s = cutIssuer(s)
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	at, _ := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || at.IsLoopback())
}

func isMapping(s string) bool {
	group, role, ok := cutLast(s)
	return ok && group != "" && role != ""
}

// cutLast cuts GROUP=ROLE; a group may have = in its name, as those of directories do.
func cutLast(s string) (group, role string, ok bool) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 {
		return "", "", false
	}
	return s[:i], strings.ToLower(s[i+1:]), true
}

// shares are the values of a setting by the issuer that they are for: NAME=VALUE is for the one of that name, if
// there is one and VALUE is right by itself, and any other for the one without a name.
func (c *Config) shares(values []string, right func(string) bool) map[string][]string {
	shared := map[string][]string{}
	for _, v := range values {
		name, rest := cutIssuer(v)
		if name == "" || !right(rest) || !slices.ContainsFunc(c.SSOIssuer, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
			name, rest = "", v
		}
		shared[name] = append(shared[name], rest)
	}
	return shared
}

// Issuers are those that people and programs sign on with. Nothing that is said of one holds for another.
func (c *Config) Issuers() (all []Issuer) {
	ids, secrets := c.shares(c.SSOClientID, isAny), c.shares(c.SSOSecretFile, isAny)
	names, groups, grants := c.shares(c.SSONameClaim, isGiven), c.shares(c.SSOGroupsClaim, isGiven), c.shares(c.SSOGrantsClaim, isGiven)
	audience, scopes, roles := c.shares(c.SSOAudience, isGiven), c.shares(c.SSOScopes, isGiven), c.shares(c.SSORoles, isMapping)
	for _, s := range c.SSOIssuer {
		name, at := cutIssuer(s)
		i := Issuer{
			Name: name, URL: at, ClientID: first(ids[name], ""), SecretFile: first(secrets[name], ""), Audience: audience[name], Scopes: scopes[name],
			NameClaim: first(names[name], defaultNameClaim), GroupsClaim: first(groups[name], defaultGroupsClaim), GrantsClaim: first(grants[name], ""),
			Roles: map[string][]string{},
		}
		if len(i.Scopes) == 0 {
			i.Scopes = defaultScopes()
		}
		for _, x := range roles[name] {
			group, role, _ := cutLast(x)
			i.Roles[group] = append(i.Roles[group], role)
		}
		all = append(all, i)
	}
	return all
}

func first(values []string, or string) string {
	if len(values) == 0 {
		return or
	}
	return values[0]
}

func (c *Config) validateSSO() error {
	if len(c.SSOIssuer) > maxIssuers {
		return fmt.Errorf("sso-issuer: there are %d, at most %d are possible", len(c.SSOIssuer), maxIssuers)
	}
	all := c.Issuers()
	for n, i := range all {
		for _, other := range all[:n] {
			if i.URL == other.URL || i.Name == other.Name || i.shown() == other.shown() {
				return fmt.Errorf("sso-issuer %q: give all but one a name of its own, such as partner=%s", strings.Join(c.SSOIssuer, ","), i.URL)
			}
		}
	}
	if err := c.validateShares(all); err != nil {
		return err
	}
	for _, i := range all {
		switch {
		case i.ClientID == "" && i.SecretFile != "":
			return fmt.Errorf("sso-client-secret-file %q: needs sso-client-id as well", i.SecretFile)
		case i.GrantsClaim != "" && len(i.Audience) == 0:
			return fmt.Errorf("sso-grants-claim %q: needs sso-audience as well: it is for programs", i.GrantsClaim)
		case i.ClientID == "" && len(i.Audience) == 0:
			return fmt.Errorf("sso-issuer %q: needs sso-client-id, for people, or sso-audience, for programs", i.URL)
		}
	}
	return nil
}

// shown is what people know it by.
func (i *Issuer) shown() string {
	if u, err := url.Parse(i.URL); err == nil && i.Name == "" {
		return u.Hostname()
	}
	return i.Name
}

// validateShares refuses what is said of no issuer, or more than once of one.
func (c *Config) validateShares(all []Issuer) error {
	nameless := slices.ContainsFunc(all, func(i Issuer) bool { return i.Name == "" })
	initial := Default()
	for _, s := range []struct {
		name          string
		given, unless []string
		right         func(string) bool
		single        bool
	}{
		{"sso-client-id", c.SSOClientID, nil, isAny, true},
		{"sso-client-secret-file", c.SSOSecretFile, nil, isAny, true},
		{"sso-audience", c.SSOAudience, nil, isGiven, false},
		{"sso-roles", c.SSORoles, nil, isMapping, false},
		{"sso-name-claim", c.SSONameClaim, initial.SSONameClaim, isGiven, true},
		{"sso-groups-claim", c.SSOGroupsClaim, initial.SSOGroupsClaim, isGiven, true},
		{"sso-grants-claim", c.SSOGrantsClaim, nil, isGiven, true},
		{"sso-scopes", c.SSOScopes, initial.SSOScopes, isGiven, false},
	} {
		for issuer, values := range c.shares(s.given, s.right) {
			switch text := strings.Join(values, ","); {
			case issuer == "" && !nameless && !slices.Equal(values, s.unless) && len(all) == 0:
				return fmt.Errorf("%s %q: needs sso-issuer as well", s.name, text)
			case issuer == "" && !nameless && !slices.Equal(values, s.unless):
				return fmt.Errorf("%s %q: all issuers have names: say which it is for, such as %s=%s", s.name, text, all[0].Name, text)
			case s.single && len(values) > 1:
				return fmt.Errorf("%s %q: one issuer has one alone", s.name, text)
			}
		}
	}
	return nil
}
