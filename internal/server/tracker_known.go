package server

import (
	"maps"
	"time"
)

// known is what a server has been told: it is not told again of what is as it was. Those that have
// been told the same of late share one, so that what comes next is encoded once for all.
type known struct {
	own     int64            // changes here
	members map[string]int64 // what the others have said, by key: the number of it
}

// all is what a table of everything tells, and what is known by it. Called with t.making held.
func (t *tables) all() (content, *known) {
	c := t.tracker.cluster
	k := &known{own: t.tracker.changes.Load(), members: make(map[string]int64)}
	members, _ := c.Members()
	for _, m := range members {
		k.members[m.Address.Key()] = m.Number
	}
	if last := t.last; last != nil && last.own == k.own && maps.Equal(last.members, k.members) {
		k = last
	}
	t.last = k
	return content{own: !c.TrackerOnly(), members: members}, k
}

// since leaves of what a table tells what is not known already, and reports whether there is
// anything. With always this server is told of in any case: its counts may have moved.
func (c *content) since(old, now *known, self string, always bool) bool {
	if c.own && !always && old.own == now.own {
		c.own, c.unchanged = false, append(c.unchanged, self)
	}
	all := c.members
	c.members = nil
	for _, m := range all {
		key := m.Address.Key()
		if n, ok := old.members[key]; ok && n == m.Number {
			c.unchanged = append(c.unchanged, key)
		} else {
			c.members = append(c.members, m)
		}
	}
	return c.own || len(c.members) > 0 || len(now.members) < len(old.members)
}

// changes makes a table of what has changed since something else was told to who sees everything.
// It is nil if there is nothing.
func (t *tables) changes(old *known, always bool) (*table, error) {
	t.making.Lock()
	defer t.making.Unlock()
	made, seen := time.Now(), t.tracker.state(membersTable)
	what, told := t.all()
	if !what.since(old, told, t.tracker.srv.address().Key(), always) {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	if !t.room() {
		return nil, errManyTables
	}
	body, err := t.encode(membersTable, t.tracker.srv.broker.System(), what)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held += int64(len(body))
	return &table{of: t, kind: membersTable, body: body, refs: 1, made: made, seen: seen, told: told}, nil
}
