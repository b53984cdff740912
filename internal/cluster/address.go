package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// secure begins the text of an address that is reached by TLS.
const secure = "[SSL]"

// maxHost is the longest name of a host.
const maxHost = 253

// hostChars are the characters of a host name.
const hostChars = "abcdefghijklmnopqrstuvwxyz0123456789-._"

// Key is the text by which clients find a server in a table.
func (a Address) Key() string {
	if a.SSLEnabled {
		return secure + a.Address
	}
	return a.Address
}

// ParseAddress reads HOST:PORT, or [SSL]HOST:PORT for a server that is reached by TLS.
func ParseAddress(text string) (Address, error) {
	at, ssl := strings.CutPrefix(text, secure)
	a := Address{Address: at, SSLEnabled: ssl}
	return a, a.check()
}

// check says what is wrong with an address.
func (a Address) check() error {
	host, port, err := net.SplitHostPort(a.Address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || host == "" || len(host) > maxHost {
		return fmt.Errorf("address %q: must be HOST:PORT", excerpt(a.Address))
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return reachable(ip, true)
	}
	if strings.Trim(strings.ToLower(host), hostChars) != "" {
		return fmt.Errorf("address %q: must be HOST:PORT", excerpt(a.Address))
	}
	return nil
}

var errLocal = errors.New("it is an address of this machine alone: the server there has to be given one that others can connect to, with --advertise")

// reachable says why a server can't have an IP address. local allows this machine.
func reachable(ip netip.Addr, local bool) error {
	ip = ip.Unmap()
	if ip.Zone() != "" || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("address %s: must not be link-local, multicast or unspecified", ip)
	}
	if ip.IsLoopback() && !local {
		return errLocal
	}
	return nil
}

// isLocal reports whether a peer is on this machine.
func isLocal(peer string) bool {
	at, err := netip.ParseAddrPort(peer)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// excerpt shortens what others have sent, for an error.
func excerpt(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
