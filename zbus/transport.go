package zbus

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// transport carries frames. One goroutine reads, one writes; anybody may close.
type transport interface {
	io.Reader
	// write sends whole frames, each piece of them within the given time.
	write(buf []byte, frames []frame, within time.Duration) error
	Close() error
}

// dialAddress connects to one address.
func (c *Client) dialAddress(ctx context.Context, a address) (transport, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	if a.websocket != "" {
		return c.dialWebSocket(ctx, a)
	}
	s, err := c.dialStream(ctx, a)
	if err != nil {
		return nil, err
	}
	token, expires, err := c.token(ctx)
	if err == nil {
		err = c.introduce(ctx, s, token)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	c.expires = expires
	return s, nil
}

func (c *Client) dialStream(ctx context.Context, a address) (*stream, error) {
	dial := c.opts.DialStream
	if dial == nil {
		dial = func(ctx context.Context, host string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", host)
		}
	}
	conn, err := dial(ctx, a.host)
	if err != nil {
		return nil, err
	}
	if !a.secure {
		return &stream{conn}, nil
	}
	host, _, err := net.SplitHostPort(a.host)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, c.tlsConfig(host))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &stream{secure}, nil
}

func (c *Client) tlsConfig(host string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.opts.TLS != nil {
		cfg = c.opts.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	return cfg
}

// stream is a transport of one byte after the other.
type stream struct{ net.Conn }

// pieceBytes is how much has to be taken in within Options.HeartbeatTimeout.
const pieceBytes = 256 << 10

func (s *stream) write(buf []byte, _ []frame, within time.Duration) error {
	for len(buf) > 0 {
		if err := s.SetWriteDeadline(time.Now().Add(within)); err != nil {
			return err
		}
		n, err := s.Write(buf[:min(len(buf), pieceBytes)])
		if err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// socket is a transport in which every frame is a message of a WebSocket.
type socket struct {
	ws   *websocket.Conn
	life context.Context // ends with Close
	end  context.CancelFunc
	part io.Reader // of the message that is being read; nil between two
}

func (c *Client) dialWebSocket(ctx context.Context, a address) (transport, error) {
	token, expires, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	opts := &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled}
	if token != "" {
		opts.HTTPHeader = http.Header{"Authorization": {"Bearer " + token}}
	}
	var transport *http.Transport
	if a.secure {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if c.opts.TLS != nil {
			cfg = c.opts.TLS.Clone()
		}
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg}
		opts.HTTPClient = &http.Client{Transport: transport}
	}
	ws, resp, err := websocket.Dial(ctx, a.websocket, opts)
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if refused := handshakeRefusal(resp); refused != nil {
			err = refused
		}
		if transport != nil {
			transport.CloseIdleConnections()
		}
		return nil, err
	}
	c.expires = expires
	ws.SetReadLimit(-1) // the frame reader has limits
	s := &socket{ws: ws}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.part == nil {
			_, r, err := s.ws.Reader(s.life)
			if err != nil {
				return 0, err
			}
			s.part = r
		}
		n, err := s.part.Read(p)
		if errors.Is(err, io.EOF) {
			s.part, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socket) write(buf []byte, frames []frame, within time.Duration) error {
	start := 0
	for _, f := range frames {
		ctx, cancel := context.WithTimeout(s.life, within)
		err := s.ws.Write(ctx, websocket.MessageBinary, buf[start:f.end])
		cancel()
		if err != nil {
			return err
		}
		start = f.end
	}
	return nil
}

func (s *socket) Close() error {
	s.end()
	return s.ws.CloseNow()
}
