package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// isIssuer accepts the URL of an issuer: it is trusted with who people are, so it has TLS, or is on
// this machine.
func isIssuer(s string) bool {
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

// RolesOfGroups is SSORoles as a table.
func (c *Config) RolesOfGroups() map[string][]string {
	roles := map[string][]string{}
	for _, x := range c.SSORoles {
		group, role, _ := cutLast(x)
		roles[group] = append(roles[group], role)
	}
	return roles
}

func (c *Config) validateSSO() error {
	switch {
	case c.SSOIssuer == "" && c.SSOClientID != "":
		return fmt.Errorf("sso-client-id %q: needs sso-issuer as well", c.SSOClientID)
	case c.SSOIssuer == "" && len(c.SSOAudience) > 0:
		return fmt.Errorf("sso-audience %q: needs sso-issuer as well", strings.Join(c.SSOAudience, ","))
	case c.SSOIssuer == "" && len(c.SSORoles) > 0:
		return fmt.Errorf("sso-roles %q: needs sso-issuer as well", strings.Join(c.SSORoles, ","))
	case c.SSOClientID == "" && c.SSOSecretFile != "":
		return fmt.Errorf("sso-client-secret-file %q: needs sso-client-id as well", c.SSOSecretFile)
	case c.SSOGrantsClaim != "" && len(c.SSOAudience) == 0:
		return fmt.Errorf("sso-grants-claim %q: needs sso-audience as well: it is for programs", c.SSOGrantsClaim)
	case c.SSOIssuer != "" && c.SSOClientID == "" && len(c.SSOAudience) == 0:
		return fmt.Errorf("sso-issuer %q: needs sso-client-id, for people, or sso-audience, for programs", c.SSOIssuer)
	}
	return nil
}
