package broker

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
)

// Ledger knows the limits of accounts. Its methods may be called by any number of goroutines.
type Ledger interface {
	// LimitsEpoch counts the changes of limits: those of before hold as long as it stays.
	LimitsEpoch() uint64
	// LimitsFor are the limits of an account by its name; none, if it is not known.
	LimitsFor(account string) access.Limits
	// LimitRefused counts what was refused for a limit of an account. It must not block.
	LimitRefused(account string)
}

// Bill has topics count for the accounts that own them. It is called before clients are let in.
func (b *Broker) Bill(l Ledger) { b.ledger = l }

// owner is an account that has topics, and what they hold together. Only logs on disk count as
// bytes: what is in memory has limits of its own.
type owner struct {
	account string
	topics  atomic.Int64
	stored  atomic.Int64 // bytes, by storage.Topic.Bytes
	coming  atomic.Int64 // bytes that are on their way into the store
	limits  atomic.Pointer[ownerLimits]
}

// ownerLimits are the limits of an owner in an epoch of the ledger.
type ownerLimits struct {
	epoch uint64
	access.Limits
}

// Owned is how many topics an account owns, and how many bytes those on disk hold.
func (b *Broker) Owned(account string) (topics, stored int64) {
	b.mu.RLock()
	o := b.owners[account]
	b.mu.RUnlock()
	if o == nil {
		return 0, 0
	}
	return o.topics.Load(), o.stored.Load()
}

// ownerOf finds or makes the owner of that name; nil for "".
func (b *Broker) ownerOf(account string) *owner {
	if account == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.owners[account]
	if o == nil {
		o = &owner{account: account}
		b.owners[account] = o
	}
	return o
}

// own makes o the owner of a topic; nil: it has none. Called with Broker.names held, or
// before there are others.
func (b *Broker) own(t *Topic, o *owner) {
	t.mu.Lock()
	old := t.owner.Swap(o)
	size := t.onDisk()
	if o != nil {
		o.topics.Add(1)
		o.stored.Add(size)
	}
	t.mu.Unlock()
	if old == nil {
		return
	}
	old.stored.Add(-size)
	if old.topics.Add(-1) > 0 {
		return
	}
	b.mu.Lock()
	if b.owners[old.account] == old && old.topics.Load() == 0 {
		delete(b.owners, old.account)
	}
	b.mu.Unlock()
}

// onDisk is the bytes of a topic that count for its owner. Called with t.mu held.
func (t *Topic) onDisk() int64 {
	if t.Memory() {
		return 0
	}
	return t.def.Bytes
}

// resize notes that a log has become larger, or smaller. Called with t.mu held.
func (t *Topic) resize(by int64) {
	by = max(by, -t.def.Bytes)
	t.def.Bytes += by
	if o := t.owner.Load(); o != nil {
		o.stored.Add(by)
	}
}

// limitsNow are the limits of an owner.
func (o *owner) limitsNow(l Ledger) *ownerLimits {
	if l == nil {
		return new(ownerLimits)
	}
	epoch := l.LimitsEpoch()
	now := o.limits.Load()
	if now == nil || now.epoch != epoch {
		now = &ownerLimits{epoch, l.LimitsFor(o.account)}
		o.limits.Store(now)
	}
	return now
}

// fullWait is after how long a publish may be tried again that its topic's owner has no room for.
// Retention looks for what it can drop once a second.
const fullWait = 5 * time.Second

// kept is room that is kept for messages on their way into the store.
type kept struct {
	owner *owner
	bytes int64
}

// keepRoom keeps room for size bytes of the topic, or says that its owner has none. What is refused by
// that is publishing alone: acks, moves and removals still work.
func (t *Topic) keepRoom(size int64) (kept, error) {
	o := t.owner.Load()
	if o == nil || t.Memory() {
		return kept{}, nil
	}
	most := o.limitsNow(t.b.ledger).Stored
	if most == 0 {
		return kept{}, nil
	}
	if now := o.stored.Load() + o.coming.Add(size); now > most {
		o.coming.Add(-size)
		return kept{}, &access.Limited{RetryAfter: fullWait, Text: fmt.Sprintf(
			"account %s owns Topic(%s), and its topics store %d of at most %d bytes: %d more were not stored; have retention drop messages, empty or remove topics, or let an administrator raise the limit stored: wait %s",
			o.account, t.name, now-size, most, size, fullWait)}
	}
	return kept{o, size}, nil
}

// keepRoom is that of the topic, and notes the first refusal.
func (p *Publishing) keepRoom(t *Topic, size int64) (kept, error) {
	room, err := t.keepRoom(size)
	if err != nil && p.over == nil {
		p.over = err
		t.b.ledger.LimitRefused(t.owner.Load().account)
	}
	return room, err
}

// hold adds room to that of a part.
func (q *part) hold(room kept) {
	if room.bytes == 0 {
		return // what is held for other messages stays
	}
	if q.room.owner != room.owner { // the topic has another owner now
		q.room.release()
	}
	q.room = kept{room.owner, q.room.bytes + room.bytes}
}

// release gives it back: what was stored counts by itself.
func (k *kept) release() {
	if k.bytes != 0 {
		k.owner.coming.Add(-k.bytes)
	}
	*k = kept{}
}

// mayOwn refuses one more topic than an account may own. Called with Broker.names held.
func (b *Broker) mayOwn(account string) error {
	b.mu.RLock()
	o := b.owners[account]
	b.mu.RUnlock()
	if o == nil {
		return nil
	}
	n := o.topics.Load()
	if most := o.limitsNow(b.ledger).Topics; most > 0 && n >= most {
		b.ledger.LimitRefused(account)
		return &access.Limited{RetryAfter: fullWait, Text: fmt.Sprintf(
			"account %s owns %d topics, and may own %d: nothing was created; remove topics, or let an administrator raise the limit topics", o.account, n, most)}
	}
	return nil
}
