package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/wire"
)

const (
	// refusedPause is the least pause after a tracker has said no.
	refusedPause = 15 * time.Second
	// pubShare is how much longer than a tracker took for a table it is left alone.
	pubShare = 4
	// leaveTime is how long a tracker may take for the word that this server stops.
	leaveTime = time.Second
)

// linkCondition is what the board calls a tracker that was not joined.
const linkCondition = "tracker"

var (
	errSelf  = errors.New("it is this server")
	errTwins = errors.New("it has the same address as this server: give one of them another, with --advertise")
)

// link is the connection to a tracker.
type link struct {
	c     *Cluster
	at    Address
	dirty chan struct{} // capacity 1: this server has something new to say of itself
	kick  chan struct{} // capacity 1: the tracker is there again

	urgent chan struct{} // capacity 1: what is new does not wait until the tracker has had a rest

	// Guarded by Cluster.mu.
	name   Address   // what the tracker calls itself; empty until it was reached
	tried  bool      // it was reached, or could not be
	self   bool      // it is this server
	joined bool      // it has taken what this server says
	told   int64     // how much of what was published it has taken
	knows  []Address // the servers that it has listed when it was joined
	fresh  bool      // it was just started then, and waits for its members

	knocked bool      // another server has told that it is back
	since   time.Time // of joined
	heard   time.Time
	lists   []*Info   // the servers in its table; replaced and never changed
	listed  time.Time // when it was told that

	figures told
	relayed map[Address]told // of servers that have joined the tracker; replaced and never changed

	certificates map[Address]certificate // of servers that this one has no certificate of
}

func newLink(c *Cluster, at Address) *link {
	return &link{c: c, at: at, certificates: make(map[Address]certificate), dirty: make(chan struct{}, 1), kick: make(chan struct{}, 1), urgent: make(chan struct{}, 1), since: time.Now()}
}

// there says that a server can be reached. If it is the tracker, it is not waited for longer. knocked says that
// others have been told that, too.
func (l *link) there(address string, knocked bool) {
	l.c.mu.Lock()
	same := !l.joined && (address == l.at.Address || address == l.name.Address)
	l.knocked = l.knocked || same && knocked
	l.c.mu.Unlock()
	if same {
		wake(l.kick)
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run keeps the tracker joined until ctx ends. One that is this server needs no link.
func (l *link) run(ctx context.Context) {
	for n := 0; ; n++ {
		joined, err := l.join(ctx)
		if joined {
			n = 0
		}
		l.ended(err, n)
		if ctx.Err() != nil || errors.Is(err, errSelf) {
			return
		}
		d := l.rest(n)
		if final(err) {
			d = refusedPause
		}
		// Any client can knock, so there is a pause in any case.
		if !pause(ctx, retries[0], nil) || !pause(ctx, d-retries[0], l.kick) {
			return
		}
	}
}

// final reports whether a tracker has said no, and will say so again.
func final(err error) bool {
	no := (*refused)(nil)
	return errors.As(err, &no) && no.status != http.StatusServiceUnavailable
}

// ended notes why the tracker is not joined. The first of several failures says little, unless it is final: the
// tracker may just be started again.
func (l *link) ended(err error, n int) {
	l.c.mu.Lock()
	if l.joined {
		l.since = time.Now()
	}
	l.joined, l.tried, l.self = false, true, errors.Is(err, errSelf)
	l.c.merge()
	l.c.mu.Unlock()
	if errors.Is(err, errSelf) {
		l.c.opts.Conditions.Clear(linkCondition, l.at.Key())
		return
	}
	if n == 0 && !final(err) {
		l.c.opts.Log.Debug("the tracker is not joined", "tracker", l.at.Key(), "err", err)
		return
	}
	l.c.opts.Conditions.Raise(condition.Condition{
		Kind: linkCondition, Subject: l.at.Key(), Severity: condition.Warning,
		Text: fmt.Sprintf("the tracker is not joined, and is tried again; its clients don't know of this server: %v", err),
	})
}

// join connects to the tracker and tells it of this server until the connection is lost.
func (l *link) join(ctx context.Context) (joined bool, err error) {
	token, err := readToken(l.c.opts.TokenFile, l.at)
	if err != nil {
		return false, err
	}
	conn, err := dial(ctx, l.at, l.c.opts.Secrets, true, replyLimits)
	if err != nil && l.at.Address == l.c.opts.Self.Address { // not every router lets a server reach itself from outside
		return false, errSelf
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return false, fmt.Errorf("its certificate is not of an authority that is trusted here, give that with --tracker-ca: %w", err)
	}
	if err != nil {
		return false, err
	}
	defer conn.close()
	answer, err := probe(ctx, conn, dialTime, l.c.proof, token, true)
	if err != nil {
		return false, err
	}
	switch {
	case answer.Proved:
		return false, errSelf
	case answer.ServerAddress.Address == l.c.opts.Self.Address:
		return false, errTwins
	}
	l.c.mu.Lock()
	l.name, l.knows, l.fresh, l.told = answer.ServerAddress, answer.Servers[:min(len(answer.Servers), maxMembers)], answer.Fresh, 0
	l.c.mu.Unlock()
	l.heardOf(answer)
	return l.tell(ctx, conn)
}

// tell tells the tracker of this server now and after every change.
func (l *link) tell(ctx context.Context, conn *conn) (joined bool, err error) {
	var knocking sync.WaitGroup
	defer knocking.Wait()
	knocks, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		l.c.mu.Lock()
		own, latest, told := l.c.own, l.c.published, l.told
		l.c.mu.Unlock()
		var rest time.Duration
		if latest != told {
			began := time.Now()
			if err := l.publish(ctx, conn, own); err != nil {
				return joined, err
			}
			if !joined {
				l.knock(knocks, &knocking)
			}
			rest, joined = pubShare*time.Since(began), true
			l.accepted(latest)
		}
		if err := l.listen(ctx, conn, tick.C, rest); err != nil {
			if ctx.Err() != nil && joined {
				l.leave(conn)
			}
			return joined, err
		}
	}
}

// listen waits until there may be something to tell, but for at least rest. The error says
// that the connection is lost.
func (l *link) listen(ctx context.Context, conn *conn, tick <-chan time.Time, rest time.Duration) error {
	dirty := l.dirty
	var rested <-chan time.Time
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		dirty, rested = nil, timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-conn.answers:
			if !ok {
				return conn.err
			}
		case <-rested:
			dirty, rested = l.dirty, nil
		case <-dirty:
			return nil
		case <-l.urgent:
			return nil
		case <-tick:
			answer, err := probe(ctx, conn, answerTime, l.c.proof, "", l.hears())
			if err != nil {
				return err
			}
			l.heardOf(answer)
		}
	}
}

// publish sends what this server says of itself. One that is only a tracker is in no table.
func (l *link) publish(ctx context.Context, conn *conn, own []byte) error {
	if l.c.opts.TrackerOnly {
		return nil
	}
	head, err := l.before([]byte(`{"live":true,`))
	if err != nil {
		return err
	}
	if l.c.opts.Certificate != nil {
		if head, err = appendJSON(append(head, `"certificate":`...), l.c.opts.Certificate()); err != nil {
			return err
		}
		head = append(head, ',')
	}
	_, err = conn.ask(ctx, answerTime, l.event(), append(head, `"serverInfo":`...), own, []byte("}"))
	return err
}

// before appends which servers the tracker had listed before it was started, for it to wait for them.
func (l *link) before(dst []byte) ([]byte, error) {
	l.c.mu.Lock()
	fresh, lists := l.fresh && !l.joined, l.lists
	l.c.mu.Unlock()
	if !fresh || len(lists) == 0 {
		return dst, nil
	}
	all := make([]Address, len(lists))
	for i, info := range lists {
		all[i] = info.Address
	}
	dst, err := appendJSON(append(dst, `"knows":`...), all)
	return append(dst, ','), err
}

func (l *link) event() []wire.Field {
	return append(command(wire.CmdTrackPub), wire.Field{Name: wire.HeaderProof, Value: l.c.proof})
}

// leave tells the tracker that this server stops.
func (l *link) leave(conn *conn) {
	own, err := appendJSON(nil, ServerInfo{
		ServerAddress: l.c.opts.Self, ServerVersion: l.c.opts.Version, TrackerList: []Address{}, TopicTable: map[string]TopicInfo{},
	})
	if err == nil && !l.c.opts.TrackerOnly {
		_, err = conn.ask(context.Background(), leaveTime, l.event(), []byte(`{"live":false,"serverInfo":`), own, []byte("}"))
	}
	if err != nil {
		l.c.opts.Log.Debug("the tracker was not told that this server stops", "tracker", l.at.Key(), "err", err)
	}
}

// accepted notes that the tracker lists this server.
func (l *link) accepted(told int64) {
	c := l.c
	c.mu.Lock()
	if !l.joined {
		l.since = time.Now()
	}
	fresh := !l.joined
	l.joined, l.tried, l.told, l.heard = true, true, told, time.Now()
	c.merge()
	c.mu.Unlock()
	if fresh {
		c.opts.Conditions.Clear(linkCondition, l.at.Key())
		c.opts.Log.Info("joined a tracker", "tracker", l.at.Key(), "named", l.name.Address)
	}
}
