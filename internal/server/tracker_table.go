package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/wire"
)

// table is an encoded table of all topics, which several clients may be sent. Its bytes never
// change. Every holder gives it back with release.
type table struct {
	of   *tables
	kind int
	body []byte
	refs int       // guarded by of.mu
	made time.Time // before it was encoded
	seen int64     // changes that it has
	told *known    // what it says, of a table for servers; nil for others
}

// The tables there are: this server, and all known servers.
const (
	serverTable  = iota
	trackerTable // as clients use it: see appendMembers
	membersTable // with all that servers have said; later ones have only what has changed
	tableKinds
)

// How long a large table is sent to others, too, if no topic or group has come or gone since:
// its counts of messages are that old then.
const tableTime = time.Second

// tables makes tables, one at a time, and bounds what those take that clients are slow to
// read.
type tables struct {
	tracker *tracker
	making  sync.Mutex // held while one is encoded
	last    *known     // guarded by making: what a table of everything told last

	mu     sync.Mutex
	latest [tableKinds]*table // guarded by mu; nil when no client has it
	held   int64              // guarded by mu: bytes
}

var errManyTables error = &broker.Error{Code: broker.Unavailable, Text: "tables that clients are slow to read fill the memory: try again later"}

// get gives a table as of now: the one for all who see everything, or one of what a caller
// may see.
func (t *tables) get(kind int, who access.Caller) (*table, error) {
	if err := who.Check(access.See, "", ""); err != nil {
		return nil, err
	}
	view := t.tracker.srv.broker.As(who, access.See)
	t.making.Lock()
	defer t.making.Unlock()
	made, seen := time.Now(), t.tracker.state(kind)
	if !seesAll(who) {
		return t.partial(kind, view, who, made, seen)
	}
	if old := t.recent(kind, made, seen); old != nil {
		return old, nil
	}
	if !t.room() {
		return nil, errManyTables
	}
	return t.make(kind, t.tracker.srv.broker.System(), made, seen)
}

// seesAll reports whether a caller sees all topics in a table: who may observe, and servers.
func seesAll(who access.Caller) bool {
	return who.Allows(access.Observe, "", "") || who.Allows(access.Join, "", "")
}

// own is the table of this server, for other servers. Clients that are slow to read leave
// room for it.
func (t *tables) own() (*table, error) {
	t.making.Lock()
	defer t.making.Unlock()
	made, seen := time.Now(), t.tracker.state(serverTable)
	if old := t.recent(serverTable, made, seen); old != nil {
		return old, nil
	}
	return t.make(serverTable, t.tracker.srv.broker.System(), made, seen)
}

// make makes the table of all who see everything.
func (t *tables) make(kind int, view broker.View, made time.Time, seen int64) (*table, error) {
	var what content // nothing of others for a table of this server
	fresh := &table{of: t, kind: kind, refs: 1, made: made, seen: seen}
	switch kind {
	case trackerTable:
		what, _ = t.all()
	case membersTable:
		what, fresh.told = t.all()
	}
	body, err := t.encode(kind, view, what)
	if err != nil {
		return nil, err
	}
	fresh.body = body
	t.mu.Lock()
	t.latest[kind], t.held = fresh, t.held+int64(len(body))
	t.mu.Unlock()
	return fresh, nil
}

// partial makes a table for one caller.
func (t *tables) partial(kind int, view broker.View, who access.Caller, made time.Time, seen int64) (*table, error) {
	if !t.room() {
		return nil, errManyTables
	}
	what, _ := t.all()
	what.visible = func(topic string) bool { return who.Allows(access.See, topic, "") }
	body, err := t.encode(kind, view, what)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held += int64(len(body))
	return &table{of: t, kind: kind, body: body, refs: 1, made: made, seen: seen}, nil
}

// recent is the latest table, if it is large and still right.
func (t *tables) recent(kind int, now time.Time, seen int64) *table {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.latest[kind]
	if old == nil || len(old.body) < largeAnswer || old.seen != seen || now.Sub(old.made) > tableTime {
		return nil
	}
	old.refs++
	return old
}

// room reports whether another table may be made: one always may.
func (t *tables) room() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held < max(t.tracker.srv.opts.AnswerBytes, largeAnswer)
}

// share is one more holder of the table.
func (t *table) share() *table {
	t.of.mu.Lock()
	t.refs++
	t.of.mu.Unlock()
	return t
}

// release says that a holder needs it no longer.
func (t *table) release() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.refs--; t.refs > 0 {
		return
	}
	t.of.held -= int64(len(t.body))
	if t.of.latest[t.kind] == t {
		t.of.latest[t.kind] = nil
	}
}

// content is what a table tells.
type content struct {
	own       bool            // this server
	members   []*cluster.Info // the others
	unchanged []string        // keys of servers that the table says no more of
	// visible says which topics of other servers are in it; nil: all.
	visible func(topic string) bool
}

// encode writes a table topic by topic, so that there is only its text.
func (t *tables) encode(kind int, view broker.View, what content) ([]byte, error) {
	info := t.tracker.serverInfo()
	if kind == serverTable {
		return t.appendServer(nil, info, view.Topics())
	}
	head, err := json.Marshal(cluster.TrackerInfo{
		ServerAddress: info.ServerAddress, ServerVersion: info.ServerVersion, InfoVersion: t.tracker.nextVersion(),
		Unchanged: what.unchanged, ServerTable: map[string]cluster.ServerInfo{},
	})
	if err != nil {
		return nil, err
	}
	dst := bytes.TrimSuffix(head, []byte("}}"))
	drained := kind == trackerTable
	if what.own {
		if dst, err = t.appendOwn(dst, info, view, what.visible == nil, drained); err != nil {
			return nil, err
		}
	}
	if dst, err = appendMembers(dst, what.members, what.visible, drained, t.here); err != nil {
		return nil, err
	}
	return append(dst, "}}"...), nil
}

// here reports whether clients may choose this server for a topic, as one of several.
func (t *tables) here(topic string, served bool) bool {
	c := t.tracker.cluster
	if phase, _ := c.Phase(); c.TrackerOnly() || phase != cluster.Serving {
		return false
	}
	own, err := t.tracker.srv.broker.System().Topic(topic)
	return err == nil && own.Name() == topic && (!served || own.Subscriptions() > 0)
}

// appendMembers appends the other servers to a table. One that is being drained is there with
// the topics that no other server has, and for as long as there may be something to consume:
// publishers choose among the topics of a table, and consumers go to all of its servers. Without
// drained all is there.
func appendMembers(dst []byte, members []*cluster.Info, visible func(topic string) bool, drained bool, here func(string, bool) bool) (_ []byte, err error) {
	size := 0
	for _, m := range members {
		size += len(m.Body) + 2*len(m.Address.Key())
	}
	dst = slices.Grow(dst, size+len("}}"))
	for _, m := range members {
		shown, left := visible, 1
		if drained && m.Phase != cluster.Serving {
			shown, left = m.Shown(visible, func(topic string) bool { return cluster.Hidden(m, members, topic, here) })
		}
		if drained && left == 0 && m.Phase == cluster.Emptied {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		if dst, err = appendKey(dst, m.Address.Key()); err != nil {
			return nil, err
		}
		if shown == nil {
			dst = append(dst, m.Body...)
		} else {
			dst = m.Append(dst, shown)
		}
	}
	return dst, nil
}

// appendOwn appends this server, unless it is drained and empty. A large
// table of it that the trackers have just been given is not encoded a second time.
func (t *tables) appendOwn(dst []byte, info cluster.ServerInfo, view broker.View, all, drained bool) (_ []byte, err error) {
	c := t.tracker.cluster
	shown := view.Topics()
	if drained = drained && info.Drain != cluster.Serving; drained {
		all = false
		shown = slices.DeleteFunc(shown, func(topic *broker.Topic) bool { return len(c.Elsewhere(topic.Name(), topic.Calls())) > 0 })
	}
	if drained && info.Drain == cluster.Emptied && len(shown) == 0 {
		return dst, nil
	}
	if dst, err = appendKey(dst, info.ServerAddress.Key()); err != nil {
		return nil, err
	}
	if all {
		if old := t.recent(serverTable, time.Now(), t.tracker.state(serverTable)); old != nil {
			defer old.release()
			return append(dst, old.body...), nil
		}
	}
	return t.appendServer(dst, info, shown)
}

// appendServer appends the object of this server, with topics of it.
func (t *tables) appendServer(dst []byte, info cluster.ServerInfo, topics []*broker.Topic) ([]byte, error) {
	head, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	s := t.tracker.srv
	const about = 512 // bytes of a topic with a group
	dst = append(slices.Grow(dst, len(head)+len(topics)*about), bytes.TrimSuffix(head, []byte("}}"))...)
	for i, topic := range topics {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendKey(dst, topic.Name()); err != nil {
			return nil, err
		}
		object, err := json.Marshal(s.topicInfo(topic, inspect.Ahead))
		if err != nil {
			return nil, err
		}
		dst = append(dst, object...)
	}
	return append(dst, "}}"...), nil
}

func appendKey(dst []byte, key string) ([]byte, error) {
	text, err := json.Marshal(key)
	return append(append(dst, text...), ':'), err
}

// sendTable answers with a table.
func (s *session) sendTable(id string, kind int) {
	t, err := s.srv.tracker.tables.get(kind, s.who)
	if err != nil {
		s.fail(id, err)
		return
	}
	dst := wire.AppendStatus(nil, http.StatusOK)
	dst = wire.AppendField(dst, wire.HeaderID, id)
	dst = wire.AppendField(dst, wire.HeaderContentType, "application/json")
	if s.http10.Load() && s.stopAt.Load() == nil {
		dst = append(dst, "connection: keep-alive\r\n"...)
	}
	s.pushTable(item{raw: dst, id: strings.Clone(id), table: t})
}

// pushTable queues an item with a table, which is released when it is sent, or can't be.
func (s *session) pushTable(it item) {
	it.raw = wire.AppendLength(it.raw, len(it.table.body))
	it.alone = it.alone || it.large()
	if !s.out.push(it) {
		it.table.release()
	}
}

// large reports whether an item is sent without a copy.
func (it *item) large() bool { return it.table != nil && len(it.table.body) >= largeAnswer }

func (w *streamWriter) writeTable(head, body []byte) error {
	_ = w.SetWriteDeadline(time.Now().Add(writeTimeout))
	parts := net.Buffers{head, body}
	_, err := parts.WriteTo(w.Conn)
	return err
}

func (c *webSocket) writeTable(head, body []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), writeTimeout)
	defer cancel()
	w, err := c.ws.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	_, first := w.Write(head)
	_, second := w.Write(body)
	return errors.Join(first, second, w.Close())
}
