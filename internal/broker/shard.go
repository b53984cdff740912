package broker

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Storage is what the broker needs of an engine to keep topics in it.
type Storage struct {
	Reader
	Committer
}

// Reader reads what was committed, as [storage.Store] says.
type Reader interface {
	Load(ctx context.Context) (storage.State, error)
	Read(ctx context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error)
	OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (int64, error)
	BytesFrom(ctx context.Context, topic storage.TopicID, offset int64) (int64, error)
	FindID(ctx context.Context, topic storage.TopicID, id string) (int64, error)
	Journal(ctx context.Context, group storage.GroupID, before int64, limit int) ([]storage.JournalEntry, error)
	Entry(ctx context.Context, id int64) (storage.JournalEntry, error)
	Audit(ctx context.Context, before int64, limit int) ([]storage.AuditEntry, error)
	History(ctx context.Context, of storage.Series, least, most uint8) ([]storage.HistoryChunk, error)
	HistorySizes(ctx context.Context) ([]storage.HistorySize, error)
}

// Committer has ops committed, as [storage.Writer] says. The broker runs it.
type Committer interface {
	Run(ctx context.Context) error
	Submit(t *storage.Ticket) error
	Do(ctx context.Context, ops ...storage.Op) error
	Backlog() int64
	Totals() storage.WriterTotals
	Stopped() error
}

// shard is one storage and all that the broker keeps for the topics in it. Whatever works
// on a topic goes through the topic's shard, and one commit is of one shard. A shard that
// fails ends by itself: its topics are refused from then on, and those of others are served.
type shard struct {
	b     *Broker
	index int // in Broker.shards
	store Reader
	Committer

	saver        saver
	housekeeping housekeeping // dead letters, groups that go with their last consumer
	ids          knownIDs
	tails        tailBudget // used by commit callbacks only
	pages        pages

	failed atomic.Pointer[Error] // why nothing is stored or read any longer
	life   context.Context       // ends when housekeeping has to stop
	stop   context.CancelFunc
}

// newShard creates the shard of a storage. Its share of what all topics may keep in memory is
// one of n.
func newShard(b *Broker, index, n int, from Storage) *shard {
	s := &shard{b: b, index: index, store: from.Reader, Committer: from.Committer}
	s.tails.limit = b.opts.TailBytes / int64(n)
	s.pages.init(b.opts.PageBytes / int64(n))
	s.saver.init(s)
	s.housekeeping.init(s)
	s.life, s.stop = context.WithCancel(b.run)
	return s
}

// adopt makes the topics and groups that were stored.
func (s *shard) adopt(state *storage.State) error {
	b := s.b
	byID := make(map[storage.TopicID]*Topic, len(state.Topics))
	for _, def := range state.Topics {
		if other := b.topics[fold(def.Name)]; other != nil {
			return fmt.Errorf("topic %q is in two storages, %d and %d: %w", def.Name, other.shard.index, s.index, storage.ErrDamaged)
		}
		t := newTopic(s, def)
		b.topics[fold(def.Name)] = t
		b.own(t, b.ownerOf(def.Owner))
		byID[def.ID] = t
	}
	groups := make(map[storage.GroupID]*Group, len(state.Groups))
	for _, def := range state.Groups {
		t := byID[def.Topic]
		if t == nil {
			return fmt.Errorf("group %q: its topic %d is missing: %w", def.Name, def.Topic, storage.ErrDamaged)
		}
		g, err := newGroup(t, def)
		if err != nil {
			return fmt.Errorf("group %q of topic %q: %w", def.Name, t.Name(), err)
		}
		g.loaded = true
		t.groups[fold(def.Name)] = g
		groups[def.ID] = g
	}
	b.groups.Add(int64(len(groups)))
	s.ids.load(state.Kept, byID)
	parked := make(map[storage.GroupID][]storage.Parked)
	for _, p := range state.Parked {
		parked[p.Group] = append(parked[p.Group], p)
	}
	for id, g := range groups {
		g.load(parked[id])
	}
	return nil
}

// topics lists the shard's topics by name.
func (s *shard) topics() []*Topic {
	all := s.b.allTopics()
	own := all[:0]
	for _, t := range all {
		if t.shard == s {
			own = append(own, t)
		}
	}
	return own
}

// keep runs the committer until ctx ends. With an error of it the shard has failed.
func (s *shard) keep(ctx context.Context) error {
	err := s.Run(ctx)
	if err != nil {
		s.fail(err)
	}
	return err
}

// storageKind is the kind of the condition that a storage has failed.
const storageKind = "storage"

// fail has the shard's topics refused. What was answered is stored; it is unknown what is in
// memory of a storage whose commit failed, so that only a new start serves them again.
func (s *shard) fail(err error) {
	s.failed.Store(&Error{Code: Unavailable, Err: err, Text: "not now: the storage of the topic has failed, and the broker's log says why"})
	s.stop()
	if s.b.Err() != nil {
		return // no shard is left, which is for the owner of the broker to tell: see Broker.Done
	}
	s.b.opts.Conditions.Raise(condition.Condition{
		Kind: storageKind, Subject: strconv.Itoa(s.index), Severity: condition.Critical,
		Text: fmt.Sprintf("a storage has failed; its topics are not served before the next start: %v", err),
	})
}

// failure says why the shard's topics are not served, or returns nil.
func (s *shard) failure() error {
	if e := s.failed.Load(); e != nil {
		return e
	}
	return nil
}

// reader is what the storage has. One that has failed is not asked.
func (s *shard) reader() Reader {
	if err := s.failure(); err != nil {
		return lost{err}
	}
	return s.store
}

// commit has ops committed and waits for it, also when ctx ends before that: what is in
// memory has to follow what is stored.
func (s *shard) commit(ctx context.Context, ops ...storage.Op) error {
	return s.Do(context.WithoutCancel(ctx), ops...)
}

// commitThen commits one op, waits for that, and calls done with the outcome before anyone
// hears of what was committed later: so what others see in memory agrees with the answers
// they get. done must not block.
func (s *shard) commitThen(op storage.Op, done func(error)) error {
	over := make(chan struct{})
	t := &storage.Ticket{Ops: []storage.Op{op}, Done: func(t *storage.Ticket) {
		done(t.Errs[0])
		close(over)
	}}
	if err := s.Submit(t); err != nil {
		return err
	}
	<-over
	return t.Errs[0]
}

// serve does the shard's work in the background, until ctx ends or the shard fails: it removes groups of an
// earlier process, and then deletes what is no longer reachable.
func (s *shard) serve(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.life, stop)()
	s.removeLeftovers(ctx)
	s.retain(ctx)
}

// removeLeftovers removes ephemeral groups of an earlier process.
func (s *shard) removeLeftovers(ctx context.Context) {
	for _, t := range s.topics() {
		for _, g := range t.Groups() {
			g.mu.Lock()
			left := g.loaded && len(g.subs) == 0 && !g.gone && g.ephemeral()
			g.mu.Unlock()
			if !left || ctx.Err() != nil {
				continue
			}
			if err := s.b.removeGroup(ctx, t.name, g.name, "", itself()); err != nil && CodeOf(err) != NotFound {
				s.b.log.Warn("group of an earlier run not removed", "topic", t.name, "group", g.name, "err", err)
			}
		}
	}
}
