package cluster

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
)

// ErrUnknown is that of an address which no server has that is known here.
var ErrUnknown = errors.New("no such server is known")

// Web is what leads to the HTTP side of another server, and the URL that its paths follow. Only
// servers that are known can be asked for, at the address that they have been reached by.
func (c *Cluster) Web(address string) (*http.Transport, string, error) {
	to, secrets, err := c.known(address)
	if err != nil {
		return nil, "", err
	}
	d := net.Dialer{Timeout: dialTime, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return reachable(at.Addr(), true)
	}}
	scheme := "http://"
	if to.SSLEnabled {
		scheme = "https://"
	}
	return &http.Transport{DialContext: d.DialContext, TLSClientConfig: secrets, TLSHandshakeTimeout: dialTime, DisableKeepAlives: true}, scheme + to.Address, nil
}

// known finds a server that is up, and what a TLS connection to it goes by.
func (c *Cluster) known(address string) (a Address, secrets *tls.Config, err error) {
	if c == nil {
		return a, nil, ErrUnknown
	}
	c.mu.Lock()
	var found *member
	for _, m := range c.members {
		if m.proved && m.address.Address == address && (found == nil || m.up) {
			found = m
		}
	}
	for _, l := range c.links {
		if found == nil && l.joined && l.name.Address == address {
			a, secrets = l.at, c.opts.Secrets
		}
	}
	c.mu.Unlock()
	switch {
	case found == nil && a.Address == "":
		return a, nil, ErrUnknown
	case found == nil:
		return a, secrets, nil
	}
	secrets, err = c.pinned(found)
	return found.address, secrets, err
}
