package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// MaxKnownIDs is how many ids are known at a time, over all topics; the oldest are
// forgotten first.
const MaxKnownIDs = 1 << 18

// Input is a message that a client gives to a topic.
type Input struct {
	Topic *Topic
	storage.Record
	// Given says that the client named the id, so that it counts for
	// deduplication. Otherwise one is made up.
	Given bool
}

// Stored is what became of an Input.
type Stored struct {
	ID        string
	Offset    int64
	Time      int64 // Unix milliseconds
	Duplicate bool  // the id was known: nothing was stored, this is the first message
}

// shardOf is where messages go that are all for topics of one shard.
func (b *Broker) shardOf(inputs []Input) *shard {
	if len(inputs) == 0 {
		return b.home()
	}
	return inputs[0].Topic.shard
}

// storeWith is View.Store, with further ops in the same commit.
func (s *shard) storeWith(ctx context.Context, inputs []Input, extra []storage.Op) (stored []Stored, err error) {
	var answer []Stored
	var failed error
	done := make(chan struct{})
	s.storeThen(ctx, inputs, extra, func(list []Stored, e error) {
		answer, failed = list, e
		close(done)
	})
	select {
	case <-done:
		return answer, failed
	case <-ctx.Done():
		return nil, abandoned(ctx)
	}
}

// storeThen is View.StoreThen, with further ops in the same commit.
func (s *shard) storeThen(ctx context.Context, inputs []Input, extra []storage.Op, done func([]Stored, error)) {
	var one oneShard
	for i := range inputs {
		in := &inputs[i]
		err := in.check()
		if err == nil {
			err = one.add(in.Topic)
		}
		if err != nil {
			done(nil, err)
			return
		}
		if err := s.ids.recall(ctx, in.Topic); err != nil {
			done(nil, err)
			return
		}
		if !in.Given {
			in.ID = strings.ToLower(rand.Text())
		}
	}
	for {
		c, busy, err := s.ids.claim(inputs)
		if err != nil {
			done(nil, err)
			return
		}
		if busy == nil {
			s.storeClaimed(inputs, c, extra, done)
			return
		}
		select {
		case <-busy:
		case <-ctx.Done(): // the other caller may store the message yet
			done(nil, abandoned(ctx))
			return
		}
	}
}

// check refuses what can't be stored.
func (in *Input) check() error {
	t := in.Topic
	if t.Calls() {
		return errorf(Invalid, "Topic(%s) is for calls: a message in it would have nobody to answer to", t.name)
	}
	if limit := t.b.opts.MaxBody; limit > 0 && int64(len(in.Body)) > limit {
		return errorf(TooLarge, "the body of a message has %d bytes: at most %d are allowed", len(in.Body), limit)
	}
	return check(t, &in.Record)
}

// storeClaimed stores the inputs whose ids were not known.
func (s *shard) storeClaimed(inputs []Input, c *claim, extra []storage.Op, done func([]Stored, error)) {
	var p *Publishing
	p = s.b.NewPublishing(func() { done(c.answer(inputs, p)) })
	p.atomic, p.extra, p.shareOf(s).claim = true, extra, c
	left := 0
	for i := range inputs {
		left += int(inputs[i].Size())
	}
	for i := range inputs {
		left -= int(inputs[i].Size())
		if c.known[i] == nil {
			p.Add(inputs[i].Topic, inputs[i].Record, true, left)
		}
	}
	p.Publish()
}

// answer is what became of the inputs, once p is committed.
func (c *claim) answer(inputs []Input, p *Publishing) ([]Stored, error) {
	answer := make([]Stored, len(inputs))
	next := 0
	for i := range inputs {
		answer[i].ID = inputs[i].ID
		if k := c.known[i]; k != nil {
			answer[i].Offset, answer[i].Time, answer[i].Duplicate = k.offset, k.time, true
			continue
		}
		rec, err := p.record(next)
		if err != nil {
			return nil, err
		}
		answer[i].Offset, answer[i].Time = rec.Offset, rec.Time
		next++
	}
	return answer, p.err
}

// knownIDs are the ids that clients gave to messages within the window.
type knownIDs struct {
	b      *Broker
	most   int   // MaxKnownIDs
	window int64 // milliseconds; 0: nothing is deduplicated
	until  int64 // on Broker.clock: when all ids of the window are of this process

	mu    sync.Mutex
	byKey map[idKey]*knownID // guarded by mu
	queue []*knownID         // guarded by mu: those that are stored, oldest first unless
	mixed bool               // guarded by mu: some of an earlier process are behind newer ones

	// forgotten is the largest offset of each topic whose id was known and is not any
	// longer. Guarded by mu.
	forgotten map[storage.TopicID]int64
}

type idKey struct {
	topic storage.TopicID
	id    string
}

// knownID is an id that was stored, or is about to be. All but done is set once,
// before done is closed.
type knownID struct {
	key          idKey
	offset, time int64
	at           int64         // on Broker.clock
	err          error         // why it was not stored
	done         chan struct{} // closed when its fate is known
	stored       bool          // guarded by knownIDs.mu
	unknown      bool          // guarded by knownIDs.mu: it may be stored; nobody will know before the next start
}

// claim is the ids that one Publishing is to store, and of Store those of its inputs
// that are known.
type claim struct {
	known []*knownID // one an input; nil: it is to be stored
	fresh []claimed
	done  chan struct{}
}

// claimed is an id, and which message of the Publishing has it.
type claimed struct {
	*knownID
	item int
}

func (k *knownIDs) init(b *Broker, window int64) {
	k.b, k.most, k.window = b, MaxKnownIDs, window
	k.until = b.clock() + window
	k.byKey = make(map[idKey]*knownID)
	k.forgotten = make(map[storage.TopicID]int64)
}

// claim takes the ids that are not known. It refuses one of which it is not known
// whether its message is stored: of that, no is not to be said. If one is just being
// stored by another caller, it takes none and returns what is closed when that is over:
// a second caller that waited while holding ids of its own could wait forever.
func (k *knownIDs) claim(inputs []Input) (c *claim, busy chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	for i := range inputs {
		e := k.byKey[inputs[i].key()]
		switch {
		case e == nil || !inputs[i].Given || e.stored:
		case e.unknown:
			return nil, nil, unknownID(inputs[i].ID)
		default:
			return nil, e.done, nil
		}
	}
	c = &claim{known: make([]*knownID, len(inputs)), done: make(chan struct{})}
	items := 0 // messages to be stored
	for i := range inputs {
		if in := &inputs[i]; in.Given && k.window > 0 {
			if e := k.byKey[in.key()]; e != nil { // of an earlier call, or of this one
				c.known[i] = e
				continue
			}
			c.add(k, in.key(), items)
		}
		items++
	}
	return c, nil, nil
}

// add claims an id for a message of the Publishing. Called with k.mu held.
func (c *claim) add(k *knownIDs, key idKey, item int) *knownID {
	e := &knownID{key: key, done: c.done}
	k.byKey[key] = e
	c.fresh = append(c.fresh, claimed{e, item})
	return e
}

func unknownID(id string) error {
	return errorf(Unknown, "the id %q was given before, and its message may be stored or not: send it again", id)
}

func (in *Input) key() idKey { return idKey{in.Topic.id, in.ID} }

// resolve notes what became of a claim. It is called from a commit callback.
func (k *knownIDs) resolve(c *claim, p *Publishing) {
	k.mu.Lock()
	now := k.b.clock()
	for _, e := range c.fresh {
		rec, err := p.record(e.item)
		if err != nil {
			e.err = err
			if e.unknown = CodeOf(err) == Unknown; !e.unknown {
				delete(k.byKey, e.key)
			}
			continue
		}
		e.offset, e.time, e.at, e.stored = rec.Offset, rec.Time, now, true
		k.queue = append(k.queue, e.knownID)
	}
	k.mu.Unlock()
	close(c.done)
}

// expire forgets what is older than the window, or too much. Called with k.mu
// held.
func (k *knownIDs) expire() {
	if k.mixed {
		slices.SortStableFunc(k.queue, func(x, y *knownID) int {
			return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.offset, y.offset))
		})
		k.mixed = false
	}
	n := max(0, len(k.queue)-k.most)
	for limit := k.b.clock() - k.window; n < len(k.queue) && k.queue[n].at < limit; n++ {
	}
	for _, e := range k.queue[:n] {
		delete(k.byKey, e.key)
		k.forgotten[e.key.topic] = max(k.forgotten[e.key.topic], e.offset)
	}
	clear(k.queue[:n])
	if k.queue = k.queue[n:]; len(k.queue) == 0 {
		k.queue = nil
	}
}

// nativeHeaders begin the headers of every message that the native protocol brought: its
// sender comes first. onceHeaders begin those of one that was to be stored once, so that
// the next process can tell whose ids are known; to readers of JSON the space is nothing.
const (
	nativeHeaders = `{"sender":`
	onceHeaders   = " " + nativeHeaders
)

// recall reads the ids that an earlier process was given within the window, once
// for each topic, and only while the window reaches back so far.
func (k *knownIDs) recall(ctx context.Context, t *Topic) error {
	if t.Memory() || t.recalled.Load() {
		return nil
	}
	t.recalling.Lock()
	defer t.recalling.Unlock()
	if t.recalled.Load() {
		return nil
	}
	if now := k.b.clock(); now < k.until {
		from, err := t.offsetAt(ctx, now-k.b.time.earlier-k.window)
		if err != nil {
			return err
		}
		_, _, err = t.Scan(ctx, Scan{From: from, To: t.openedAt, Brief: true}, func(r *storage.Record) bool {
			if r.ID != "" && !strings.HasPrefix(r.Headers, nativeHeaders) && letterAt(r.Headers) < 0 {
				k.remember(t.id, storage.KeptID{Offset: r.Offset, Time: r.Time, ID: strings.Clone(r.ID)}, now)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	t.recalled.Store(true)
	return nil
}

// remember notes an id of an earlier process. Of several messages with one id the
// last one counts: the others were forgotten when it was stored.
func (k *knownIDs) remember(t storage.TopicID, r storage.KeptID, now int64) {
	key := idKey{t, r.ID}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.byKey[key]
	if e == nil {
		e = &knownID{key: key, stored: true}
		k.byKey[key] = e
		k.queue = append(k.queue, e)
	}
	e.offset, e.time, e.at = r.Offset, r.Time, min(now, r.Time+k.b.time.earlier)
	if k.mixed = true; len(k.queue) > k.most+k.most/4 {
		k.expire()
	}
}
