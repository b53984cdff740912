package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/zbus"
)

func TestFlagsAreStrongerThanVariablesThanTheContext(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	all := &contexts{Current: "work", Contexts: map[string]Context{
		"work": {Server: "work:1", Token: "work's"}, "home": {Server: "https://home", Token: "home's"},
	}}
	if err := all.save(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags   Servers
		environ map[string]string
		api     string
		token   string
	}{
		"context in use":            {api: "http://work:1", token: "work's"},
		"context by flag":           {flags: Servers{context: "home"}, api: "https://home:15555", token: "home's"},
		"context by variable":       {environ: map[string]string{"ZBUS_CONTEXT": "home"}, api: "https://home:15555", token: "home's"},
		"token by flag":             {flags: Servers{tokenFile: file}, environ: map[string]string{"ZBUS_TOKEN": "other"}, api: "http://work:1", token: "mine"},
		"a context by its server":   {flags: Servers{server: "https://home"}, api: "https://home:15555", token: "home's"},
		"token by variable":         {environ: map[string]string{"ZBUS_TOKEN": "mine"}, api: "http://work:1", token: "mine"},
		"a token stays at home":     {flags: Servers{server: "other"}, api: "http://other:15555"},
		"also with a context named": {flags: Servers{server: "other", context: "home"}, api: "http://other:15555"},
		"by variable":               {environ: map[string]string{"ZBUS_SERVER": "other:2"}, api: "http://other:2"},
		"flag over variable":        {flags: Servers{server: "a:1"}, environ: map[string]string{"ZBUS_SERVER": "b:1"}, api: "http://a:1"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"ZBUS_SERVER", "ZBUS_TOKEN", "ZBUS_CONTEXT"} {
				t.Setenv(v, c.environ[v])
			}
			s, err := c.flags.Find()
			if err != nil || s.API != c.api+"/api/v1" || s.Token != c.token {
				t.Errorf("got %+v, %v; want %s and the token %q", s, err, c.api, c.token)
			}
		})
	}
	if _, err := (&Servers{context: "nothing"}).Find(); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("a context that is not there: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"mq":                "mq:15555 http://mq:15555/api/v1",
		"mq:1":              "mq:1 http://mq:1/api/v1",
		"[::1]:1":           "[::1]:1 http://[::1]:1/api/v1",
		"::1":               "[::1]:15555 http://[::1]:15555/api/v1",
		"http://mq/":        "mq:15555 http://mq:15555/api/v1",
		"zbuss://mq:1":      "mq:1 https://mq:1/api/v1",
		"ws://mq/socket":    "ws://mq:80/socket http://mq:80/api/v1",
		"WSS://mq":          "wss://mq:443/ https://mq:443/api/v1",
		"ftp://mq":          "",
		"http://mq/prefix":  "",
		"a:1,b:2":           "",
		":1":                "",
		"a b":               "",
		"mq:port":           "",
		"mq.example.com.:1": "mq.example.com.:1 http://mq.example.com.:1/api/v1",
		"user@mq:1":         "",
		"mq..example":       "",
		"mq#1":              "",
		"mq?x:1":            "",
		"m\u00fc:1":         "",
		"mq:0":              "",
		"mq:65536":          "",
		"https://mq:":       "",
	} {
		s, err := (&Context{Server: text}).resolve()
		switch {
		case want == "" && !errors.Is(err, ErrUsage):
			t.Errorf("%q: %+v, %v", text, s, err)
		case want != "" && (err != nil || s.Native+" "+s.API != want):
			t.Errorf("%q: %+v, %v; want %s", text, s, err, want)
		case want != "" && (s.TLS != nil) != strings.Contains(want, "https"):
			t.Errorf("%q: TLS %v", text, s.TLS)
		}
	}
}
