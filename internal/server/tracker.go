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
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Changes that come together are gathered into one push: for a while, and for longer when
// the table is large, so that pushes take at most a twentieth of a processor. That a server is
// lost is told sooner.
const (
	pushDelay     = 20 * time.Millisecond
	pushShare     = 20
	mostPushDelay = 3 * time.Second
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

// tracker tells subscribers about the topics and groups of this server and of those that have
// joined it, and the trackers that this server joins about its own. Every server is one.
type tracker struct {
	srv     *Server
	cluster *cluster.Cluster // nil: there are no others
	dirty   chan struct{}    // capacity 1: something changed since the last push
	prompt  atomic.Bool      // another server has told of it, having gathered what came together
	version atomic.Int64     // of the last info given out
	changes atomic.Int64     // how often something changed here
	shown   atomic.Int64     // changes that the last push had
	cost    atomic.Int64     // nanoseconds that the last push took
	tables  tables

	pushing    sync.Mutex // held while subscribers are given a table, so that the newest comes last
	publishing sync.Mutex // held while trackers are
	published  int64      // guarded by publishing: changes that they were given

	mu   sync.Mutex
	subs map[*session]subscriber // guarded by mu
}

// subscriber is who has asked to be told.
type subscriber struct {
	access.Caller
	id   string // of the request, if its answer waits for the members of the table
	kind int    // of the table
	told *known // of a server that follows: what it was told last; nil: nothing
}

func newTracker(srv *Server) *tracker {
	t := &tracker{srv: srv, cluster: srv.opts.Cluster, dirty: make(chan struct{}, 1), subs: make(map[*session]subscriber)}
	t.tables.tracker = t
	t.version.Store(srv.broker.Past())
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
func (t *tracker) serverInfo() cluster.ServerInfo {
	s := t.srv
	phase, _ := t.cluster.Phase()
	return cluster.ServerInfo{
		ServerAddress: s.address(), ServerVersion: s.opts.Version, InfoVersion: t.nextVersion(), Drain: phase,
		TrackerList: t.cluster.Trackers(), TopicTable: map[string]cluster.TopicInfo{},
	}
}

// state counts the changes of what a table shows.
func (t *tracker) state(kind int) int64 {
	if kind == serverTable {
		return t.changes.Load()
	}
	return t.changes.Load() + t.cluster.Changes()
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

// Joined tells the server that its table of other servers is another. It does not block.
func (s *Server) Joined() {
	s.tracker.prompt.Store(true)
	s.tracker.again()
}

// Restate tells the server that what it says of itself has changed, for all to know soon. It
// does not block.
func (s *Server) Restate() {
	s.tracker.prompt.Store(true)
	s.tracker.changed()
}

// run pushes changes to the subscribers, and the present table now and then, until ctx ends.
func (t *tracker) run(ctx context.Context) {
	beat := time.NewTicker(t.srv.opts.BroadcastInterval)
	defer beat.Stop()
	t.publish(true)
	last := time.Now()
	for always := false; ; always = false {
		select {
		case <-t.dirty:
		case <-beat.C:
			always = true
		case <-ctx.Done():
			return
		}
		rest := max(pushDelay, pushShare*time.Duration(t.cost.Load()))
		if t.prompt.Swap(false) {
			rest = min(rest, mostPushDelay) - time.Since(last)
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
		if always || t.state(trackerTable) != t.shown.Load() || t.waiting() {
			t.push(always)
		}
		last = time.Now()
	}
}

// announce pushes something new before the reply to the session that has declared it.
// Clients of the original look a topic up in the table that pushes bring, and fail to
// publish if they do so at once.
//
// Without subscribers here, those of the trackers that this server has joined may be told of
// it: with what else comes, as many may be declared one after the other.
func (t *tracker) announce(s *session) {
	var rest time.Duration
	if t.subscribed() {
		size, _ := t.push(false)
		rest = min(announceTime+time.Duration(size)*announceByte, mostAnnounceTime)
	} else if t.cluster.Joined() {
		rest = pushDelay + announceTime
	} else {
		return
	}
	select {
	case <-time.After(rest):
	case <-s.life.Done():
	}
}

func (t *tracker) subscribed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs) > 0
}

// publish gives the trackers that this server joins the table of its own topics, if there are
// changes or always is set. The caller releases the table, which is nil without trackers.
func (t *tracker) publish(always bool) *table {
	if !t.cluster.Joins() {
		return nil
	}
	t.publishing.Lock()
	defer t.publishing.Unlock()
	if !always && t.published == t.changes.Load() {
		return nil
	}
	tab, err := t.tables.own()
	if err != nil {
		t.srv.log.Error("trackers are not told of the topics here", "err", err)
		return nil
	}
	t.cluster.Publish(tab.body)
	t.published = tab.seen
	return tab
}

// push sends the present table to all subscribers and trackers, and reports its size, and
// whether there are any; it is encoded once for all who see everything. always has the
// trackers told without a change, too.
func (t *tracker) push(always bool) (size int, told bool) {
	began := time.Now()
	seen := t.state(trackerTable)
	if own := t.publish(always); own != nil {
		size, told = len(own.body), t.cluster.Joined()
		defer own.release() // its text is part of the other
	}
	if n, subscribed := t.pushAll(&seen, always); subscribed {
		size, told = max(size, n), true
	}
	if told {
		t.shown.Store(seen)
		t.cost.Store(int64(time.Since(began)))
	}
	return size, told
}

// pushAll sends the present table to all subscribers. A subscriber that does not read gets no
// second one while the first waits. The C++ client of the original loses a message that comes
// in one read with another one, so a push goes by itself. It lowers seen to the changes that
// the oldest table has.
func (t *tracker) pushAll(seen *int64, always bool) (size int, subscribed bool) {
	if !t.settled() {
		return 0, false
	}
	t.pushing.Lock()
	defer t.pushing.Unlock()
	type key struct {
		who  *access.Principal // nil: all who see everything
		kind int
		told *known
	}
	made := map[key]*table{}
	defer func() {
		for _, tab := range made {
			if tab != nil {
				tab.release()
			}
		}
	}()
	for s, sub := range t.take() {
		subscribed = true
		same := key{sub.Principal, sub.kind, nil}
		if seesAll(sub.Caller) {
			same.who, same.told = nil, sub.told
		}
		tab, ok := made[same]
		if !ok {
			var err error
			if same.told != nil {
				tab, err = t.tables.changes(same.told, always)
			} else {
				tab, err = t.tables.get(sub.kind, sub.Caller)
			}
			if err != nil {
				t.srv.log.Debug("topics are not told to one who subscribed to them", "err", err)
				if sub.id != "" {
					s.fail(sub.id, err)
				}
				if broker.CodeOf(err) == broker.Unavailable {
					t.again()
					return size, true
				}
				continue
			}
			made[same] = tab
		}
		if tab == nil {
			continue
		}
		*seen = min(*seen, tab.seen)
		size = max(size, len(tab.body))
		if sub.id != "" || s.out.size() < queueBytes {
			s.pushTable(item{raw: pushed(sub.id), id: sub.id, table: tab.share(), alone: true})
			t.knows(s, tab.told)
		}
	}
	return size, subscribed
}

// knows notes what a subscriber has been told.
func (t *tracker) knows(s *session, told *known) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sub, ok := t.subs[s]; ok && sub.kind == membersTable { // it may have subscribed to another one since
		sub.told = told
		t.subs[s] = sub
	}
}

// settled reports whether the members of the table are there that were before this tracker
// was started.
func (t *tracker) settled() bool {
	select {
	case <-t.cluster.Settled():
		return true
	default:
		return false
	}
}

// take is who is to be told now. Requests that wait for their answer are in it once.
func (t *tracker) take() map[*session]subscriber {
	t.mu.Lock()
	defer t.mu.Unlock()
	subs := maps.Clone(t.subs)
	for s, sub := range subs {
		if sub.id != "" {
			sub.id = ""
			t.subs[s] = sub
		}
	}
	return subs
}

// waiting reports whether requests wait for their answer.
func (t *tracker) waiting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sub := range t.subs {
		if sub.id != "" {
			return true
		}
	}
	return false
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

func (t *tracker) subscribe(s *session, sub subscriber) {
	t.mu.Lock()
	t.subs[s] = sub
	t.mu.Unlock()
	if sub.Check(access.See, "", "") != nil { // no longer, and recheck has looked before
		t.unsubscribe(s)
	}
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
	sub, ok := t.subs[s]
	if ok {
		sub.Caller = renewed(sub.Caller, acting)
		t.subs[s] = sub
	}
	if ok && sub.Check(access.See, "", "") != nil {
		delete(t.subs, s)
	}
	t.mu.Unlock()
	if ok {
		t.changed()
	}
}
