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
	if !s.addSession(c) {
		c.finish()
		c.serveFrames(conn, limits)
		return
	}
	// Not on the goroutine of net/http: its stack and all of its request would last as long as the session.
	socket.Go(s.log, conn, func() {
		defer s.serving.Done()
		c.serveFrames(conn, limits)
	})
}

// serveFrames runs a session until it ends.
func (s *session) serveFrames(conn *webSocket, limits wire.Limits) {
	pings := &pinger{session: s, ws: conn.ws, every: s.srv.opts.IdleTimeout / 3}
	pings.start()
	defer pings.stop()
	code, reason := websocket.StatusNormalClosure, ""
	if err := s.readFrames(conn, limits); err != nil {
		code, reason = websocket.StatusInvalidFramePayloadData, broker.Excerpt(err.Error())
	}
	if s.finishing.Load() {
		code, reason = websocket.StatusServiceRestart, "shutting down"
	}
	s.end()
	_ = conn.ws.Close(code, reason)
}

// pinger has a client that only listens answer a ping now and then: browsers do that by themselves, and
// what is silent all the same is gone. Between pings it is a timer and no goroutine.
type pinger struct {
	*session
	ws    *websocket.Conn
	every time.Duration
	mu    sync.Mutex
	timer *time.Timer    // guarded by mu; nil before the start and after the end
	ping  sync.WaitGroup // the one under way; added to with mu held and a timer set
}

func (p *pinger) start() {
	if p.every > 0 {
		p.mu.Lock()
		p.timer = time.AfterFunc(p.every, p.due)
		p.mu.Unlock()
	}
}

// due is called by the timer.
func (p *pinger) due() {
	p.mu.Lock()
	if p.timer == nil {
		p.mu.Unlock()
		return
	}
	p.ping.Add(1)
	p.mu.Unlock()
	defer p.ping.Done()
	if time.Since(p.activity.since)-time.Duration(p.activity.active.Load()) >= p.every {
		ctx, cancel := context.WithTimeout(p.life, p.every)
		_ = p.ws.Ping(ctx) // reading notices that there is no answer
		cancel()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Reset(p.every)
	}
}

// stop waits for the ping that is under way. The session has ended, which ends that.
func (p *pinger) stop() {
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	p.ping.Wait()
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
	frames, rw := socket.Frames(conn, rw, t.idle)
	return frames, rw, nil
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
