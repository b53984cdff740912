package api

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// knownHost reports whether a Host header names this server. A page of another
// site can have its own name point to this server's address, and is then of the
// same origin as far as its browser can tell; but that name is not ours.
func knownHost(host string, hosts []string) bool {
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

// CheckHost refuses a request by the Host that it names, unless that is one of this
// server's. hosts are those of Options.
func CheckHost(host string, hosts []string) error {
	if !knownHost(host, hosts) {
		return &misdirected{"this server does not go by the name " + host + ": use its address, or start it with --advertise"}
	}
	return nil
}

// allowedOrigin reports whether the patterns let a page's origin in.
func allowedOrigin(origin string, patterns []string) bool {
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
