package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// serveWebSocket runs a session in which every frame is one message. A page may
// connect from this server's own origin and from those that are allowed; a client
// that is no browser sends no origin.
func (s *Server) serveWebSocket(w http.ResponseWriter, req *http.Request) {
	if s.opts.Site.Source(headerOf(req)) == origin.Foreign {
		refuse(w, otherOrigin)
		return
	}
	who := access.From(req.Context())
	if err := who.Quota().Connect(); err != nil {
		refuseCredential(w, err)
		return
	}
	ws, err := websocket.Accept(takenConn{w, s.opts.IdleTimeout}, req, &websocket.AcceptOptions{
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // the origin was judged
	})
	if err != nil {
		who.Quota().Disconnect()
		s.log.Debug("websocket refused", "remote", req.RemoteAddr, "err", err)
		return // Accept has answered
	}
	limits := s.limits()
	ws.SetReadLimit(limits.Body + int64(limits.Head))
	c := newSession(s, who, accountOf(req.Context()))
	c.vetted, c.quota, c.firstGiven = true, who.Quota(), givenOverHTTP(req)
	conn := &webSocket{ws: ws, life: c.life}
	c.conn = conn
	go c.write(conn)
	if s.addSession(c) {
		defer s.serving.Done()
	} else {
		c.finish()
	}
	var pings sync.WaitGroup
	pings.Go(func() { c.ping(ws) })
	defer pings.Wait() // the session's end ends it
	code, reason := websocket.StatusNormalClosure, ""
	if err := c.readFrames(conn, limits); err != nil {
		code, reason = websocket.StatusInvalidFramePayloadData, broker.Excerpt(err.Error())
	}
	if c.finishing.Load() {
		code, reason = websocket.StatusServiceRestart, "shutting down"
	}
	c.end()
	_ = ws.Close(code, reason)
}

// ping has clients that only listen answer a ping now and then: browsers do that by themselves, and
// what is silent all the same is gone.
func (s *session) ping(ws *websocket.Conn) {
	every := s.srv.opts.IdleTimeout / 3
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		if time.Since(s.activity.since)-time.Duration(s.activity.active.Load()) < every {
			continue
		}
		ctx, cancel := context.WithTimeout(s.life, every)
		_ = ws.Ping(ctx) // reading notices that there is no answer
		cancel()
	}
}

// readFrames runs the requests of a WebSocket until it ends, which is no error.
func (s *session) readFrames(conn *webSocket, limits wire.Limits) error {
	body := &countedReader{reserve: s.account.demand}
	defer body.release()
	for {
		_, r, err := conn.ws.Reader(s.life)
		if err != nil {
			return nil
		}
		frame, err := body.readAll(r)
		if errors.Is(err, errNoMemory) || errors.Is(err, errNeverFits) {
			s.send(statusOf(err), "", err.Error())
			return err
		}
		if err != nil {
			return nil
		}
		m, err := parseFrame(frame, limits)
		if err != nil {
			s.send(http.StatusBadRequest, "", err.Error())
			return err
		}
		if !s.inflight.begin() {
			return nil
		}
		m.Del(wire.HeaderConnection)
		s.heard()
		s.handle(m)
		s.flush()
		s.inflight.done()
		body.release()
		s.throttle()
		s.cool()
	}
}

// takenConn has the client of a WebSocket keep pace, and say something now and then.
type takenConn struct {
	http.ResponseWriter
	idle time.Duration
}

// Hijack is part of http.Hijacker.
func (t takenConn) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	ahead, _ := rw.Peek(rw.Reader.Buffered()) // these are there
	return socket.Frames(conn, ahead, t.idle), rw, nil
}

// parseFrame reads a frame that has to be exactly one message.
func parseFrame(frame []byte, limits wire.Limits) (*wire.Message, error) {
	src := frameSource(frame)
	r := wire.NewReader(&src, limits)
	m, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("bad frame: %w", err)
	}
	if len(r.Buffered()) > 0 || len(src) > 0 {
		return nil, fmt.Errorf("bad frame: %d bytes follow the message; a frame holds one message", len(r.Buffered())+len(src))
	}
	return m, nil
}

// frameSource reads the bytes of one frame.
type frameSource []byte

func (f *frameSource) Read(p []byte) (int, error) {
	if len(*f) == 0 {
		return 0, errShortFrame
	}
	n := copy(p, *f)
	*f = (*f)[n:]
	return n, nil
}

var errShortFrame = fmt.Errorf("the frame ends before the message does")

// webSocket is the sending half of a WebSocket session.
type webSocket struct {
	ws   *websocket.Conn
	life context.Context
}

func (c *webSocket) writeFrames(buf []byte, ends []int) error {
	// Not the session's context: what is queued is still sent when it stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), writeTimeout)
	defer cancel()
	start := 0
	for _, end := range ends {
		if err := c.ws.Write(ctx, websocket.MessageBinary, buf[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// Close cuts the connection; the closing handshake is the reader's.
func (c *webSocket) Close() error { return c.ws.CloseNow() }
