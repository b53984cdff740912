package server

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Changes that come together are gathered into one push: for a while, and for longer when
// the table is large, so that pushes take at most a twentieth of a processor.
const (
	pushDelay = 20 * time.Millisecond
	pushShare = 20
)

// How long subscribers have to read of something new before the client that created it gets
// its answer: longer for a large table, which takes a client that has just started longer to
// parse. With 500 other topics, the fixed time alone let the Java client of the original miss
// a fifth of the topics that it had declared; with the rest it missed none of 120.
const (
	announceTime     = 15 * time.Millisecond
	announceByte     = 100 * time.Nanosecond
	mostAnnounceTime = 250 * time.Millisecond
)

// tracker tells subscribers about this server's topics and groups. Every server
// is one.
type tracker struct {
	srv     *Server
	dirty   chan struct{} // capacity 1: something changed since the last push
	version atomic.Int64  // of the last info given out
	changes atomic.Int64  // how often something changed
	shown   atomic.Int64  // changes that the last push had
	cost    atomic.Int64  // nanoseconds that the last push took
	tables  tables

	mu   sync.Mutex
	subs map[*session]access.Caller // guarded by mu; who asked for it
}

func newTracker(srv *Server) *tracker {
	t := &tracker{srv: srv, dirty: make(chan struct{}, 1), subs: make(map[*session]access.Caller)}
	t.tables.tracker = t
	return t
}

// nextVersion is larger than every one before, also of earlier runs: clients ignore
// what is not newer. It counts microseconds, because in a busy process a count of milliseconds runs ahead of
// the clock, and the next process would begin below it.
func (t *tracker) nextVersion() int64 {
	for {
		old := t.version.Load()
		next := max(old+1, t.srv.broker.Micros())
		if t.version.CompareAndSwap(old, next) {
			return next
		}
	}
}

// serverInfo is this server without its topics.
func (t *tracker) serverInfo() serverInfo {
	s := t.srv
	return serverInfo{
		ServerAddress: s.address(), ServerVersion: s.opts.Version, InfoVersion: t.nextVersion(),
		TrackerList: []serverAddress{}, TopicTable: map[string]topicInfoObject{},
	}
}

func (t *tracker) changed() {
	t.changes.Add(1)
	t.again()
}

// again has the present table pushed soon.
func (t *tracker) again() {
	select {
	case t.dirty <- struct{}{}:
	default:
	}
}

// run pushes changes to the subscribers until ctx ends.
func (t *tracker) run(ctx context.Context) {
	for {
		select {
		case <-t.dirty:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(max(pushDelay, pushShare*time.Duration(t.cost.Load()))):
		case <-ctx.Done():
			return
		}
		if t.changes.Load() != t.shown.Load() {
			t.push()
		}
	}
}

// announce pushes something new before the reply to the session that has declared it.
// Clients of the original look a topic up in the table that pushes bring, and fail to
// publish if they do so at once.
func (t *tracker) announce(s *session) {
	size, subscribed := t.push()
	if !subscribed {
		return
	}
	select {
	case <-time.After(min(announceTime+time.Duration(size)*announceByte, mostAnnounceTime)):
	case <-s.life.Done():
	}
}

// push sends the present table to all subscribers, and reports its size, and whether there
// are any; it is encoded once for all who see everything. A subscriber that does not read gets no second one while the first
// waits. The C++ client of the original loses a message that comes in one read with
// another one, so a push goes by itself.
func (t *tracker) push() (size int, subscribed bool) {
	t.mu.Lock()
	subs := maps.Clone(t.subs)
	t.mu.Unlock()
	if len(subs) == 0 {
		return 0, false
	}
	began := time.Now()
	made := map[*access.Principal]*table{} // nil: the one of all who see everything
	defer func() {
		for _, tab := range made {
			tab.release()
		}
	}()
	seen := t.changes.Load()
	for s, who := range subs {
		key := who.Principal
		if who.Allows(access.Observe, "", "") {
			key = nil
		}
		tab := made[key]
		if tab == nil {
			var err error
			if tab, err = t.tables.get(trackerTable, who); err != nil {
				t.srv.log.Debug("topics are not told to one who subscribed to them", "err", err)
				if broker.CodeOf(err) == broker.Unavailable {
					t.again()
					return size, true
				}
				continue
			}
			made[key] = tab
			seen = min(seen, tab.seen)
		}
		size = max(size, len(tab.body))
		if s.out.size() < queueBytes {
			s.pushTable(item{raw: pushed(""), table: tab.share(), alone: true})
		}
	}
	t.shown.Store(seen)
	t.cost.Store(int64(time.Since(began)))
	return size, true
}

// pushed begins the message with a table for a subscriber: id is that of its request, and
// empty in later pushes.
func pushed(id string) []byte {
	dst := wire.AppendStatus(nil, http.StatusOK)
	if id != "" {
		dst = wire.AppendField(dst, wire.HeaderID, id)
	}
	dst = wire.AppendField(dst, wire.HeaderCmd, wire.CmdTrackPub)
	return wire.AppendField(dst, wire.HeaderContentType, "application/json")
}

func (t *tracker) subscribe(s *session, who access.Caller) {
	t.mu.Lock()
	t.subs[s] = who
	t.mu.Unlock()
}

func (t *tracker) unsubscribe(s *session) {
	t.mu.Lock()
	delete(t.subs, s)
	t.mu.Unlock()
}

// recheck forgets a subscriber that may see nothing any longer, and shows others what they
// may see now.
func (t *tracker) recheck(s *session, acting *access.Principal) {
	t.mu.Lock()
	who, ok := t.subs[s]
	if ok {
		t.subs[s] = renewed(who, acting)
	}
	if ok && t.subs[s].Check(access.See, "", "") != nil {
		delete(t.subs, s)
	}
	t.mu.Unlock()
	if ok {
		t.changed()
	}
}

// trackerInfo answers the tracker command.
func (s *session) trackerInfo(m *wire.Message) {
	s.sendTable(m.Get(wire.HeaderID), trackerTable)
}

// serverInfo answers the server command.
func (s *session) serverInfo(m *wire.Message) {
	s.sendTable(m.Get(wire.HeaderID), serverTable)
}

// trackSub sends the table now and after every change. The reply goes before the
// first push, so a change between the two is looked for.
func (s *session) trackSub(m *wire.Message) {
	id, t := m.Get(wire.HeaderID), s.srv.tracker
	tab, err := t.tables.get(trackerTable, s.who)
	if err != nil {
		s.fail(id, err)
		return
	}
	seen := tab.seen
	s.pushTable(item{raw: pushed(id), id: id, table: tab})
	t.subscribe(s, s.who)
	if s.who.Check(access.See, "", "") != nil { // no longer, and recheck has looked before
		t.unsubscribe(s)
	}
	if t.changes.Load() != seen {
		t.changed()
	}
}

// trackPub is how another server announces itself. This one keeps no table of
// others, so it only confirms.
func (s *session) trackPub(m *wire.Message) {
	if isAck(m) {
		s.send(http.StatusOK, m.Get(wire.HeaderID), now())
	}
}
