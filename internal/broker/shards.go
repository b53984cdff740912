package broker

import (
	"context"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// home is the shard that has what is of no topic: the clock, documents, their audit trail.
func (b *Broker) home() *shard { return b.shards[0] }

// placeFor is the shard of a topic that is about to be created. A message that dies and its
// letter are in one commit, so a topic and its dead letters are in one shard; others begin in
// the first one.
func (b *Broker) placeFor(name string) *shard {
	if t := b.diesInto(name); t != nil {
		return t.shard
	}
	if t, err := b.findTopic(name + deadSuffix); err == nil {
		return t.shard
	}
	return b.home()
}

// runShards runs the committers of all shards until ctx ends. What it returns waits for that.
// Done is closed when the last one has ended, as it does when none is left that has not failed.
func (b *Broker) runShards(ctx context.Context) (wait func() []error) {
	errs := make([]error, len(b.shards))
	var g sync.WaitGroup
	for i, s := range b.shards {
		g.Go(func() { errs[i] = s.keep(ctx) })
	}
	go func() {
		g.Wait()
		close(b.done)
	}()
	return func() []error {
		<-b.done
		return errs
	}
}

// Done is closed when nothing more can be stored: Run has ended, or every storage has failed.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Err says why nothing more can be stored in any storage, or returns nil.
func (b *Broker) Err() error {
	var first error
	for _, s := range b.shards {
		err := s.Stopped()
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Backlog is how many bytes wait to be stored.
func (b *Broker) Backlog() (n int64) {
	for _, s := range b.shards {
		n += s.Committer.Backlog()
	}
	return n
}

// Writer says what was committed so far.
func (b *Broker) Writer() (all storage.WriterTotals) {
	for _, s := range b.shards {
		n := s.Totals()
		all.Commits += n.Commits
		all.Syncs += n.Syncs
		all.Gathers += n.Gathers
		all.CommitTime += n.CommitTime
		all.SyncTime += n.SyncTime
		all.GatherTime += n.GatherTime
	}
	return all
}

// Pages is how many bytes are kept of what was read for groups that lag behind.
func (b *Broker) Pages() (n int64) {
	for _, s := range b.shards {
		n += s.pages.bytes()
	}
	return n
}

// lost is what is left of a storage that has failed: it answers why.
type lost struct{ err error }

func (l lost) Load(context.Context) (storage.State, error) { return storage.State{}, l.err }

func (l lost) Read(context.Context, storage.TopicID, int64, storage.Page, []storage.Record) ([]storage.Record, error) {
	return nil, l.err
}

func (l lost) OffsetAt(context.Context, storage.TopicID, int64) (int64, error)  { return 0, l.err }
func (l lost) BytesFrom(context.Context, storage.TopicID, int64) (int64, error) { return 0, l.err }
func (l lost) FindID(context.Context, storage.TopicID, string) (int64, error)   { return 0, l.err }

func (l lost) Journal(context.Context, storage.GroupID, int64, int) ([]storage.JournalEntry, error) {
	return nil, l.err
}

func (l lost) Entry(context.Context, int64) (storage.JournalEntry, error) {
	return storage.JournalEntry{}, l.err
}

func (l lost) Audit(context.Context, int64, int) ([]storage.AuditEntry, error) { return nil, l.err }

func (l lost) History(context.Context, storage.Series, uint8, uint8) ([]storage.HistoryChunk, error) {
	return nil, l.err
}

func (l lost) HistorySizes(context.Context) ([]storage.HistorySize, error) { return nil, l.err }
