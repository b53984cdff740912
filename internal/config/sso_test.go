package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What is said of one issuer holds for no other.
func TestWhatIsSaidOfEachIssuer(t *testing.T) {
	c := Default()
	c.SSOIssuer = []string{"https://login.example", "partner=https://login.partner.example/a=b", "ci=https://ci.example"}
	c.SSOClientID = []string{"partner=their-zbus", "zbus=1"}
	c.SSOSecretFile = []string{"partner=their.secret"}
	c.SSOAudience = []string{"zbus", "ci=zbus", "ci=https://mq.example"}
	c.SSORoles = []string{"ops=operator", "partner=viewer", "partner=cn=staff=Viewer", "other=x=viewer"}
	c.SSONameClaim = []string{"partner=preferred_username", "email"}
	c.SSOGrantsClaim = []string{"ci=zbus"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	want := []Issuer{
		{
			URL: "https://login.example", ClientID: "zbus=1", Audience: []string{"zbus"}, NameClaim: "email", GroupsClaim: "groups", Scopes: []string{"profile", "email"},
			Roles: map[string][]string{"ops": {"operator"}, "partner": {"viewer"}, "other=x": {"viewer"}},
		},
		{
			Name: "partner", URL: "https://login.partner.example/a=b", ClientID: "their-zbus", SecretFile: "their.secret", NameClaim: "preferred_username", GroupsClaim: "groups",
			Scopes: []string{"profile", "email"}, Roles: map[string][]string{"cn=staff": {"viewer"}},
		},
		{
			Name: "ci", URL: "https://ci.example", Audience: []string{"zbus", "https://mq.example"}, NameClaim: "sub", GroupsClaim: "groups", GrantsClaim: "zbus",
			Scopes: []string{"profile", "email"}, Roles: map[string][]string{},
		},
	}
	if got := c.Issuers(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestIssuersThatMakeNoSense(t *testing.T) {
	for why, change := range map[string]func(*Config){
		"give all but one a name": func(c *Config) { c.SSOIssuer = []string{"https://a.example", "https://b.example"} },
		"such as partner=":        func(c *Config) { c.SSOIssuer = []string{"a=https://a.example", "a=https://b.example"} },
		"a name of its own":       func(c *Config) { c.SSOIssuer = []string{"a=https://a.example", "b=https://a.example"} },
		"localhost":               func(c *Config) { c.SSOIssuer = []string{"http://localhost:1", "localhost=https://a.example"} },
		"at most 16": func(c *Config) {
			for n := range 17 {
				c.SSOIssuer = append(c.SSOIssuer, fmt.Sprintf("n%d=https://%d.example", n, n))
			}
		},
		"one issuer has one alone": func(c *Config) { c.SSOClientID = []string{"x", "y"} },
		`sso-name-claim "x,y"`:     func(c *Config) { c.SSONameClaim = []string{"x", "y"} },
		"all issuers have names": func(c *Config) {
			c.SSOIssuer, c.SSOAudience = []string{"a=https://a.example"}, []string{"a=x", "y"}
		},
		`sso-audience, for programs`: func(c *Config) {
			c.SSOIssuer, c.SSOAudience = []string{"https://b.example", "a=https://a.example"}, []string{"y"}
		},
		`needs sso-client-id as well`: func(c *Config) { c.SSOSecretFile = []string{"f"} },
		`it is for programs`: func(c *Config) {
			c.SSOClientID, c.SSOAudience, c.SSOGrantsClaim = []string{"x"}, nil, []string{"grants"}
		},
	} {
		c := Default()
		c.SSOIssuer, c.SSOAudience = []string{"https://login.example"}, []string{"x"}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}
