package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedBy are the headers by which a proxy says who its client is.
var forwardedBy = [...]string{"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}

// trusts reports whether a peer is a proxy of whose clients one believes what it says.
func (s *Server) trusts(remote net.Addr) bool {
	at, err := netip.ParseAddrPort(remote.String())
	return err == nil && s.trusted(at.Addr())
}

func (s *Server) trusted(a netip.Addr) bool {
	return within(s.opts.Proxies, a.Unmap().WithZone(""))
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isForwarded reports whether a request says that it was passed on.
func isForwarded(header func(name string) (string, bool)) bool {
	return slices.ContainsFunc(forwardedBy[:], func(name string) bool { _, ok := header(name); return ok })
}

// forwarded has requests that a trusted proxy passes on be those of its client: by its
// address, and for the host and scheme that it asked for. What other peers say is
// ignored.
func (s *Server) forwarded(next http.Handler) http.Handler {
	if len(s.opts.Proxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		at, err := netip.ParseAddrPort(req.RemoteAddr)
		if err != nil || !s.trusted(at.Addr()) {
			next.ServeHTTP(w, req)
			return
		}
		chain, host, proto := passedOn(req.Header)
		if client := s.client(chain); client.IsValid() {
			req.RemoteAddr = netip.AddrPortFrom(client, 0).String() // its port is not known
		}
		if host != "" {
			req.Host = host
		}
		if strings.EqualFold(proto, "https") && req.TLS == nil {
			req.TLS = new(tls.ConnectionState)
		}
		next.ServeHTTP(w, req)
	})
}

// client is the nearest address of a chain that is not a trusted proxy's, or the farthest
// that can be read.
func (s *Server) client(chain []string) (client netip.Addr) {
	for _, text := range slices.Backward(chain) {
		a, ok := addressOf(text)
		if !ok {
			return client
		}
		if client = a; !s.trusted(a) {
			return client
		}
	}
	return client
}

// addressOf reads an address that may have a port.
func addressOf(text string) (netip.Addr, bool) {
	text = strings.Trim(strings.TrimSpace(text), `"`)
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// passedOn is what the headers of a proxy say: the addresses that a request came by, the
// farthest first, and the host and scheme that the nearest proxy was asked for.
func passedOn(h http.Header) (chain []string, host, proto string) {
	if all := h.Values("Forwarded"); len(all) > 0 {
		for element := range strings.SplitSeq(strings.Join(all, ","), ",") {
			host, proto = "", ""
			from := ""
			for pair := range strings.SplitSeq(element, ";") {
				name, value, _ := strings.Cut(pair, "=")
				value = strings.Trim(strings.TrimSpace(value), `"`)
				switch strings.ToLower(strings.TrimSpace(name)) {
				case "for":
					from = value
				case "host":
					host = value
				case "proto":
					proto = value
				}
			}
			chain = append(chain, from)
		}
		return chain, host, proto
	}
	if all := h.Values("X-Forwarded-For"); len(all) > 0 {
		chain = strings.Split(strings.Join(all, ","), ",")
	}
	return chain, lastOf(h, "X-Forwarded-Host"), lastOf(h, "X-Forwarded-Proto")
}

// lastOf is the value that the nearest proxy has set, or added.
func lastOf(h http.Header, name string) string {
	text := strings.Join(h.Values(name), ",")
	return strings.TrimSpace(text[strings.LastIndexByte(text, ',')+1:])
}
