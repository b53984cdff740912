package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// model is one topic as it should be, next to the broker that has it.
type model struct {
	*rig
	rt     *rapid.T
	topic  *Topic
	recs   []storage.Record // by offset, trimmed ones included
	first  int64
	began  int64 // first before anything happened that is looked at now
	limit  storage.Retention
	groups []*modelGroup
	dying  map[letter]int  // how often a message was delivered too often
	dead   map[letter]bool // messages that must be among the dead letters
	named  int             // consumers and messages so far
	steps  *int            // done and compared, in all runs
}

// letter names a dead message.
type letter struct {
	group  string
	offset int64
}

func TestBrokerDoesWhatTheModelSays(t *testing.T) {
	bubbles.Few(t, faultreport.ScaleAlways(t, 6, 600))
	runModel(t, "model", func(rt *rapid.T, dir string) *rig {
		return &rig{T: rt, path: dir + "/zbus.db"}
	})
}

func TestBrokerOnPostgresDoesWhatTheModelSays(t *testing.T) {
	bubbles.Few(t, faultreport.ScaleAlways(t, 3, 100))
	c := pgtest.Start(t)
	runModel(t, "model on PostgreSQL", func(rt *rapid.T, _ string) *rig {
		url := c.Database(t)
		return &rig{T: rt, engine: func() (storage.Store, error) {
			return postgres.Open(context.Background(), postgres.Options{URL: url, Node: "a"})
		}}
	})
}

// runModel runs brokers that make makes, and the model beside each.
func runModel(t *testing.T, name string, make func(rt *rapid.T, dir string) *rig) {
	steps := 0
	r := faultreport.Record{
		Test: name, Fault: "random steps: publish, consume, ack, nack, expire, relocate, remove, crash, stop and start",
		Promise: "the broker does what a model in memory says",
	}
	defer func() {
		if t.Failed() {
			r.Broken++
		}
		r.Add("steps", steps)
		r.Save(t)
	}()
	bubbles.Check(t, func(rt *rapid.T, dir string) {
		m := &model{
			rt: rt, rig: make(rt, dir),
			dying: map[letter]int{}, dead: map[letter]bool{}, steps: &steps,
		}
		r.Runs++
		m.open()
		defer func() { m.close() }()
		m.begin()
		rt.Repeat(m.actions())
		for _, g := range m.groups {
			g.finish()
		}
		m.checkDeadLetters()
	})
}

// actions are what may happen, the usual things more often than the rare ones.
func (m *model) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": func(*rapid.T) { *m.steps++; m.quiet() }}
	for _, a := range []struct {
		often int
		name  string
		do    func(*rapid.T)
	}{
		{5, "publish", m.publishSome},
		{2, "declare", m.declareNew},
		{3, "connect", m.connectOne},
		{5, "credit", m.giveCredit},
		{5, "written", m.written},
		{2, "write failed", m.writeFailed},
		{5, "ack", m.ackOne},
		{1, "ack late", m.ackLate},
		{4, "nack", m.nackOne},
		{2, "disconnect", m.disconnect},
		{2, "leave", m.leave},
		{2, "relocate", m.relocate},
		{1, "filter", m.changeFilter},
		{1, "pause", m.pause},
		{1, "empty", m.empty},
		{1, "retention", m.changeRetention},
		{4, "time", m.pass},
		{1, "remove", m.remove},
		{1, "start anew", m.startAnew},
		{2, "crash", m.crashNow},
		{1, "stop", m.stopInOrder},
	} {
		for i := range a.often {
			all[a.name+strings.Repeat(" ", i)] = a.do
		}
	}
	return all
}

func (m *model) topicName() string { return "orders" }

// begin makes the topic, with a group of either kind.
func (m *model) begin() {
	m.topic = m.rig.topic(m.topicName(), 0, storage.Retention{})
	m.recs, m.first, m.limit = nil, 0, storage.Retention{}
	m.add("auto", "", storage.SettleAuto, 0)
	m.add("explicit", "", storage.SettleExplicit, 0)
	m.add("mortal", "", storage.SettleExplicit, 2)
}

// quiet waits until nothing moves and compares.
func (m *model) quiet() {
	synctest.Wait()
	m.began = m.first
	m.trimmed()
	for _, g := range m.groups {
		g.absorb()
	}
	for _, g := range m.groups {
		g.check()
	}
}

// trimmed checks that the log begins where the retention says. It is enforced
// once a second.
func (m *model) trimmed() {
	first, next := m.topic.First(), m.topic.Next()
	if next != int64(len(m.recs)) {
		m.Fatalf("the log ends at %d, want %d", next, len(m.recs))
	}
	low := m.first
	if n := m.limit.MaxCount; n > 0 {
		low = max(low, next-n)
	}
	if age := m.limit.MaxAge; age > 0 {
		for low < next && m.recs[low].Time < nowMS()-age {
			low++
		}
	}
	if first < m.first || first > low {
		m.Fatalf("the log begins at %d, want %d to %d", first, m.first, low)
	}
	m.first = first
}

// add declares a group and gives it its position in the model.
func (m *model) add(name, filter string, settle storage.Settle, most int64) *modelGroup {
	start := m.first
	for _, other := range m.groups {
		start = max(start, other.g.Info().Cursor)
	}
	g := &modelGroup{m: m, spec: GroupSpec{
		Topic: m.topicName(), Name: name, Filter: &filter, Settle: &settle,
		AckTimeout: ptr[int64](2000), AckWindow: ptr[int64](4), MaxDeliver: &most,
	}}
	m.declare(g, func(*GroupSpec) {})
	if at := g.g.Info().Cursor; at != start {
		m.Fatalf("%s: starts at %d, want %d", name, at, start)
	}
	m.groups = append(m.groups, g)
	g.position(start)
	return g
}

// declare changes a group's definition, in the broker and the model.
func (m *model) declare(g *modelGroup, change func(*GroupSpec)) {
	change(&g.spec)
	g.g = m.rig.group(g.spec)
	compiled, err := filter.Parse(*g.spec.Filter)
	if err != nil {
		m.Fatal(err)
	}
	g.filter = compiled
	synctest.Wait()
}

func (m *model) connect(g *modelGroup) *modelClient {
	m.named++
	c := &modelClient{group: g, name: fmt.Sprint("c", m.named)}
	sub, err := g.g.Subscribe(c)
	if err != nil {
		m.Fatal(err)
	}
	c.sub = sub
	g.clients = append(g.clients, c)
	return c
}

func (m *model) publishSome(rt *rapid.T) {
	tags := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a.x", "a.y", "b"}), 1, 6).Draw(rt, "tags")
	recs := make([]storage.Record, len(tags))
	for i, tag := range tags {
		m.named++
		recs[i] = storage.Record{ID: "m" + strconv.Itoa(m.named%40), Tag: tag, Body: []byte(tag)}
	}
	for _, p := range m.publish(m.topic, recs...) {
		if p.Err != nil || p.Record.Offset != int64(len(m.recs)) {
			m.Fatalf("published at %d, want %d: %v", p.Record.Offset, len(m.recs), p.Err)
		}
		m.recs = append(m.recs, p.Record)
	}
}

// some draws one of a list, or skips the step when there is none.
func some[T any](rt *rapid.T, name string, list []T) T {
	if len(list) == 0 {
		rt.Skip("no " + name)
	}
	return rapid.SampledFrom(list).Draw(rt, name)
}

func (m *model) one(rt *rapid.T) *modelGroup { return some(rt, "group", m.groups) }

// client draws a consumer that is connected; busy ones only if so asked.
func (m *model) client(rt *rapid.T, busy bool) *modelClient {
	var list []*modelClient
	for _, g := range m.groups {
		for _, c := range g.clients {
			if !busy || len(c.batches) > 0 {
				list = append(list, c)
			}
		}
	}
	return some(rt, "client", list)
}

// held draws a message that some consumer may ack.
func (m *model) held(rt *rapid.T) (g *modelGroup, offset int64, f *fate) {
	var list []*fate
	for _, g := range m.groups {
		for _, c := range slices.Concat(g.clients, g.away) {
			for _, o := range g.holds(c) {
				list = append(list, g.fates[o])
			}
		}
	}
	f = some(rt, "delivery", list)
	return f.holder.group, f.offset, f
}

func (m *model) declareNew(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"one", "two", "auto", "explicit", "mortal"}).Draw(rt, "name")
	for _, g := range m.groups {
		if g.name() == name {
			rt.Skip("there is one")
		}
	}
	filter := rapid.SampledFrom([]string{"", "a.*", "!b", "b;#"}).Draw(rt, "filter")
	m.add(name, filter, someSettle.Draw(rt, "settle"), rapid.SampledFrom([]int64{0, 1, 3}).Draw(rt, "max deliver"))
}

func (m *model) connectOne(rt *rapid.T) {
	c := m.connect(m.one(rt))
	c.credit = rapid.SampledFrom([]int64{1, 4}).Draw(rt, "credit")
	c.sub.SetCredit("id", c.credit)
}

func (m *model) giveCredit(rt *rapid.T) {
	c := m.client(rt, false)
	c.credit = rapid.SampledFrom([]int64{0, 1, 3, 20}).Draw(rt, "credit")
	c.sub.SetCredit("id", c.credit)
}

func (m *model) written(rt *rapid.T) {
	c := m.client(rt, true)
	c.group.report(c, rapid.IntRange(1, len(c.batches)).Draw(rt, "batches"), -1)
}

// writeFailed is a connection that breaks in the middle of a batch.
func (m *model) writeFailed(rt *rapid.T) {
	c := m.client(rt, true)
	first := rapid.Bool().Draw(rt, "closed first")
	if first {
		m.close1(c)
	}
	c.group.report(c, 1, rapid.IntRange(0, len(c.batches[0].Items)).Draw(rt, "written"))
	c.group.report(c, len(c.batches), 0)
	if !first {
		m.close1(c)
		// What came back may have been given to the same client again, as long as
		// it was not closed.
		c.group.report(c, len(c.batches), 0)
	}
}

func (m *model) disconnect(rt *rapid.T) {
	c := m.client(rt, false)
	c.group.report(c, len(c.batches), -1)
	m.close1(c)
	c.group.report(c, len(c.batches), 0) // more may have come since
}

func (m *model) ackOne(rt *rapid.T) {
	g, o, f := m.held(rt)
	g.ack(o, f)
}

// ackLate answers a delivery that is over.
func (m *model) ackLate(rt *rapid.T) {
	g, o, f := m.held(rt)
	h := handle(f.holder.sub.token, f.batch.epoch, f.count)
	if rapid.Bool().Draw(rt, "acked") {
		g.ack(o, f)
	} else {
		m.nack(g, o, f, 0)
		m.quiet()
	}
	if err := g.g.ackNow(o, h); CodeOf(err) != Conflict || err == nil {
		m.Fatalf("%s: second answer to offset %d: %v, want a conflict", g.name(), o, err)
	}
}

func (m *model) nackOne(rt *rapid.T) {
	g, o, f := m.held(rt)
	m.nack(g, o, f, rapid.SampledFrom([]int64{0, 500, 3000}).Draw(rt, "delay"))
}

func (m *model) nack(g *modelGroup, offset int64, f *fate, delay int64) {
	due := int64(0)
	if delay > 0 {
		due = nowMS() + delay + 1
	}
	h := handle(f.holder.sub.token, f.batch.epoch, f.count)
	g.requeue(offset, due)
	f.sure = true
	if err := g.g.nackNow(offset, h, delay); err != nil {
		m.Fatalf("%s: nack of offset %d: %v", g.name(), offset, err)
	}
}

func (m *model) checkDeadLetters() {
	dead, err := m.b.findTopic(m.topicName() + deadSuffix)
	if err != nil && len(m.dead) > 0 {
		m.Fatalf("no dead letters, want %v", m.dead)
	}
	if err != nil {
		return
	}
	recs, err := dead.shard.reader().Read(context.Background(), dead.id, 0, storage.Page{Rows: 10_000}, nil)
	if err != nil {
		m.Fatal(err)
	}
	found := map[letter]int{}
	for _, r := range recs {
		var h map[string]string
		if err := json.Unmarshal([]byte(r.Headers), &h); err != nil {
			m.Fatalf("headers of a dead letter: %v", err)
		}
		offset, _ := strconv.ParseInt(h["dead-offset"], 10, 64)
		found[letter{h["dead-group"], offset}]++
	}
	for l, n := range found {
		if n > m.dying[l] {
			m.Fatalf("%d dead letters of %v, which died %d times", n, l, m.dying[l])
		}
	}
	for l := range m.dead {
		if found[l] == 0 {
			m.Fatalf("no dead letter of %v", l)
		}
	}
}

// pass lets time go by: delays, ack timeouts, retention.
func (m *model) pass(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{
		time.Millisecond, saveInterval + time.Millisecond, 600 * time.Millisecond, 2500 * time.Millisecond,
	}).Draw(rt, "time")
	time.Sleep(d)
	synctest.Wait()
	first, next := m.topic.First(), m.topic.Next()
	if d > 2*retentionInterval && (m.limit.MaxCount > 0 && next-first > m.limit.MaxCount ||
		m.limit.MaxAge > 0 && first < next && m.recs[first].Time < nowMS()-m.limit.MaxAge-1000) {
		m.Fatalf("the log is still %d to %d, against %+v", first, next, m.limit)
	}
}
