package broker

import (
	"context"
	"slices"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

// close1 ends a connection. What it has not written yet comes back when it is
// reported, the rest at once.
func (m *model) close1(c *modelClient) {
	g := c.group
	g.absorb()
	for _, o := range g.holds(c) {
		if !slices.Contains(c.batches, g.fates[o].batch) {
			g.requeue(o, 0)
		}
	}
	g.clients = slices.DeleteFunc(g.clients, func(x *modelClient) bool { return x == c })
	c.credit = 0
	c.sub.Close()
}

// leave ends a subscription like that of a pull: what it was given stays in flight.
func (m *model) leave(rt *rapid.T) {
	c := m.client(rt, false)
	g := c.group
	c.credit = 0
	c.sub.SetCredit("id", 0)
	m.quiet()
	g.report(c, len(c.batches), -1)
	c.left = true
	g.clients = slices.DeleteFunc(g.clients, func(x *modelClient) bool { return x == c })
	g.away = append(g.away, c)
	c.sub.Leave()
	synctest.Wait()
}

// relocate moves a group to one of all the kinds of positions.
func (m *model) relocate(rt *rapid.T) {
	g := m.one(rt)
	next := int64(len(m.recs))
	offset := func() int64 { return int64(rapid.IntRange(0, len(m.recs)+2).Draw(rt, "offset")) }
	p := Position{At: At(rapid.IntRange(int(AtEarliest), int(AtShift)).Draw(rt, "kind"))}
	to := int64(0)
	switch p.At {
	case AtEarliest:
		to = m.first
	case AtLatest:
		to = next
	case AtOffset:
		p.Offset = offset()
		to = p.Offset
	case AtTime:
		if next == 0 {
			rt.Skip("no message")
		}
		p.Time = m.recs[offset()%next].Time + int64(rapid.IntRange(0, 1).Draw(rt, "later"))
		for to = m.first; to < next && m.recs[to].Time < p.Time; to++ {
		}
	case AtMessage:
		if next == m.first {
			rt.Skip("no message")
		}
		p.ID = m.recs[m.first+offset()%(next-m.first)].ID
		for to = next - 1; m.recs[to].ID != p.ID; to-- {
		}
	case AtGroup:
		other := m.one(rt)
		p.Group = other.name()
		to = other.g.Info().Cursor
	case AtShift:
		p.Offset = offset() - next/2
		to = g.g.Info().Cursor + p.Offset
	}
	to = min(max(to, m.first), next)
	move, err := g.g.relocate(context.Background(), p, "relocate", named("model"), "")
	if err != nil || move.To != to {
		m.Fatalf("%s: relocated to %d, want %d: %v", g.name(), move.To, to, err)
	}
	g.position(to)
}

func (m *model) changeFilter(rt *rapid.T) {
	g := m.one(rt)
	m.quiet()
	filter := rapid.SampledFrom([]string{"", "a.*", "!a.x", "b", "#"}).Draw(rt, "filter")
	m.declare(g, func(spec *GroupSpec) { spec.Filter = &filter })
}

func (m *model) pause(rt *rapid.T) {
	g := m.one(rt)
	m.setPaused(g, !g.paused)
}

// setPaused pauses or resumes a group. Declarations after it leave that alone.
func (m *model) setPaused(g *modelGroup, paused bool) {
	g.paused = paused
	m.declare(g, func(spec *GroupSpec) { spec.Paused = &paused })
	g.spec.Paused = nil
}

func (m *model) empty(*rapid.T) {
	if err := m.b.emptyTopic(context.Background(), m.topicName(), "", named("model")); err != nil {
		m.Fatal(err)
	}
	m.first = int64(len(m.recs))
	if first := m.topic.First(); first != m.first {
		m.Fatalf("the emptied log begins at %d, want %d", first, m.first)
	}
}

func (m *model) changeRetention(rt *rapid.T) {
	m.limit = rapid.SampledFrom([]storage.Retention{{}, {MaxCount: 8}, {MaxAge: 3000}}).Draw(rt, "retention")
	m.rig.topic(m.topicName(), 0, m.limit)
}

// remove removes a group with its consumers.
func (m *model) remove(rt *rapid.T) {
	g := m.one(rt)
	if err := m.b.removeGroup(context.Background(), m.topicName(), g.name(), "", named("model")); err != nil {
		m.Fatal(err)
	}
	m.groups = slices.DeleteFunc(m.groups, func(x *modelGroup) bool { return x == g })
	m.ended(g)
}

// ended checks that every consumer of a removed group was told.
func (m *model) ended(g *modelGroup) {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		if !c.ended {
			m.Fatalf("%s: a consumer was not told that its group is gone", g.name())
		}
	}
	if info := g.g.Info(); len(info.Consumers) > 0 {
		m.Fatalf("%s: removed, and has consumers", g.name())
	}
}

// startAnew removes the topic and declares it again.
func (m *model) startAnew(*rapid.T) {
	old := m.topic
	if err := m.b.removeTopic(context.Background(), m.topicName(), "", named("model")); err != nil {
		m.Fatal(err)
	}
	for _, g := range m.groups {
		m.ended(g)
	}
	if p := m.publish(old, storage.Record{}); CodeOf(p[0].Err) != NotFound {
		m.Fatalf("publish to a removed topic: %v, want not found", p[0].Err)
	}
	m.groups = nil
	m.begin()
}

func (m *model) crashNow(*rapid.T) {
	m.quiet()
	m.crash()
	m.restarted(false)
}

func (m *model) stopInOrder(*rapid.T) {
	m.quiet()
	m.close()
	m.open()
	m.restarted(true)
}

// restarted compares what the broker knows after its restart with what it must.
func (m *model) restarted(orderly bool) {
	synctest.Wait()
	t, err := m.b.findTopic(m.topicName())
	if err != nil {
		m.Fatal(err)
	}
	m.topic = t
	if t.First() != m.first || t.Next() != int64(len(m.recs)) {
		m.Fatalf("the restarted log is %d to %d, want %d to %d", t.First(), t.Next(), m.first, len(m.recs))
	}
	for _, g := range m.groups {
		g.reload(orderly)
	}
}
