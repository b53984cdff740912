package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

var (
	// ErrUnknown is that of an address which no server has that is known here.
	ErrUnknown = errors.New("no such server is known")
	// ErrNotReached is that of a request which another server was not sent.
	ErrNotReached = errors.New("the server can't be reached")
)

// reached is a connection to another server. It is closed when that is no longer there, so that
// no caller waits for a machine that has vanished.
type reached struct {
	net.Conn
	c  *Cluster
	to Address
}

// Dial connects to another server, for what is passed on to it: 3 s at most. A server is
// verified by the certificate that it has told when it joined, or that a tracker has of it.
func (c *Cluster) Dial(ctx context.Context, a Address) (net.Conn, error) {
	secrets, local, err := c.way(ctx, a)
	if err != nil {
		return nil, err
	}
	conn, err := dialStream(ctx, a, secrets, local)
	if err != nil {
		return nil, err
	}
	r := &reached{conn, c, a}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reached[r] = struct{}{}
	return r, nil
}

// Close closes the connection.
func (r *reached) Close() error {
	r.c.mu.Lock()
	delete(r.c.reached, r)
	r.c.mu.Unlock()
	return r.Conn.Close()
}

// cut closes the connection under TLS, which would wait for the peer.
func (r *reached) cut() {
	conn := r.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close()
}

// newWeb creates the transport of what is passed on over HTTP.
func (c *Cluster) newWeb() *http.Transport {
	dial := func(secure bool) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := c.Dial(ctx, Address{Address: address, SSLEnabled: secure})
			if err != nil {
				return nil, errors.Join(ErrNotReached, err)
			}
			return conn, nil
		}
	}
	return &http.Transport{
		DialContext: dial(false), DialTLSContext: dial(true), MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
}

// Web is what leads to the HTTP side of another server, and the URL that its paths follow. Only
// servers that are known can be asked for, at the address that they have been reached by.
func (c *Cluster) Web(address string) (http.RoundTripper, string, error) {
	for _, i := range c.Others() {
		if i.Address.Address == address {
			return c.web, i.Address.url().String(), nil
		}
	}
	return nil, "", ErrUnknown
}

func (a Address) url() *url.URL {
	u := &url.URL{Scheme: "http", Host: a.Address}
	if a.SSLEnabled {
		u.Scheme = "https"
	}
	return u
}

// passing is in the context of a request that is passed on.
type passing struct {
	to     Address
	answer http.Header // what it has before the other server has answered
}

type passingKey struct{}

// NewPasser makes what passes HTTP requests on: see Pass. fail answers one that had no answer.
func (c *Cluster) NewPasser(log *slog.Logger, fail func(http.ResponseWriter, *http.Request, error)) *Passer {
	if c == nil {
		return nil
	}
	return &Passer{httputil.ReverseProxy{
		Transport: c.web, ErrorHandler: fail, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			p, _ := pr.In.Context().Value(passingKey{}).(passing)
			u := p.to.url()
			u.Path, u.RawPath, u.RawQuery, u.ForceQuery = pr.In.URL.Path, pr.In.URL.RawPath, pr.In.URL.RawQuery, pr.In.URL.ForceQuery
			pr.Out.URL, pr.Out.Host = u, p.to.Address
			for name := range pr.Out.Header {
				if judged(name) {
					pr.Out.Header.Del(name)
				}
			}
			pr.Out.Header.Set(wire.HeaderHop, c.opts.Self.Address)
		},
		ModifyResponse: func(resp *http.Response) error {
			p, _ := resp.Request.Context().Value(passingKey{}).(passing)
			resp.Header.Del("Set-Cookie") // a login is that server's
			resp.Header.Set(wire.HeaderServedBy, p.to.Address)
			for name := range resp.Header {
				p.answer.Del(name)
			}
			return nil
		},
	}}
}

// judged reports whether a header says from which page a request is, or which login it has: that
// was judged here, and counts here alone.
func judged(name string) bool {
	switch name {
	case "Origin", "Referer", "Cookie":
		return true
	}
	return strings.HasPrefix(name, "Sec-")
}

// Passer passes HTTP requests on to other servers, with the credential that they came with.
type Passer struct{ proxy httputil.ReverseProxy }

// Pass has another server answer a request. An error that is not [ErrNotReached] says that it
// may have been carried out.
func (p *Passer) Pass(w http.ResponseWriter, req *http.Request, to Address) {
	p.proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), passingKey{}, passing{to, w.Header()})))
}
