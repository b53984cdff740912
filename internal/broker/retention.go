package broker

import (
	"context"
	"errors"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// How retention works off what is over a limit: in small steps, so that no step
// keeps the writer from others for long.
const (
	retentionInterval = time.Second
	trimRows          = 2048 // messages looked at in one step of a topic
	purgeRows         = 1024 // rows deleted in one step
)

// retain enforces retention, deletes unreachable rows and lets go of pages that no consumer waits
// for, until ctx ends.
func (s *shard) retain(ctx context.Context) {
	log := s.b.log
	tick := time.NewTicker(retentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, t := range s.topics() {
			if err := t.log.retain(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrNotFound) {
				log.Error("retention failed", "topic", t.name, "err", err)
			}
			if err := t.forgetKept(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrNotFound) {
				log.Error("kept ids not forgotten", "topic", t.name, "err", err)
			}
		}
		s.pages.rest(s.b.clock())
		if err := s.purge(ctx); err != nil && ctx.Err() == nil {
			log.Error("deleting old messages failed", "err", err)
		}
	}
}

// retain trims one topic as far as its retention says.
func (l diskLog) retain(ctx context.Context) error {
	t := l.t
	def := t.Definition()
	_, aged, _ := t.age(&def)
	for ctx.Err() == nil && t.Refused() == nil {
		first, err := t.retainedFrom(ctx, aged)
		if err != nil || first <= t.First() {
			return err
		}
		if err := t.trim(ctx, first); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// retainedFrom is the first offset that the topic's limits let stay, as far as
// one step can tell. What is below aged is too old.
func (t *Topic) retainedFrom(ctx context.Context, aged int64) (int64, error) {
	def := t.Definition()
	r := def.Retention
	first := max(def.First, aged)
	if r.MaxCount > 0 {
		first = max(first, def.Next-r.MaxCount)
	}
	if wall, plausible := t.b.time.look(); plausible && r.MaxAge > 0 && def.First < def.Next && !t.oldest.since(def.First, wall-r.MaxAge) {
		at, err := t.expired(ctx, wall-r.MaxAge)
		if err != nil {
			return 0, err
		}
		first = max(first, at)
	}
	if over := def.Bytes - r.MaxBytes; r.MaxBytes > 0 && over > 0 {
		recs, err := t.shard.reader().Read(ctx, t.id, def.First, storage.Page{Rows: trimRows, Brief: true}, nil)
		if err != nil {
			return 0, err
		}
		for i := range recs {
			if over <= 0 {
				break
			}
			over -= recs[i].Size()
			first = max(first, recs[i].End())
		}
	}
	return min(first, def.Next), nil
}

// confirmRows is how many messages are looked at to confirm that a log has expired.
const confirmRows = 64

// oldest is the first message of a log and when it was stored. With it, nothing is read
// from the store until that message expires.
type oldest struct {
	known        bool
	offset, time int64
}

// since reports whether the message at an offset, the first of its log, is known to be
// no older than a time.
func (o *oldest) since(first, time int64) bool {
	return o.known && o.offset == first && o.time >= time
}

// expired is the offset of the first message that is not older than a time. The times
// that are searched may be damaged, and what is dropped is gone: so an intact message,
// whose checksum covers its time, has to confirm it.
func (t *Topic) expired(ctx context.Context, time int64) (int64, error) {
	at, err := t.shard.reader().OffsetAt(ctx, t.id, time)
	if err != nil {
		return 0, err
	}
	if at <= t.First() {
		recs, err := t.shard.reader().Read(ctx, t.id, t.First(), storage.Page{Rows: 1, Brief: true}, nil)
		if err == nil && len(recs) == 1 && recs[0].Offset == t.First() {
			t.oldest = oldest{known: true, offset: t.First(), time: recs[0].Time}
		}
		return at, err
	}
	from := max(t.First(), at-confirmRows)
	recs, err := t.shard.reader().Read(ctx, t.id, from, storage.Page{Rows: int(at - from), Bytes: scanBytes}, nil)
	if err != nil {
		return 0, err
	}
	confirmed := t.First()
	for i := range recs {
		if r := &recs[i]; r.Offset < at && !r.Damaged() && r.Time < time {
			confirmed = r.End()
		}
	}
	return confirmed, nil
}

// trim makes everything below first unreachable, in steps, since the sizes of
// what goes have to be read.
func (t *Topic) trim(ctx context.Context, first int64) error {
	t.trimming.Lock()
	defer t.trimming.Unlock()
	for from := t.First(); from < first; from = t.First() {
		recs, err := t.shard.reader().Read(ctx, t.id, from, storage.Page{Rows: trimRows, Brief: true}, nil)
		if err != nil {
			return err
		}
		to, size := first, int64(0)
		for i := range recs {
			if recs[i].Offset < first {
				size += recs[i].Size()
			}
		}
		if n := len(recs); n > 0 {
			to = min(first, recs[n-1].End())
		}
		ids := make([]string, 0, len(recs))
		for i := range recs {
			if recs[i].Offset < to && recs[i].ID != "" {
				ids = append(ids, recs[i].ID)
			}
		}
		kept, err := t.shard.ids.keep(ctx, t, to, ids)
		if err != nil {
			return err
		}
		if err := t.trimTo(ctx, to, size, kept); err != nil {
			return err
		}
	}
	return nil
}

// trimAll makes everything that is there now unreachable, in one step and in one
// commit with other ops.
func (t *Topic) trimAll(ctx context.Context, with ...storage.Op) error {
	t.trimming.Lock()
	defer t.trimming.Unlock()
	t.mu.Lock()
	first, size := t.next.Load(), t.def.Bytes // change together, under mu
	t.mu.Unlock()
	kept, err := t.shard.ids.keep(ctx, t, first, nil)
	if err != nil {
		return err
	}
	return t.trimTo(ctx, first, size, kept, with...)
}

// trimTo commits one step, with the ids to keep and other ops if there are any, and lets
// go of the tail below it. The tail and its budget belong to commit callbacks, so that
// is where they are changed. Called with t.trimming held.
func (t *Topic) trimTo(ctx context.Context, first, size int64, kept []storage.KeptID, with ...storage.Op) error {
	if n := len(kept); n > 0 {
		t.keptTo = kept[n-1].Offset + 1 // also if the commit fails: there is less to forget then
	}
	done := make(chan struct{})
	op := storage.Op(&storage.Trim{Topic: t.id, First: first, Bytes: size, IDs: kept, Forget: t.shard.ids.forgottenTo(t.id) + 1})
	if len(with) > 0 {
		op = &storage.Atomic{Ops: append([]storage.Op{op}, with...)}
	}
	ticket := &storage.Ticket{Ops: []storage.Op{op}}
	ticket.Done = func(k *storage.Ticket) {
		if k.Errs[0] == nil {
			t.mu.Lock()
			t.resize(-size)
			t.first.Store(max(first, t.first.Load()))
			t.shard.tails.used -= t.tail.trim(first)
			t.dropped()
			t.mu.Unlock()
		}
		close(done)
	}
	if err := t.shard.Submit(ticket); err != nil {
		return err
	}
	select {
	case <-done:
		return ticket.Errs[0]
	case <-ctx.Done():
		return abandoned(ctx)
	}
}

// purge deletes rows that can no longer be reached, for at most half an
// interval: the writer has other work, and other topics wait for retention.
func (s *shard) purge(ctx context.Context) error {
	for start := time.Now(); ctx.Err() == nil && time.Since(start) < retentionInterval/2; {
		op := &storage.Purge{Limit: purgeRows}
		if err := s.Do(ctx, op); err != nil {
			return err
		}
		if op.Deleted < purgeRows {
			return nil
		}
	}
	return ctx.Err()
}
