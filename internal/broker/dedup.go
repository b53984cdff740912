package broker

import (
	"cmp"
	"context"
	"sort"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// MaxKnownIDs is how many ids are known at a time, over all topics; the oldest are
// forgotten first.
const MaxKnownIDs = 1 << 18

// knownIDs are the ids that clients gave to messages within the window. [Publishing] asks for them
// (dedup_claim.go), which decides what is stored; ids of deleted messages are in dedup_kept.go.
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
	unknown      bool          // guarded by knownIDs.mu: it may be stored; only the next start can tell
}

func (k *knownIDs) init(b *Broker, window int64) {
	k.b, k.most, k.window = b, MaxKnownIDs, window
	k.until = b.clock() + window
	k.byKey = make(map[idKey]*knownID)
	k.forgotten = make(map[storage.TopicID]int64)
}

func unknownID(id string) error {
	return errorf(Unknown, "the id %q was given before, and its message may be stored or not: send it again", id)
}

// resolve notes what became of a claim. It is called from a commit callback.
func (k *knownIDs) resolve(c *claim, p *Publishing) {
	k.mu.Lock()
	now := k.b.clock()
	for _, e := range c.ids {
		first, err := p.Result(e.item)
		if err != nil {
			e.err = err
			if e.unknown = CodeOf(err) == Unknown; !e.unknown {
				delete(k.byKey, e.key)
			}
			continue
		}
		e.offset, e.time, e.at, e.stored = first.Offset, first.Time, now, true
		k.queue = append(k.queue, e.knownID)
	}
	k.mu.Unlock()
	close(c.done)
}

// expire forgets what is older than the window, or too much. Called with k.mu
// held.
func (k *knownIDs) expire() {
	if k.mixed {
		sort.SliceStable(k.queue, func(i, j int) bool {
			x, y := k.queue[i], k.queue[j]
			return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.offset, y.offset)) < 0
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
	if t.recalled.Load() {
		return nil
	}
	t.recalling.Lock()
	defer t.recalling.Unlock()
	if t.recalled.Load() {
		return nil
	}
	if now := k.b.clock(); now < k.until {
		from, err := t.log.offsetAt(ctx, now-k.b.time.earlier-k.window)
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
