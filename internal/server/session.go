package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

const (
	writeTimeout = 60 * time.Second // for one write
	flushBytes   = 64 << 10         // what the writer sends at once
	ownBytes     = 16 << 10         // a session keeps no larger write buffer while it sends nothing
	keepBytes    = 256 << 10        // nor do all together keep larger ones for one another
	queueBytes   = 1 << 20          // of unsent replies, at which no more requests are read

	// How long, and for how many bytes, a refused client may keep sending.
	lastWordsTime  = 2 * time.Second
	lastWordsBytes = 16 << 20
)

// session is one client. The fields of the first group are set at its start.
type session struct {
	srv     *Server
	id      string // sent to others as "sender"; has no colon
	remote  string
	account *account
	out     queue
	life    context.Context // ends when the session has to stop
	stop    context.CancelFunc
	conn    io.Closer                        // nil for a single HTTP request
	acting  atomic.Pointer[access.Principal] // who the reader acts as, for others

	// Owned by the reader.
	identity
	command  string // of the request at hand
	topics   topicCache
	relays   map[cluster.Address]*relay // to servers that have other topics
	homes    homes
	own      []*broker.Group // ephemeral ones that it has created
	pending  *produced       // publishes of the current read, not yet handed over
	purse    access.Purse    // pays for them
	refused  error           // the last publish that was more than the account may; see cool
	taken    bool            // a publish was taken since the last cool
	touched  []*session
	borrowed bool // the message at hand is the reader's, to be copied from
	more     int  // bytes read and not yet handled behind that message
	proxied  bool // its client is a trusted proxy; set at its start
	vetted   bool // its first request was looked at: see outsider
	named    bool // the request at hand came with an id
	scratch  []wire.Field
	json     []byte
	now      rpc.Instant // when the bytes at hand were read
	renewed  time.Time   // when the idle deadline was set; zero when another one is
	pace     socket.Pace // of the frame at hand

	peer      rpc.Peer // its part in calls
	replies   replies  // stored calls that it may answer
	activity  activity
	inflight  gate          // publishes and acks handed to the broker and not answered
	room      chan struct{} // capacity 1: the writer has sent something
	roomy     chan struct{} // capacity 1: the same for relays
	written   chan struct{} // closed when the writer has ended
	finishing atomic.Bool
	quitting  atomic.Bool // see quit
	hungUp    atomic.Bool // see hangUp
	http10    atomic.Bool
	web       atomic.Bool            // its last request was made by an HTTP client
	stopAt    atomic.Pointer[string] // reply to this request, then close
	joined    atomic.Pointer[string] // it is another server, which answers for this proof

	// Owned by the goroutine that sends; see queue.
	enc    encoder
	stream *socket.Conn // nil when only the writer can write
	rest   []byte       // what the connection did not take at once
	owed   []item       // whose end rest is

	mu   sync.Mutex
	subs map[*broker.Group]*consumer // guarded by mu
}

// consumer is the session's subscription to one group.
type consumer struct {
	sub   *broker.Subscription
	by    access.Caller // guarded by session.mu: who asked for it
	id    string        // guarded by session.mu: of the latest consume request
	timer *time.Timer   // guarded by session.mu: ends a consume that has a timeout
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func newSession(srv *Server, who access.Caller, acc *account) *session {
	s := &session{
		srv: srv, id: newUUID(), remote: who.Address, account: acc,
		room: make(chan struct{}, 1), roomy: make(chan struct{}, 1), written: make(chan struct{}),
		subs: make(map[*broker.Group]*consumer),
	}
	s.out.init()
	s.enc.init()
	s.inflight.init()
	s.peer.Init(srv.calls, s.id, who.Address, s)
	s.who, s.first = who, who
	if who.Certified() {
		s.certified, s.first.Principal = who.Principal, srv.access.Anonymous()
	}
	s.acting.Store(who.Principal)
	s.activity.since = time.Now()
	s.heard()
	s.life, s.stop = context.WithCancel(context.Background())
	return s
}

// Name is the client's address. It is part of broker.Sink.
func (s *session) Name() string { return s.remote }

// Quota is part of broker.Limited.
func (s *session) Quota() *access.Quota { return s.acting.Load().Quota() }

// Session is part of broker.Sink.
func (s *session) Session() string { return s.id }

// Deliver is part of broker.Sink.
func (s *session) Deliver(b *broker.Batch) {
	if b.Calls() {
		s.take(b)
	} else if b.Sub.Group().Topic().Unacked() {
		s.replies.add(b)
	}
	if !s.out.put(item{batch: b}) {
		b.Done(0)
	}
}

// Flush is part of broker.Sink.
func (s *session) Flush() { s.sendNow() }

// Ended is part of broker.Sink: a consume that still waits for a message of the
// group is told that the group is gone. One that was answered is not answered
// again.
func (s *session) Ended(sub *broker.Subscription) {
	g := sub.Group()
	s.mu.Lock()
	c := s.subs[g]
	ours := c != nil && c.sub == sub
	if ours {
		delete(s.subs, g)
	}
	s.mu.Unlock()
	s.withdraw(g.Topic())
	if id, waiting := sub.Waiting(); ours && waiting {
		s.groupGone(id, g)
	}
}

func (s *session) groupGone(id string, g *broker.Group) {
	s.send(http.StatusNotFound, id, fmt.Sprintf("ConsumeGroup(%s) not found", g.Name()))
}

// send queues a text reply.
func (s *session) send(status int, id, text string) {
	s.sendTyped(status, id, "", []byte(text))
}

// sendTyped queues a reply. The id may be that of a borrowed request, whose memory has
// another one in it by the time that this is sent.
func (s *session) sendTyped(status int, id, contentType string, body []byte) {
	raw := reply(status, id, contentType, body, nil, s.http10.Load() && s.stopAt.Load() == nil)
	s.out.push(item{raw: raw, id: strings.Clone(id)})
}

// fail queues the reply to a request that failed.
func (s *session) fail(id string, err error) {
	if broker.CodeOf(err) == broker.Unknown {
		s.hangUp()
		return
	}
	status := statusOf(err)
	if status == http.StatusInternalServerError {
		s.srv.log.Error("request failed", "remote", s.remote, "err", err)
	}
	raw := reply(status, id, "", []byte(broker.TextOf(err)), err, s.http10.Load() && s.stopAt.Load() == nil)
	s.out.push(item{raw: raw, id: strings.Clone(id)})
}

// serveStream runs a session on a byte stream until it ends. stream is what conn reads
// from and writes to, or nil if there is something in between.
func (s *session) serveStream(conn net.Conn, stream *socket.Conn, r *wire.Reader) {
	s.conn, s.stream = conn, stream
	go s.write(&streamWriter{conn, stream})
	if !s.srv.addSession(s) {
		if stream != nil {
			stream.Release()
		}
		s.end()
		turnAway(conn, r)
		return
	}
	defer s.srv.serving.Done()
	buffered, err := s.read(conn, r)
	if stream != nil {
		stream.Release()
	}
	if buffered != nil && !s.hungUp.Load() {
		s.end()
		s.srv.handOver(conn, s.account, buffered, r)
		return
	}
	var bad *wire.Error
	if errors.Is(err, errNoMemory) {
		s.srv.addresses.refuse(refusedMemory)
	}
	if errors.As(err, &bad) {
		s.send(bad.Status, bad.ID, bad.Reason)
	}
	r.Release()
	unread := bad != nil || s.hungUp.Load() || s.finishing.Load() && s.inflight.busy()
	s.end()
	if unread {
		lingerClose(conn)
	}
	_ = conn.Close()
}

// lingerClose gives a client that keeps sending a moment to read the last
// replies: closing with bytes unread makes the system throw away what was sent.
func lingerClose(conn net.Conn) {
	if closeWrite(conn) != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(lastWordsTime))
	_, _ = io.CopyN(io.Discard, conn, lastWordsBytes)
}

// end closes the session: what it was given and did not send goes back, what it
// has taken on is answered as far as the connection allows.
func (s *session) end() {
	s.srv.removeSession(s)
	s.srv.tracker.unsubscribe(s)
	s.mu.Lock()
	subs := s.subs
	s.subs = nil
	s.mu.Unlock()
	for _, c := range subs {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.sub.Close()
	}
	for _, g := range s.own {
		g.Abandon() // the connection may have ended before it consumed
	}
	s.peer.Leave()
	s.quota.Disconnect()
	s.closeRelays()
	s.inflight.wait(0)
	s.out.close()
	s.stop()
	<-s.written
}

// finish makes the session stop reading, answer what it has taken on, and close.
func (s *session) finish() {
	s.finishing.Store(true)
	switch conn := s.conn.(type) {
	case net.Conn: // its reader fails now, and ends the session
		s.stop()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	case *webSocket: // its reader ends when the connection is closed
		s.inflight.shutdown()
		s.out.close()
		<-s.written
		_ = conn.ws.Close(websocket.StatusServiceRestart, "shutting down")
	default:
		s.stop()
	}
}

// abort cuts the connection.
func (s *session) abort() {
	s.stop()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func (s *session) roomier() {
	for _, waiting := range []chan struct{}{s.room, s.roomy} {
		select {
		case waiting <- struct{}{}:
		default:
		}
	}
}

// closes reports whether the client wants the connection closed after the reply.
func closes(m *wire.Message) bool {
	v := m.Get(wire.HeaderConnection)
	if strings.EqualFold(v, "close") {
		return true
	}
	_, native := m.Lookup(wire.HeaderCmd)
	return m.Minor == 0 && !native && m.Status == 0 && !strings.EqualFold(v, "keep-alive")
}
