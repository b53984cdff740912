package server

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// produced is the publishes of one read of a session: handed to the broker
// together, answered together.
type produced struct {
	*broker.Publishing
	s     *session
	wants []wanted    // one a message
	calls []*rpc.Call // one a message; nil: it is none
	bytes int64       // what it keeps in memory
}

// wanted is how a publish is to be answered.
type wanted struct {
	ack     bool   // false: only a failure is answered
	receipt bool   // with the offset
	id      string // of the request, where the message has another; else ""
}

// newProduced takes one that was answered before, or makes one.
func (s *Server) newProduced(c *session) *produced {
	p, ok := s.answered.Get().(*produced)
	if !ok {
		p = new(produced)
		p.Publishing = s.broker.NewPublishing(p.done)
	}
	p.s = c
	return p
}

// release keeps p, without what it holds, for later batches.
func (p *produced) release() {
	pool := &p.s.srv.answered
	p.Reset()
	clear(p.calls)
	clear(p.wants)
	p.s, p.wants, p.calls, p.bytes = nil, p.wants[:0], p.calls[:0], 0
	pool.Put(p)
}

// publicationOverhead is what a publication costs beyond its content, in bytes.
const publicationOverhead = 512

// ownBody is the size from which a body that the session owns is kept as it is:
// copying it would cost more than the rest of the request that it keeps alive.
const ownBody = 16 << 10

// produce stores a message.
func (s *session) produce(m *wire.Message) { s.publish(m, isAck(m)) }

// rpc makes a call. Its answer is what a provider routes to the caller.
func (s *session) rpc(m *wire.Message) {
	if !isCall(m) {
		m.Set(wire.HeaderRPCMethod, "")
	}
	s.publish(m, false)
}

// isCall reports whether a message is meant as a call.
func isCall(m *wire.Message) bool {
	_, ok := m.Lookup(wire.HeaderRPCMethod)
	return ok
}

// publish takes a message into the pending batch. Calls are not acked, whatever
// they ask for.
func (s *session) publish(m *wire.Message, ack bool) {
	t := s.topicOf(m)
	if t == nil {
		return
	}
	calls := t.Calls()
	timeout := time.Duration(0)
	if !t.Unacked() && isCall(m) {
		s.fail(m.Get(wire.HeaderID), &broker.Error{Code: broker.Invalid, Text: "Topic(" + t.Name() + ") is not for calls: it stores messages, which nobody answers; a topic for calls has topic_mask=2"})
		return
	}
	if calls {
		var ok bool
		if timeout, ok = s.callTime(m); !ok {
			return
		}
	}
	dedup, err := s.dedupOf(m)
	if err != nil {
		s.fail(m.Get(wire.HeaderID), err)
		return
	}
	quota := s.who.Quota()
	if err := s.charge(quota, m, calls); err != nil {
		s.refused = err
		s.fail(m.Get(wire.HeaderID), err)
		return
	}
	s.taken = true
	want := wanted{ack: ack && !t.Unacked(), receipt: dedup != broker.NoDedup || isTrue(m.Get(wire.HeaderReceipt))}
	rec := storage.Record{ID: m.Get(wire.HeaderID), Body: m.Body}
	if id := m.Get(wire.HeaderMessageID); id != "" && !calls {
		rec.ID, want.id = id, strings.Clone(rec.ID)
	}
	if tag := m.Get(wire.HeaderTag); !absent(tag) {
		rec.Tag = tag
	}
	rec.Headers = s.storedHeaders(m, t)
	p := s.batch()
	p.Add(broker.Message{Topic: t, Record: rec, Dedup: dedup, Call: calls, GiveAway: s.givesAway(&rec), More: s.more})
	p.wants = append(p.wants, want)
	var call *rpc.Call
	if id, ok := p.LastID(); ok && calls {
		call = s.peer.Begin(s.now, s.serviceOf(t), m.Get(wire.HeaderRPCMethod), id, timeout, quota)
		p.Attach(call)
	} else if calls {
		quota.Answered()
	}
	p.calls = append(p.calls, call)
	p.bytes += rec.Size() + publicationOverhead
	if !want.ack && !t.Unacked() && s.stopAt.Load() != nil {
		s.out.close()
	}
}

// charge takes a message from what its account may use. A call is counted until it is over.
func (s *session) charge(quota *access.Quota, m *wire.Message, call bool) error {
	if call {
		if err := quota.Call(); err != nil {
			return err
		}
	}
	err := s.purse.Publish(quota, len(m.Body), s.more > 0)
	if err != nil && call {
		quota.Answered()
	}
	return err
}

// batch is the publishes of the current read.
func (s *session) batch() *produced {
	if s.pending == nil {
		s.pending = s.srv.newProduced(s)
	}
	return s.pending
}

// givesAway reports whether the broker may keep the body as it is.
func (s *session) givesAway(rec *storage.Record) bool { return !s.borrowed && len(rec.Body) >= ownBody }

// dedupOf is whether a message is to be stored once, as its header dedup says.
func (s *session) dedupOf(m *wire.Message) (broker.Dedup, error) {
	value, ok := m.Lookup(wire.HeaderDedup)
	switch {
	case !ok, value == "", value == "0", strings.EqualFold(value, "false"):
		return broker.NoDedup, nil
	case !isTrue(value):
		return 0, &broker.Error{Code: broker.Invalid, Text: "Bad dedup: " + strconv.Quote(broker.Excerpt(value)) + " must be true or false"}
	case !s.named && m.Get(wire.HeaderMessageID) == "":
		return 0, &broker.Error{Code: broker.Invalid, Text: "Missing id: a message with dedup is known by it, so give the same one with each repeat"}
	}
	return broker.DedupAlways, nil
}

// isAck reads the ack header: true when it is absent, and only for 1 and true
// when it is there. Present and empty means false.
func isAck(m *wire.Message) bool {
	v, ok := m.Lookup(wire.HeaderAck)
	return !ok || isTrue(v)
}

func isTrue(v string) bool { return v == "1" || strings.EqualFold(v, "true") }

// storedHeaders is what of a request's head goes with the message, as JSON:
// everything but what belongs to this request alone, to columns of their own, or
// to the connection, and what must never be replayed to another client. A start
// line that says something becomes origin headers. The string is good until the
// next call.
func (s *session) storedHeaders(m *wire.Message, t *broker.Topic) string {
	fields := append(s.scratch[:0], wire.Field{Name: wire.HeaderSender, Value: s.id})
	for _, f := range m.Fields {
		if f.Name == wire.HeaderTopic && f.Value != t.Name() || !wire.Private(f.Name) {
			fields = append(fields, f)
		}
	}
	if m.Status != 0 {
		fields = append(fields, wire.Field{Name: wire.HeaderOriginStatus, Value: statusText(m.Status)})
	} else if !m.Malformed {
		if m.URL != "" && m.URL != "/" && wire.ValidValue(m.URL) {
			fields = append(fields, wire.Field{Name: wire.HeaderOriginURL, Value: wire.WithoutCredentials(m.URL)})
		}
		if m.Method != "" && m.Method != http.MethodGet {
			fields = append(fields, wire.Field{Name: wire.HeaderOriginMethod, Value: m.Method})
		}
	}
	s.scratch = fields
	s.json = wire.AppendJSON(s.json[:0], fields)
	return unsafe.String(unsafe.SliceData(s.json), len(s.json))
}

// flush hands the pending publishes to the broker, and sends what was queued for
// others in the meantime.
func (s *session) flush() {
	s.publishPending()
	for _, r := range s.relays {
		r.flush()
	}
	for i, target := range s.touched {
		target.sendNow()
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

func (s *session) publishPending() {
	s.purse.Return()
	p := s.pending
	if p == nil {
		return
	}
	s.pending = nil
	s.inflight.add(int64(p.Len()))
	// A session that ends does not take back what it has sent.
	if err := p.Publish(context.Background()); err != nil {
		s.refused = err
	}
}

// done is called when the fate of the batch is known.
func (p *produced) done() {
	c, n := p.s, int64(p.Len())
	p.refuse()
	lost := p.Unknown()
	if p.silent(lost) || !c.out.put(item{produced: p}) {
		p.release()
	} else {
		c.sendNow()
	}
	if lost {
		c.hangUp()
	}
	c.inflight.add(-n)
}

// refuse answers the calls that no provider can take, unless they ended before.
func (p *produced) refuse() {
	for i, call := range p.calls {
		if call == nil {
			continue
		}
		if stored, err := p.Result(i); err != nil && call.Refuse() {
			p.s.fail(stored.ID, err)
		}
	}
}

// silent reports whether nothing is to be answered, calls aside. lost says that there
// are messages of which it is unknown whether they are stored.
func (p *produced) silent(lost bool) bool {
	for i, want := range p.wants {
		if want.ack && !lost {
			return false
		}
		if p.calls[i] != nil {
			continue
		}
		if _, err := p.Result(i); want.ack && err == nil || err != nil && broker.CodeOf(err) != broker.Unknown {
			return false
		}
	}
	return true
}

// encode writes the replies: the time of storing, or what went wrong.
func (p *produced) encode(e *encoder) {
	for i, want := range p.wants {
		stored, err := p.Result(i)
		id := cmp.Or(want.id, stored.ID)
		if p.calls[i] != nil || err == nil && !want.ack || err != nil && broker.CodeOf(err) == broker.Unknown {
			continue
		}
		if err == nil {
			e.start(http.StatusOK)
			e.buf = wire.AppendField(e.buf, wire.HeaderID, id)
			if want.receipt {
				e.buf = wire.AppendInt(e.buf, wire.HeaderOffset, stored.Offset)
			}
			if stored.Duplicate {
				e.buf = wire.AppendField(e.buf, wire.HeaderDup, "true")
			}
			e.buf = appendTime(e.buf, stored.Time)
		} else {
			e.start(statusOf(err))
			e.buf = wire.AppendField(e.buf, wire.HeaderID, id)
			if wait := access.RetryAfter(err); wait > 0 {
				e.buf = wire.AppendInt(e.buf, "retry-after", int64(wait.Seconds()))
			}
			if servers := movedTo(err); servers != "" {
				e.buf = wire.AppendField(e.buf, wire.HeaderServers, servers)
			}
			e.buf = wire.AppendBody(e.buf, []byte(broker.TextOf(err)))
		}
		e.end(id)
	}
	p.release()
}
