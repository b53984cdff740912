package broker

import (
	"container/list"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// pages bounds what all groups together keep of what was read of their logs and not
// delivered yet. Over the limit the page that was read first goes: its group has had the
// longest time to deliver it, so it waits for its consumers, and reads it again for them.
type pages struct {
	limit int64

	mu    sync.Mutex               // taken after Group.mu
	used  int64                    // guarded by mu
	held  list.List                // guarded by mu: of *heldPage, oldest first
	where map[*Group]*list.Element // guarded by mu
}

// heldPage is what a group keeps.
type heldPage struct {
	group *Group
	cost  int64
	since int64 // Broker.clock
}

// pageRest is how long a group without consumers keeps what was read for it, in milliseconds: they
// may come back at once, as those that take a message each.
const pageRest = 10_000

func (p *pages) init(limit int64) { p.limit, p.where = limit, make(map[*Group]*list.Element) }

// note says what a group keeps from now on; 0 is nothing.
func (p *pages) note(g *Group, cost, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.where[g]; e != nil {
		p.used -= p.held.Remove(e).(*heldPage).cost
		delete(p.where, g)
	}
	if cost > 0 {
		p.used += cost
		p.where[g] = p.held.PushBack(&heldPage{g, cost, now})
	}
}

// over is the group whose page has to go, or nil. It is never the newest one.
func (p *pages) over() *Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used <= p.limit || p.held.Len() < 2 {
		return nil
	}
	return p.held.Front().Value.(*heldPage).group
}

// shrink drops pages until no more is kept than may be. Called without any Group.mu.
func (p *pages) shrink() {
	for g := p.over(); g != nil; g = p.over() {
		g.mu.Lock()
		g.dropPage()
		g.mu.Unlock()
	}
}

// older is the groups that have kept a page since before.
func (p *pages) older(before int64) (all []*Group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.held.Front(); e != nil && e.Value.(*heldPage).since <= before; e = e.Next() {
		all = append(all, e.Value.(*heldPage).group)
	}
	return all
}

// rest drops the pages of groups without consumers. Called without any Group.mu.
func (p *pages) rest(now int64) {
	for _, g := range p.older(now - pageRest) {
		g.mu.Lock()
		if len(g.subs) == 0 {
			g.dropPage()
		}
		g.mu.Unlock()
	}
}

// bytes is how much is kept.
func (p *pages) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// keepPage keeps what was read for the group. Called with g.mu held; after that shrink has
// to be called.
func (g *Group) keepPage(recs []storage.Record) {
	g.page = recs
	g.t.shard.pages.note(g, chunkCost(recs), g.b.clock())
}

// dropPage lets go of it. Called with g.mu held.
func (g *Group) dropPage() {
	if g.page != nil {
		g.page = nil
		g.t.shard.pages.note(g, 0, 0)
	}
}
