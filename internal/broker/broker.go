package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Options are the limits and surroundings of a Broker. A zero field takes its
// default.
type Options struct {
	TailBytes     int64 // recent messages of all log topics kept in memory; 32 MiB
	PageBytes     int64 // what was read of logs for groups that lag behind; 32 MiB
	MemoryBytes   int64 // messages of all memory topics; 128 MiB
	OutboundBytes int64 // delivered but not yet written to sockets, all consumers; 64 MiB
	PrefetchBytes int64 // the same for one subscription; 1 MiB
	MaxTopics     int   // that can be declared; 0: any number
	MaxGroups     int   // the same, of all topics
	MaxBody       int64 // of a message, but for those of the broker itself; no limit

	// DedupWindow is how long ids are known, see [Dedup]; 0: not at all.
	DedupWindow time.Duration

	// Now is the wall clock; time.Now. It stamps messages and ages them, it
	// never decides order, and no timeout or delay.
	Now func() time.Time
	// Uptime is how long the machine has been running, the time that it slept
	// included, and what tells this time of running from others. May be nil: then a
	// restart of the broker is like one of the machine, and the wall clock says how
	// long it took.
	Uptime func() (boot string, up time.Duration)
	// ClockHold is how long a jump of the wall clock suspends deletion by age;
	// DefaultClockHold.
	ClockHold time.Duration
	// Conditions are told what is wrong. May be nil.
	Conditions *condition.Board
	// Changed is called after a topic or group was declared or removed and after
	// consumers came or went. It must not block.
	Changed func()
	Log     *slog.Logger
}

func (o Options) withDefaults() Options {
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&o.TailBytes, 32<<20)
	set(&o.PageBytes, 32<<20)
	set(&o.MemoryBytes, 128<<20)
	set(&o.OutboundBytes, 64<<20)
	set(&o.PrefetchBytes, 1<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ClockHold == 0 {
		o.ClockHold = DefaultClockHold
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Broker is the registry of topics and the owner of all goroutines behind them.
// Its methods may be called by any number of goroutines.
type Broker struct {
	opts   Options
	log    *slog.Logger
	shards []*shard      // at least one
	done   chan struct{} // see Done
	timers timers
	time   clock

	groups   atomic.Int64 // of all topics, those being created included
	memory   atomic.Int64 // bytes held by memory topics
	outbound atomic.Int64 // bytes handed to sinks and not yet written
	spare    atomic.Int64 // of these, the small messages that went although it was crowded

	ahead     atomic.Int64              // nanoseconds by which Advance has moved the wall clock
	elsewhere atomic.Pointer[Elsewhere] // nil: this server is not being drained

	ledger Ledger // nil: accounts have no limits

	documents []storage.Document // as they were at the start, until they are taken

	mu     sync.RWMutex      // held for map operations only
	topics map[string]*Topic // guarded by mu; key is the lower-cased name
	owners map[string]*owner // guarded by mu; accounts that own topics, by name

	names sync.Mutex      // serialises the creation and removal of topics, over their commits; see Topic.changes
	run   context.Context // ends when the pumps have to stop
	stop  context.CancelFunc
	pumps sync.WaitGroup // and timers, housekeeping of shards, what awaits providers
}

// Open loads topics and groups from all storages, of which there has to be one. Nothing is
// stored, delivered or saved in the background until Run is called.
func Open(ctx context.Context, opts Options, storages ...Storage) (*Broker, error) {
	opts = opts.withDefaults()
	b := &Broker{
		opts: opts, log: opts.Log, done: make(chan struct{}),
		topics: make(map[string]*Topic), owners: make(map[string]*owner),
	}
	b.opts.Now = func() time.Time { return opts.Now().Add(time.Duration(b.ahead.Load())) }
	b.time.wall, b.time.uptime, b.time.hold = b.opts.Now, opts.Uptime, opts.ClockHold.Milliseconds()
	b.run, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.timers.init(b)
	states := make([]storage.State, len(storages))
	newest := int64(0)
	for i, from := range storages {
		state, err := from.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("load topics: %w", err)
		}
		for _, def := range state.Topics {
			newest = max(newest, def.LastTime)
		}
		states[i] = state
		b.shards = append(b.shards, newShard(b, i, len(storages), from))
	}
	b.documents = states[0].Documents
	b.time.open(states[0].Clock, newest)
	b.reportClock()
	for i, s := range b.shards {
		s.ids.init(b, opts.DedupWindow.Milliseconds())
		if err := s.adopt(&states[i]); err != nil {
			return nil, err
		}
	}
	b.reportDamage()
	return b, nil
}

// Run commits, and does the work in the background: saving positions, retention, deleting
// what is no longer reachable. It returns when ctx ended, every pump has stopped and every
// position is saved. Its error says which storages have failed; the topics of others are served
// until ctx ends: see [Broker.Done].
func (b *Broker) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	committing, stopCommitting := context.WithCancel(base)
	saving, saved := context.WithCancel(base)
	committed := b.runShards(committing)
	var savers, upkeep sync.WaitGroup
	for _, s := range b.shards {
		savers.Go(func() { s.saver.run(saving) })
		b.pumps.Go(func() { s.housekeeping.run(s.life) })
		upkeep.Go(func() { s.serve(ctx) })
	}
	b.pumps.Go(func() { b.timers.run(b.run) })
	b.watch(ctx)
	upkeep.Wait()
	b.stop()
	b.pumps.Wait()
	saved()
	savers.Wait()
	if err := b.saveClock(base, true); err != nil && b.home().failure() == nil {
		b.log.Warn("clock not saved", "err", err)
	}
	stopCommitting()
	return errors.Join(committed()...)
}

// watch looks at the clock until ctx ends.
func (b *Broker) watch(ctx context.Context) {
	tick := time.NewTicker(retentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := b.watchClock(ctx); err != nil && ctx.Err() == nil && b.home().failure() == nil {
			b.log.Error("clock not saved", "err", err)
		}
	}
}

// Ephemeral begins the names of groups that are made for one consumer and go with
// it. Those of a process that was killed are removed by the next one.
const Ephemeral = "~"

// now is the wall clock in Unix milliseconds.
func (b *Broker) now() int64 { return b.opts.Now().UnixMilli() }

// after is the time on the clock when ms milliseconds have passed for sure: the
// clock shows whole ones, and the present one is partly over.
func (b *Broker) after(ms int64) int64 { return b.clock() + ms + 1 }

// clock is in milliseconds, too, and cannot be set: it is for timeouts, delays and
// windows. It is not the time of day, and continues over restarts.
func (b *Broker) clock() int64 { return b.time.now() }

// fold maps a name to the form under which it is registered: names differ in
// more than the case of ASCII letters, which is all they may consist of.
func fold(name string) string { return strings.ToLower(name) }

// findTopic finds a topic by name, without regard to case.
func (b *Broker) findTopic(name string) (*Topic, error) {
	b.mu.RLock()
	t := b.topics[name] // most names are in lower case already
	b.mu.RUnlock()
	if t == nil {
		b.mu.RLock()
		t = b.topics[fold(name)]
		b.mu.RUnlock()
	}
	if t == nil {
		return nil, topicNotFound(name)
	}
	return t, nil
}

// allTopics lists all topics by name.
func (b *Broker) allTopics() []*Topic {
	b.mu.RLock()
	ts := make([]*Topic, 0, len(b.topics))
	for _, t := range b.topics {
		ts = append(ts, t)
	}
	b.mu.RUnlock()
	slices.SortFunc(ts, func(x, y *Topic) int { return strings.Compare(x.Name(), y.Name()) })
	return ts
}

// InMemory is how many bytes the messages of memory topics hold.
func (b *Broker) InMemory() int64 { return b.memory.Load() }

// crowded reports whether as much is under way to consumers as may be.
func (b *Broker) crowded() bool { return b.outbound.Load()-b.spare.Load() >= b.opts.OutboundBytes }

// Outbound is how many bytes were delivered and are not yet written to a socket.
func (b *Broker) Outbound() int64 { return b.outbound.Load() }
