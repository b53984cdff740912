package sso

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Limits of what the issuer answers.
const (
	maxAnswer  = 1 << 20 // bytes
	answerTime = 10 * time.Second
)

// newClient is a client that believes an answer only so far.
func newClient() *http.Client {
	return &http.Client{
		Timeout: answerTime,
		Transport: bounded{&http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: answerTime / 2}).DialContext,
			TLSHandshakeTimeout: answerTime / 2, MaxResponseHeaderBytes: 64 << 10, MaxConnsPerHost: 16,
			DisableKeepAlives: true, // it is rarely asked, and a code goes out once: not on a connection that is just being closed
		}},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s, which is not followed", req.URL.Redacted())
		},
	}
}

// bounded cuts answers that are too long.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{http.MaxBytesReader(nil, resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// CheckURL refuses a URL that can't be trusted to say who signs on: one without TLS that is
// not of this machine.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("must be a URL with a host, without a user or a fragment")
	}
	at, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !at.IsLoopback()) {
		return errors.New("must be https, or of this machine")
	}
	return nil
}
