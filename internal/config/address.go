package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// Advertised is the HOST:PORT to tell clients and other servers, given the
// address that was bound: Advertise when it is set, otherwise bound. An
// unspecified address, which others can't connect to, is replaced by an IPv4
// address of this machine. It sends nothing.
func (c *Config) Advertised(bound net.Addr) string {
	if c.Advertise != "" {
		return c.Advertise
	}
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return bound.String()
	}
	return netip.AddrPortFrom(localIPv4(), at.Port()).String()
}

// localIPv4 is the address this machine would use to reach others: the one of
// the default route, else the first that is not loopback, else loopback. The
// route comes first because bridges of containers look like any interface.
func localIPv4() netip.Addr {
	// Connecting a UDP socket asks the routing table and sends no packet. The
	// destination is reserved for documentation.
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		defer c.Close()
		if at, err := netip.ParseAddrPort(c.LocalAddr().String()); err == nil {
			return at.Addr()
		}
	}
	all, _ := net.InterfaceAddrs() // none is as good as an error: loopback remains
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// isAddress accepts HOST:PORT with a host that is empty, an IP address or a
// name, and a port that is a number.
func isAddress(s string) bool {
	_, _, ok := splitAddress(s)
	return ok
}

// isDialable accepts an address that other machines can connect to.
func isDialable(s string) bool {
	host, port, ok := splitAddress(s)
	ip, err := netip.ParseAddr(host)
	return ok && host != "" && port != 0 && (err != nil || !ip.IsUnspecified())
}

// isTracker accepts an address that a server can be joined at.
func isTracker(s string) bool {
	at := strings.TrimPrefix(s, "[SSL]")
	host, _, _ := splitAddress(at)
	ip, err := netip.ParseAddr(host)
	return isDialable(at) && (err != nil || !ip.Unmap().IsLinkLocalUnicast() && !ip.IsMulticast())
}

// isLoopback accepts an address that only this machine can reach. A host name
// other than localhost counts as reachable: what it means can change.
func isLoopback(s string) bool {
	host, _, ok := splitAddress(s)
	ip, err := netip.ParseAddr(host)
	return ok && (host == "localhost" || err == nil && ip.IsLoopback())
}

func isPublic(s string) bool { return !isLoopback(s) }

// hostChars are the characters of a host name.
const hostChars = "abcdefghijklmnopqrstuvwxyz0123456789-._"

func splitAddress(s string) (host string, port uint16, ok bool) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, false
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.Trim(strings.ToLower(host), hostChars) != "" {
		return "", 0, false
	}
	return host, uint16(n), true
}

// isOrigin accepts the pattern of a host, with a port or without.
func isOrigin(s string) bool {
	_, err := path.Match(s, "")
	return s != "" && err == nil && !strings.ContainsAny(s, "/ \t")
}

// isPublicURL accepts the URL of a page: scheme, host and perhaps a path.
func isPublicURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func isNetwork(s string) bool {
	_, ok := network(s)
	return ok
}

// network reads an address or a network.
func network(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}

// Proxies are the networks of TrustedProxy.
func (c *Config) Proxies() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range c.TrustedProxy {
		if p, ok := network(s); ok {
			all = append(all, p)
		}
	}
	return all
}
