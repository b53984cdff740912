package broker

import (
	"context"
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
	PlanBytes     int64 // plans of relocations that can still be applied; 16 MiB
	MaxBody       int64 // of a message given to Store; no limit

	// DedupWindow is how long ids are known, see [Broker.Store]; 0: not at all.
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
	set(&o.PlanBytes, 16<<20)
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
	store  storage.Store
	writer *storage.Writer
	saver  saver
	timers timers

	housekeeping housekeeping
	plans        plans
	ids          knownIDs
	tails        tailBudget // used by commit callbacks only
	pages        pages
	time         clock

	groups   atomic.Int64 // of all topics, those being created included
	memory   atomic.Int64 // bytes held by memory topics
	outbound atomic.Int64 // bytes handed to sinks and not yet written
	spare    atomic.Int64 // of these, the small messages that went although it was crowded

	ahead     atomic.Int64              // nanoseconds by which Advance has moved the wall clock
	elsewhere atomic.Pointer[Elsewhere] // nil: this server is not being drained

	documents []storage.Document // as they were at the start, until they are taken

	mu     sync.RWMutex      // held for map operations only
	topics map[string]*Topic // guarded by mu; key is the lower-cased name

	names sync.Mutex      // serialises the creation and removal of topics, over their commits; see Topic.changes
	run   context.Context // ends when the pumps have to stop
	stop  context.CancelFunc
	pumps sync.WaitGroup // and timers, housekeeping, what awaits providers
}

// Open loads topics and groups from the store. Nothing is delivered or saved in
// the background until Run is called.
func Open(ctx context.Context, store storage.Store, writer *storage.Writer, opts Options) (*Broker, error) {
	opts = opts.withDefaults()
	state, err := store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load topics: %w", err)
	}
	b := &Broker{
		opts: opts, log: opts.Log, store: store, writer: writer,
		tails:  tailBudget{limit: opts.TailBytes},
		plans:  plans{limit: opts.PlanBytes},
		topics: make(map[string]*Topic, len(state.Topics)), documents: state.Documents,
	}
	b.opts.Now = func() time.Time { return opts.Now().Add(time.Duration(b.ahead.Load())) }
	b.time.wall, b.time.uptime, b.time.hold = b.opts.Now, opts.Uptime, opts.ClockHold.Milliseconds()
	newest := int64(0)
	for _, def := range state.Topics {
		newest = max(newest, def.LastTime)
	}
	b.time.open(state.Clock, newest)
	b.reportClock()
	b.pages.init(opts.PageBytes)
	b.saver.init(b)
	b.timers.init(b)
	b.housekeeping.init(b)
	b.ids.init(b, opts.DedupWindow.Milliseconds())
	b.run, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	byID := make(map[storage.TopicID]*Topic, len(state.Topics))
	for _, def := range state.Topics {
		t := newTopic(b, def)
		b.topics[fold(def.Name)] = t
		byID[def.ID] = t
	}
	groups := make(map[storage.GroupID]*Group, len(state.Groups))
	for _, def := range state.Groups {
		t := byID[def.Topic]
		if t == nil {
			return nil, fmt.Errorf("group %q: its topic %d is missing: %w", def.Name, def.Topic, storage.ErrDamaged)
		}
		g, err := newGroup(t, def)
		if err != nil {
			return nil, fmt.Errorf("group %q of topic %q: %w", def.Name, t.Name(), err)
		}
		g.earlier = true
		t.groups[fold(def.Name)] = g
		groups[def.ID] = g
	}
	b.groups.Store(int64(len(groups)))
	b.ids.load(state.Kept, byID)
	parked := make(map[storage.GroupID][]storage.Parked)
	for _, p := range state.Parked {
		parked[p.Group] = append(parked[p.Group], p)
	}
	for id, g := range groups {
		g.load(parked[id])
	}
	b.reportDamage()
	return b, nil
}

// Run does the work that nobody asks for: saving places, retention, deleting
// what is no longer reachable. It returns when ctx ended, every pump has stopped
// and every place is saved. The storage writer has to be running until then.
func (b *Broker) Run(ctx context.Context) error {
	saving, saved := context.WithCancel(context.WithoutCancel(ctx))
	var g sync.WaitGroup
	g.Go(func() { b.saver.run(saving) })
	b.pumps.Go(func() { b.timers.run(b.run) })
	b.pumps.Go(func() { b.housekeeping.run(b.run) })
	b.removeLeftovers(ctx)
	b.retain(ctx)
	b.stop()
	b.pumps.Wait()
	saved()
	g.Wait()
	if err := b.saveClock(context.WithoutCancel(ctx), true); err != nil && b.Stopped() == nil {
		b.log.Warn("clock not saved", "err", err)
	}
	return nil
}

// Ephemeral begins the names of groups that are made for one consumer and go with
// it. Those of a process that was killed are removed by the next one.
const Ephemeral = "~"

// removeLeftovers removes ephemeral groups of an earlier process.
func (b *Broker) removeLeftovers(ctx context.Context) {
	for _, t := range b.allTopics() {
		for _, g := range t.Groups() {
			g.mu.Lock()
			left := g.earlier && len(g.subs) == 0 && !g.gone && g.ephemeral()
			g.mu.Unlock()
			if !left || ctx.Err() != nil {
				continue
			}
			if err := b.removeGroup(ctx, t.name, g.name, "", itself()); err != nil && CodeOf(err) != NotFound {
				b.log.Warn("group of an earlier run not removed", "topic", t.name, "group", g.name, "err", err)
			}
		}
	}
}

// commit has ops committed and waits for it, also when ctx ends before that: what is in
// memory has to follow what is stored.
func (b *Broker) commit(ctx context.Context, ops ...storage.Op) error {
	return b.writer.Do(context.WithoutCancel(ctx), ops...)
}

// commitThen commits one op, waits for that, and calls done with the outcome before anyone
// hears of what was committed later: so what others see in memory agrees with the answers
// they get. done must not block.
func (b *Broker) commitThen(op storage.Op, done func(error)) error {
	over := make(chan struct{})
	t := &storage.Ticket{Ops: []storage.Op{op}, Done: func(t *storage.Ticket) {
		done(t.Errs[0])
		close(over)
	}}
	if err := b.writer.Submit(t); err != nil {
		return err
	}
	<-over
	return t.Errs[0]
}

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

// Backlog is how many bytes wait for the storage writer.
func (b *Broker) Backlog() int64 { return b.writer.Backlog() }

// Writer says what the storage writer has done so far.
func (b *Broker) Writer() storage.WriterTotals { return b.writer.Totals() }

// Stopped says why nothing more can be stored, or returns nil.
func (b *Broker) Stopped() error { return b.writer.Stopped() }

// InMemory is how many bytes the messages of memory topics hold.
func (b *Broker) InMemory() int64 { return b.memory.Load() }

// Pages is how many bytes are kept of what was read for groups that lag behind.
func (b *Broker) Pages() int64 { return b.pages.bytes() }

// crowded reports whether as much is under way to consumers as may be.
func (b *Broker) crowded() bool { return b.outbound.Load()-b.spare.Load() >= b.opts.OutboundBytes }

// Outbound is how many bytes were delivered and are not yet written to a socket.
func (b *Broker) Outbound() int64 { return b.outbound.Load() }
