package live

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/wire"
)

// socket is one client. The fields of the first group are set at its start.
type socket struct {
	hub    *Hub
	ws     *websocket.Conn
	conn   net.Conn // below ws; for cut alone
	id     string
	remote string
	who    access.Caller

	credential http.Header // what can be forwarded to another server; nil: nothing
	hopped     bool        // another server has passed the client on

	since   time.Time
	out     queue
	reserve func(delta int) error // accounts for frames being read or published
	life    context.Context       // ends when the connection is cut
	stop    context.CancelFunc
	done    chan struct{} // closed when the writer has ended

	active  atomic.Int64 // when the last frame came, in nanoseconds after since
	in, put atomic.Int64 // frames received; answers and messages sent
	reading atomic.Bool  // the reader waits for a frame
	writing atomic.Bool  // a frame is being sent
	pinging atomic.Bool

	// Owned by the reader.
	subNames, watchNames int
	relays               map[string]*relay // to servers that have other topics, by name

	peer rpc.Peer // its part in calls

	mu      sync.Mutex
	ended   bool                     // guarded by mu
	code    websocket.StatusCode     // guarded by mu: to close with
	reason  string                   // guarded by mu
	drain   *time.Timer              // guarded by mu: cuts a client that does not take its last answers
	subs    map[string]*subscription // guarded by mu; nil when ended
	watches map[string]*watch        // guarded by mu; nil when ended
	calls   map[string]string        // guarded by mu: the refs of its calls, by id
}

func newSocket(h *Hub, ws *websocket.Conn, conn net.Conn, req *http.Request) *socket {
	s := &socket{
		hub: h, ws: ws, conn: conn, id: strings.ToLower(rand.Text()), remote: req.RemoteAddr, who: access.From(req.Context()), since: time.Now(),
		credential: credentialOf(req), hopped: req.Header.Get(wire.HeaderHop) != "",
		reserve: h.opts.Accounts.Reserve(req.Context()),
		done:    make(chan struct{}), subs: map[string]*subscription{}, watches: map[string]*watch{}, calls: map[string]string{},
	}
	s.out.init()
	s.peer.Init(h.opts.Calls, s.id, s.remote, s)
	s.life, s.stop = context.WithCancel(context.Background())
	return s
}

// serve runs the socket until it has ended.
func (s *socket) serve() {
	go s.write()
	if !s.hub.add(s) {
		s.end(websocket.StatusServiceRestart, "the server is stopping")
	} else {
		s.hub.recheckIf(s.who.Check(access.See, "", "") != nil)
		if !s.read() {
			s.cut() // no client is left to take the last answers
		}
	}
	s.end(websocket.StatusNormalClosure, "")
	s.closeRelays()
	<-s.done
	s.hub.remove(s)
	s.stop()
	s.mu.Lock()
	s.drain.Stop()
	s.mu.Unlock()
}

// end ends the socket in order: what it was given and did not send goes back, what it
// has taken on is answered, and the connection is closed with a status; calls that it was
// given fail, and its own are abandoned. It does not wait for that. Only the first call counts.
func (s *socket) end(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.code, s.reason = true, code, reason
	s.drain = time.AfterFunc(s.hub.opts.DrainTime, s.cut)
	subs, watches := s.subs, s.watches
	s.subs, s.watches = nil, nil
	s.mu.Unlock()
	for _, x := range subs {
		x.close()
	}
	for _, w := range watches {
		s.hub.unwatch(w)
	}
	s.peer.Leave()
	s.out.close()
}

// cut ends the connection at once.
func (s *socket) cut() {
	s.stop()
	_ = s.conn.Close()
}

// over reports whether end was called.
func (s *socket) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// errNoMemory is of a frame for which there is no room.
var errNoMemory = errors.New("frames of all clients are at their limit")

// read handles frames until the socket ends. It reports false when the client is gone.
func (s *socket) read() bool {
	for {
		if !s.out.ready(s.life) {
			return false
		}
		f, err := s.frame()
		switch {
		case errors.Is(err, errNoMemory):
			s.problem("", fail(broker.Unavailable, "too much is being published at the moment: try again later"))
			s.end(websocket.StatusTryAgainLater, "no room for the frame")
			return true
		case err != nil && s.over():
			return true
		case err != nil:
			return false
		}
		if !s.out.begin() {
			f.release()
			return true
		}
		s.in.Add(1)
		s.active.Store(int64(time.Since(s.since)))
		s.who.Touch()
		s.handle(f)
		s.out.done()
		if s.over() {
			return true
		}
	}
}

// frame is one frame of the client. It is accounted for until release.
type frame struct {
	socket *socket
	data   []byte
	held   int64
	text   bool
}

// release gives back what was accounted for.
func (f *frame) release() {
	f.socket.release(f.held)
	f.held = 0
}

// frame waits for the next frame and reads all of it.
func (s *socket) frame() (*frame, error) {
	s.reading.Store(true)
	kind, r, err := s.ws.Reader(s.life)
	s.reading.Store(false)
	if err != nil {
		return nil, err
	}
	f := &frame{socket: s, text: kind == websocket.MessageText}
	f.data, err = io.ReadAll(&reserved{frame: f, src: r})
	if err == nil {
		err = f.holdValues()
	}
	if err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// holdValues accounts for what will be decoded from a frame, besides its text.
func (f *frame) holdValues() error {
	const valueBytes, smallFrame = 64, 64 << 10
	if len(f.data) <= smallFrame {
		return nil // it can't have many
	}
	n := valueBytes * wire.CountJSON(f.data)
	if f.socket.reserve(n) != nil {
		return errNoMemory
	}
	f.held += int64(n)
	return nil
}

// reserved reads a frame and accounts for what was read.
type reserved struct {
	frame *frame
	src   io.Reader
}

// Read is part of io.Reader.
func (r *reserved) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if n > 0 && r.frame.socket.reserve(n) != nil {
		return 0, errNoMemory
	}
	r.frame.held += int64(n)
	return n, err
}

// release gives back what was accounted for of frames.
func (s *socket) release(n int64) { _ = s.reserve(-int(n)) }

// ping asks a client whether it is there, and cuts it when no answer comes.
func (s *socket) ping() {
	defer s.pinging.Store(false)
	active := s.active.Load()
	quiet := func() bool { return s.reading.Load() && !s.writing.Load() && s.active.Load() == active }
	if !quiet() {
		return // who is writing has a deadline, and who reads hears of the end
	}
	ctx, cancel := context.WithTimeout(s.life, s.hub.opts.PingTimeout)
	defer cancel()
	if err := s.ws.Ping(ctx); err != nil && s.life.Err() == nil && quiet() {
		s.hub.opts.Log.Debug("client does not answer a ping", "remote", s.remote, "err", err)
		s.cut()
	}
}

// info describes the socket.
func (s *socket) info() apiconv.SessionInfo {
	d := apiconv.SessionInfo{
		ID: s.id, Remote: s.remote, Protocol: "api", Since: s.since, Active: s.since.Add(time.Duration(s.active.Load())),
		In: s.in.Load(), Out: s.put.Load(),
	}
	s.mu.Lock()
	subs := make([]*subscription, 0, len(s.subs))
	for _, x := range s.subs {
		subs = append(subs, x)
	}
	s.mu.Unlock()
	for _, x := range subs {
		g := x.sub.Group()
		credit, inFlight := x.sub.Load()
		d.Subscriptions = append(d.Subscriptions, apiconv.SubscriptionInfo{
			Topic: g.Topic().Name(), Group: g.Name(), Credit: credit, InFlight: inFlight,
		})
	}
	return d
}

// closing is what the connection is closed with. A reason has at most 123 bytes.
func (s *socket) closing() (websocket.StatusCode, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		return websocket.StatusInternalError, ""
	}
	const most = 120
	reason := s.reason
	for len(reason) > most {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	return s.code, reason
}
