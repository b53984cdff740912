package auth

import "testing"

func TestKnownHost(t *testing.T) {
	own := []string{"broker.example"}
	for host, want := range map[string]bool{
		"127.0.0.1:15555": true, "[::1]:15555": true, "192.168.1.5": true, "localhost:1": true, "LOCALHOST.": true,
		"a.localhost": true, "broker.example:15555": true, "Broker.Example.": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example:15555": false, "": false,
	} {
		if got := KnownHost(host, own); got != want {
			t.Errorf("%q: %t", host, got)
		}
		if !KnownHost(host, nil) {
			t.Errorf("%q is not any", host)
		}
	}
}

func TestCrossSite(t *testing.T) {
	const host = "127.0.0.1:15555"
	for _, x := range []struct {
		origin, site string
		patterns     []string
		want         bool
	}{
		{"", "", nil, false}, // no browser
		{"", "none", nil, false},
		{"", "same-origin", nil, false},
		{"", "same-site", nil, true}, // another port
		{"", "cross-site", nil, true},
		{"http://" + host, "same-origin", nil, false},
		{"https://" + host, "", nil, false},
		{"http://127.0.0.1:8080", "same-site", nil, true},
		{"http://evil.example", "", nil, true},
		{"null", "cross-site", nil, true}, // a page in a sandbox
		{"null", "cross-site", []string{"*"}, false},
		{"", "cross-site", []string{"*"}, false},
		{"", "cross-site", []string{"good.example"}, true}, // who knows which
		{"https://good.example", "cross-site", []string{"good.example"}, false},
		{"https://A.Good.example", "cross-site", []string{"*.good.example"}, false},
		{"https://good.example.evil.example", "cross-site", []string{"good.example"}, true},
	} {
		if got := CrossSite(host, x.origin, x.site, x.patterns); got != x.want {
			t.Errorf("from %q (%q) with %q: %t", x.origin, x.site, x.patterns, got)
		}
	}
}
