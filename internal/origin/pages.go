// Package origin guards the broker against pages of other sites: it judges from the
// headers of a request which page, if any, made a browser send it.
//
// A broker that only its own machine can reach is still reached by every page that a
// browser there shows: by its address, or under a name of the page's own that was
// pointed to it. Browsers say so in Host, Origin and Sec-Fetch-Site, which pages can't
// set; other clients have no reason to send the latter two.
package origin

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Site is what a server goes by for browsers. The zero Site goes by any name, and lets no
// other pages in.
type Site struct {
	// Hosts are names of this server besides IP addresses and localhost. Nil: any, which is
	// right where the network is trusted or clients are authenticated.
	Hosts []string
	// Origins are patterns of hosts whose pages may use this server, besides its own; "*" is
	// any.
	Origins []string
	// Public are the URLs that this server's own pages come by, besides that of the Host that
	// is asked for: scheme, host and port, without a path and without the port of the scheme.
	Public []string
	// Pages are those URLs with their paths, without a slash at the end.
	Pages []string
	// Names are those of this server that no other server can claim.
	Names []string
}

// Base is the URL below which this server's pages are that have an origin; none, if it is not sure that it is
// this server's: an address or localhost is, and so are its names and public URLs.
func (s Site) Base(origin string) (base string, ok bool) {
	for i, public := range s.Public {
		if public == OriginOf(origin) && i < len(s.Pages) {
			return s.Pages[i], true
		}
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil {
		return "", false
	}
	return OriginOf(origin), Site{Hosts: append([]string{}, s.Names...)}.KnownHost(u.Host)
}

// OriginOf is the origin of a URL, as Site.Public has it; "" if it has none.
func OriginOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host
}

// names reports whether a host is one of the public URLs'.
func (s Site) names(name string) bool {
	return slices.ContainsFunc(s.Public, func(public string) bool {
		u, err := url.Parse(public)
		return err == nil && hostname(u.Host) == name
	})
}

// Source is who made a browser send a request, as far as the request tells.
type Source int

// The sources.
const (
	Allowed Source = iota // no page of another site: a program, a URL that the user typed, a page that is let in
	Unsaid                // a browser that does not say which page it was, if it was one
	Foreign               // a page of another site
)

// KnownHost reports whether a Host header names this server: by an IP address, as
// localhost, or by one of its hosts. A page of another site can have its own name
// point to this server's address, and is then of the same origin as far as its browser
// can tell; but that name is not ours.
func (s Site) KnownHost(host string) bool {
	if s.Hosts == nil {
		return true
	}
	name := hostname(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(s.Hosts, name) || s.names(name)
}

// hostname is the name in a Host header, in lower case.
func hostname(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// Misdirected says that a Host header does not name this server, and what would.
func Misdirected(host string) string {
	return "this server does not go by the name " + strconv.Quote(host[:min(len(host), 100)]) + ": use its address, or start it with --advertise or --public-url"
}

// LetsIn reports whether one of the patterns of the allowed origins fits a page's. No origin
// is none of them.
func (s Site) LetsIn(origin string) bool {
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return slices.Contains(s.Origins, "*")
	}
	return slices.ContainsFunc(s.Origins, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), strings.ToLower(u.Host))
		return err == nil && ok
	})
}

// Own reports whether a page of this origin (or with this URL) is one of the server that a
// Host header names, or has come by a public URL. A proxy may pass on the name of a public
// URL without its port: other ports of that name are other origins.
func (s Site) Own(origin, host string) bool {
	if len(s.Public) > 0 {
		if slices.Contains(s.Public, OriginOf(origin)) {
			return true
		}
		if _, _, err := net.SplitHostPort(host); err != nil && s.names(hostname(host)) {
			return false
		}
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

// Source judges a request from its headers, whose names are in lower case. A program that
// says nothing of pages is believed.
func (s Site) Source(header func(name string) (string, bool)) Source {
	get := func(name string) string { v, _ := header(name); return v }
	host, origin := get("host"), get("origin")
	switch site := get("sec-fetch-site"); {
	case slices.Contains(s.Origins, "*") || s.LetsIn(origin) || site == "same-origin" || site == "none":
		return Allowed
	case origin != "":
		return foreignUnless(s.Own(origin, host))
	case site != "":
		return Foreign
	}
	if from := get("referer"); from != "" {
		return foreignUnless(s.Own(from, host))
	}
	if browser(header) {
		return Unsaid
	}
	return Allowed
}

func foreignUnless(ours bool) Source {
	if ours {
		return Allowed
	}
	return Foreign
}

// browser recognises what all browsers send together and hardly a program does. Pages can
// change the values of the latter two, but can't keep them from being sent.
func browser(header func(name string) (string, bool)) bool {
	agent, _ := header("user-agent")
	_, language := header("accept-language")
	_, accept := header("accept")
	return accept && (language || strings.HasPrefix(agent, "Mozilla/"))
}
