package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rushmore/zbus-go/zbus"
)

// DefaultServer is where a broker listens unless it is told otherwise.
const DefaultServer = "127.0.0.1:15555"

const defaultPort = "15555"

// Servers is the choice of a server: by flags, by the environment, by a saved context.
type Servers struct {
	server, tokenFile, context, ca, cert, key string
	insecure                                  bool
}

// Register adds the flags to fs.
func (s *Servers) Register(fs *pflag.FlagSet) {
	fs.StringVar(&s.server, "server", "", "`HOST:PORT` or URL of the broker (ZBUS_SERVER; "+DefaultServer+")")
	fs.StringVar(&s.tokenFile, "token-file", "", "`FILE` with the token that says who you are (ZBUS_TOKEN; see zbus login)")
	fs.StringVar(&s.context, "context", "", "`NAME` of a saved server to use (ZBUS_CONTEXT; see zbus context)")
	fs.StringVar(&s.ca, "tls-ca", "", "encrypt, and trust the certificates in this PEM `FILE`")
	fs.StringVar(&s.cert, "tls-cert", "", "encrypt, and show the client certificate in this PEM `FILE`")
	fs.StringVar(&s.key, "tls-key", "", "PEM `FILE` with its key, unless that is in the same file")
	fs.BoolVar(&s.insecure, "tls-insecure", false, "encrypt, and accept any certificate")
}

// Server is where a broker is and how to get there.
type Server struct {
	Native string      // for zbus.Dial
	API    string      // base URL of the HTTP API
	Host   string      // host:port
	Token  string      // may be empty
	TLS    *tls.Config // nil: no encryption
}

// Find chooses: flags are stronger than ZBUS_SERVER and ZBUS_TOKEN, these than the
// context, that than the default. A context's token goes to the context's server alone.
func (s *Servers) Find() (*Server, error) {
	p, err := s.choose()
	if err != nil {
		return nil, err
	}
	token := os.Getenv("ZBUS_TOKEN")
	if s.tokenFile != "" {
		text, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return nil, fail(ErrNoInput, "--token-file: %v", err)
		}
		if token = strings.TrimSpace(string(text)); token == "" {
			return nil, fail(ErrData, "--token-file %s: has no token in it", s.tokenFile)
		}
	}
	if token == "" && s.cert == "" {
		if token, err = p.token(context.Background()); err != nil { // Ctrl-C ends the program that it asks, too
			return nil, err
		}
	}
	p.context.Token = first(token, p.context.Token)
	return p.context.resolve()
}

// choice is a server, and the saved context that it has.
type choice struct {
	all     *contexts
	name    string  // of the context; "": none
	context Context // with what flags and variables change
}

// choose finds the server, and the context whose server it is.
func (s *Servers) choose() (*choice, error) {
	all, err := loadContexts()
	if err != nil {
		return nil, err
	}
	p := &choice{all: all, context: Context{Server: first(s.server, os.Getenv("ZBUS_SERVER")), TLSCA: s.ca, TLSCert: s.cert, TLSKey: s.key, TLSInsecure: s.insecure}}
	c := &p.context
	name := first(s.context, os.Getenv("ZBUS_CONTEXT"))
	switch {
	case name == "" && c.Server == "" && all.Current != "":
		name = all.Current
	case name == "":
		c.Server = first(c.Server, DefaultServer)
		name = all.serving(c.Server)
	}
	if name == "" {
		return p, nil
	}
	saved, err := all.find(name)
	if err != nil {
		return nil, err
	}
	if c.Server == "" || c.Server == saved.Server {
		p.name, c.Server, c.Token, c.Login, c.Helper = name, saved.Server, saved.Token, saved.Login, saved.Helper
		if s.cert != "" {
			c.Token = "" // the certificate says who it is
		} else {
			c.TLSCert, c.TLSKey = saved.TLSCert, first(c.TLSKey, saved.TLSKey)
		}
		c.TLSCA, c.TLSInsecure = first(c.TLSCA, saved.TLSCA), c.TLSInsecure || saved.TLSInsecure
	}
	return p, nil
}

// saved is the name of the context in which a token for the server is saved.
func (p *choice) saved(s *Server) string { return first(p.name, s.Host) }

// token is that of the context, wherever it is kept; "" if there is none.
func (p *choice) token(ctx context.Context) (string, error) {
	v := p.context.Helper
	if p.name == "" || v == "" {
		return p.context.Token, nil
	}
	token, err := v.get(ctx, kept{Context: p.name, Server: p.context.Server})
	if err != nil {
		return "", fail(ErrNoInput, "the token is in %s, which did not give it: %v", v, err)
	}
	return token, nil
}

// save saves the token of a login in the server's context, which is made if there is none. The vault has
// the token already, unless it is the file.
func (p *choice) save(s *Server, login newLogin, in vault) error {
	c := p.context
	c.Token, c.Login, c.Helper = login.text, login.id, in
	if in != "" {
		c.Token = ""
	}
	if err := c.absolute(); err != nil {
		return err
	}
	p.all.Contexts[p.saved(s)] = c
	p.all.Current = first(p.all.Current, p.saved(s))
	return p.all.save()
}

// Find chooses a server that no flags but this one name; it may be empty.
func Find(server string) (*Server, error) {
	s := Servers{server: server}
	return s.Find()
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// resolve works out the addresses of a server.
func (c *Context) resolve() (*Server, error) {
	scheme, host, ok := strings.Cut(c.Server, "://")
	if !ok {
		scheme, host = "zbus", c.Server
	}
	secure := c.TLSCA != "" || c.TLSCert != "" || c.TLSInsecure
	switch strings.ToLower(scheme) {
	case "zbus", "tcp", "http", "ws":
	case "zbuss", "tls", "https", "wss":
		secure = true
	default:
		return nil, usage("server %q: unknown scheme; write HOST:PORT, or https://HOST:PORT for TLS, or ws:// or wss:// for a WebSocket", c.Server)
	}
	webSocket := strings.HasPrefix(strings.ToLower(scheme), "ws")
	host, path, _ := strings.Cut(host, "/")
	if path != "" && !webSocket {
		return nil, usage("server %q: must be HOST:PORT or a URL such as https://HOST:PORT, without a path", c.Server)
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		port := defaultPort
		if webSocket {
			port = map[bool]string{false: "80", true: "443"}[secure]
		}
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	h, port, err := net.SplitHostPort(host)
	if err != nil || !isHost(h) {
		return nil, usage("server %q: must be HOST:PORT or a URL such as https://HOST:PORT", c.Server)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, usage("server %q: the port must be a number from 1 to 65535", c.Server)
	}
	s := &Server{Host: host, Native: host, API: "http://" + host + "/api/v1", Token: c.Token}
	if secure {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		s.TLS, s.API = config, "https://"+host+"/api/v1"
	}
	if webSocket {
		s.Native = map[bool]string{false: "ws://", true: "wss://"}[secure] + host + "/" + path
	}
	return s, nil
}

// isHost accepts an IP address or what can be a name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func (c *Context) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.TLSInsecure}
	if err := c.certificate(config); err != nil {
		return nil, err
	}
	if c.TLSCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.TLSCA)
	if err != nil {
		return nil, usage("tls-ca: %v", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, usage("tls-ca %q: has no certificate in PEM", c.TLSCA)
	}
	return config, nil
}

// certificate has connections show the client certificate, if there is one. Each reads it anew: those
// that last reconnect with the one of then.
func (c *Context) certificate(config *tls.Config) error {
	if c.TLSCert == "" {
		if c.TLSKey != "" {
			return usage("tls-key %q: needs --tls-cert as well", c.TLSKey)
		}
		return nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, first(c.TLSKey, c.TLSCert))
		return &pair, err
	}
	if _, err := load(); err != nil {
		return usage("tls-cert: %v", err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}

// absolute has the paths mean the same in any directory.
func (c *Context) absolute() error {
	for _, path := range []*string{&c.TLSCA, &c.TLSCert, &c.TLSKey} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

// dialTime is how long one may take to connect.
const dialTime = 10 * time.Second

// endTime is how long the end of a consumer may wait for a broker that has gone away.
const endTime = 2 * time.Second

// dial connects with the native protocol. The options may be zero.
func (i *invocation) dial(ctx context.Context, o zbus.Options) (*zbus.Client, error) {
	s, err := i.servers.Find()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	o.Token, o.TLS = s.Token, s.TLS
	o.Log = slog.New(slog.NewTextHandler(i.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := zbus.DialServer(ctx, s.Native, o)
	if errors.Is(err, zbus.ErrUnauthorized) || errors.Is(err, zbus.ErrQuota) {
		return nil, err
	}
	if err != nil {
		return nil, s.Unreachable(err)
	}
	return c, nil
}

// Unreachable says that there is no broker, and what to do about it.
func (s *Server) Unreachable(err error) error {
	return &failure{"no broker at " + s.Host + ": " + reason(err) +
		"; start one with zbus serve, or name another with --server, ZBUS_SERVER or a context", join(err, zbus.ErrUnavailable)}
}
