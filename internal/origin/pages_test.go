package origin

import (
	"strings"
	"testing"
)

func TestKnownHost(t *testing.T) {
	own := []string{"broker.example"}
	for host, want := range map[string]bool{
		"127.0.0.1:15555": true, "[::1]:15555": true, "192.168.1.5": true, "localhost:1": true, "LOCALHOST.": true,
		"a.localhost": true, "broker.example:15555": true, "Broker.Example.": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example:15555": false, "": false,
	} {
		if got := (Site{Hosts: own}).KnownHost(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
		if !(Site{}).KnownHost(host) {
			t.Errorf("%q is not any", host)
		}
	}
}

func TestSource(t *testing.T) {
	const host = "127.0.0.1:15555"
	const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	for _, x := range []struct {
		head     string // name=value, with "|" between
		patterns []string
		want     Source
	}{
		{"", nil, Allowed}, // no browser
		{"sec-fetch-site=none", nil, Allowed},
		{"sec-fetch-site=same-origin", nil, Allowed},
		{"sec-fetch-site=same-site", nil, Foreign}, // another port
		{"sec-fetch-site=cross-site", nil, Foreign},
		{"origin=http://" + host + "|sec-fetch-site=same-origin", nil, Allowed},
		{"origin=https://mq.example|sec-fetch-site=same-origin", nil, Allowed}, // a proxy that keeps the name to itself
		{"origin=https://" + host, nil, Allowed},
		{"origin=http://127.0.0.1:8080|sec-fetch-site=same-site", nil, Foreign},
		{"origin=http://evil.example", nil, Foreign},
		{"origin=null|sec-fetch-site=cross-site", nil, Foreign}, // a page in a sandbox
		{"origin=null|sec-fetch-site=cross-site", []string{"*"}, Allowed},
		{"sec-fetch-site=cross-site", []string{"*"}, Allowed},
		{"sec-fetch-site=cross-site", []string{"good.example"}, Foreign}, // who knows which
		{"origin=https://good.example|sec-fetch-site=cross-site", []string{"good.example"}, Allowed},
		{"origin=https://A.Good.example|sec-fetch-site=cross-site", []string{"*.good.example"}, Allowed},
		{"origin=https://good.example.evil.example|sec-fetch-site=cross-site", []string{"good.example"}, Foreign},
		{"referer=http://evil.example/page", nil, Foreign},
		{"referer=http://" + host + "/ui/", nil, Allowed},
		{"user-agent=" + agent + "|accept=*/*|accept-encoding=gzip", nil, Unsaid},
		{"user-agent=|accept=*/*|accept-language=", nil, Unsaid}, // a page can empty both
		{"user-agent=curl/8.5.0|accept=*/*|accept-encoding=gzip", nil, Allowed},
		{"user-agent=Java/1.8|accept=text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", nil, Allowed},
		{"user-agent=Mozilla/5.0 (Windows NT; en-US) WindowsPowerShell/5.1", nil, Allowed},
	} {
		header := func(name string) (string, bool) {
			if name == "host" {
				return host, true
			}
			for pair := range strings.SplitSeq(x.head, "|") {
				if k, v, ok := strings.Cut(pair, "="); ok && k == name {
					return v, true
				}
			}
			return "", false
		}
		if got := (Site{Origins: x.patterns}).Source(header); got != x.want {
			t.Errorf("%q with %q: %d, want %d", x.head, x.patterns, got, x.want)
		}
	}
}
