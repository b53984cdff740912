// Package auth decides from what a request says of itself whether it may do what it
// asks for.
//
// A broker that only its own machine can reach is still reached by every page that a
// browser there shows: by its address, or under a name of the page's own that was
// pointed to it. Browsers say so in Host, Origin and Sec-Fetch-Site, which pages can't
// set; other clients have no reason to send the latter two.
package auth

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// KnownHost reports whether a Host header names this server: by an IP address, as
// localhost, or by one of hosts. Nil hosts are any, which is right where the network is
// trusted or clients are authenticated. A page of another site can have its own name
// point to this server's address, and is then of the same origin as far as its browser
// can tell; but that name is not ours.
func KnownHost(host string, hosts []string) bool {
	if hosts == nil {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(hosts, name)
}

// Misdirected says that a Host header does not name this server, and what would.
func Misdirected(host string) string {
	return "this server does not go by the name " + strconv.Quote(host[:min(len(host), 100)]) + ": use its address, or start it with --advertise"
}

// AllowedOrigin reports whether one of the patterns of hosts lets a page's origin in;
// "*" is any. No origin is none of them.
func AllowedOrigin(origin string, patterns []string) bool {
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return slices.Contains(patterns, "*")
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), strings.ToLower(u.Host))
		return err == nil && ok
	})
}

// CrossSite reports whether a page of another origin than host made a browser send a
// request, and none of the patterns lets it in. A browser that says nothing of this
// kind, and every client that is none, is believed.
func CrossSite(host, origin, fetchSite string, patterns []string) bool {
	switch {
	case slices.Contains(patterns, "*") || AllowedOrigin(origin, patterns):
		return false
	case origin != "":
		u, err := url.Parse(origin)
		return err != nil || !strings.EqualFold(u.Host, host)
	}
	return fetchSite == "cross-site" || fetchSite == "same-site"
}
