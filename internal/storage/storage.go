package storage

import (
	"context"
	"errors"
	"fmt"
)

// The errors a Store or the Writer reports. They may be wrapped; test with
// errors.Is.
var (
	// ErrNotFound: the topic, group or message named by the call does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: a topic or group of that name exists already.
	ErrExists = errors.New("already exists")
	// ErrConflict: the group moved to another epoch since the caller looked.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: the operation can never succeed as it stands.
	ErrInvalid = errors.New("invalid")
	// ErrDamaged: what is stored is not what was written (checksum or file format).
	ErrDamaged = errors.New("damaged")
	// ErrForeign: the database is sound and cannot be used all the same: it is another
	// program's, of a newer or of too old a version, or has something added to it.
	ErrForeign = errors.New("not a database of this program")
	// ErrInUse: another process has the database open.
	ErrInUse = errors.New("database in use")
	// ErrUnavailable: the writer or the store has stopped. Nothing of what was asked
	// for is stored, and nothing will be.
	ErrUnavailable = errors.New("unavailable")
	// ErrNotStored: the store could not do it this time, and nothing of it is stored. It
	// can be asked again.
	ErrNotStored = errors.New("not stored")
	// ErrFenced: the lease of the store has ended, since another process has taken what was
	// its own. Nothing of what was asked for is stored, and nothing will be: by this process.
	ErrFenced = errors.New("lease has ended")
	// ErrUnknown: a commit or a sync failed, or the caller stopped waiting for it, so
	// the operations may be stored or not. It wraps the cause, which may be another of
	// these errors: test for ErrUnknown first.
	ErrUnknown = errors.New("outcome unknown")
	// ErrOverloaded: more is waiting to be written than the limit allows.
	// Nothing of the refused ticket is stored.
	ErrOverloaded = errors.New("overloaded")
	// ErrFull: the disk or the database has no room. Nothing was stored.
	ErrFull = errors.New("no space left")
)

// TopicID identifies a topic forever; it is not used again after removal.
type TopicID int64

// GroupID identifies a consume group forever, over all topics.
type GroupID int64

// MaxOffset is the largest offset a topic can reach (2⁴⁰−1, about 10¹²).
const MaxOffset = 1<<40 - 1

// Record is one stored message. Its fields are not changed after it was handed
// to a Store, so any number of goroutines may read it.
type Record struct {
	Offset  int64  // given by the Store at commit
	Time    int64  // Unix milliseconds; within a topic it never decreases
	ID      string // the producer's message id; not unique
	Tag     string // "" when the message has none
	Headers string // JSON object of strings, or "" when there are none
	Body    []byte
	CRC     uint32 // see [Checksum]; given by the Store at commit
	// Omitted is the length of a Body that was left out (see Page.Brief).
	Omitted int
	// Missing is how many messages from Offset on the store has lost, of a damaged
	// record that stands for all of them. 0: it is one message.
	Missing int64
}

// End is the offset behind the message, or behind the messages that the record
// stands for.
func (r *Record) End() int64 { return r.Offset + max(r.Missing, 1) }

// Size is what the record is charged for: in Topic.Bytes, in retention by
// bytes and in memory limits.
func (r *Record) Size() int64 {
	return int64(len(r.ID) + len(r.Tag) + len(r.Headers) + len(r.Body) + r.Omitted)
}

// Retention limits a topic's log. A zero value sets no limit; the oldest
// messages go first, whether consumed or not.
type Retention struct {
	MaxAge   int64 // milliseconds
	MaxCount int64 // messages
	MaxBytes int64 // bytes, by Record.Size
}

// Topic is the stored definition and state of one topic.
type Topic struct {
	ID         TopicID
	Name       string // unique without regard to case; this spelling is kept
	Kind       Kind   // fixed at creation
	Paused     bool   // nothing is delivered
	Replies    bool   // publishes have no answer of their own: a consumer may answer each
	LegacyMask int64  // the mask that a client of the original declared last; see package server
	Creator    string
	Owner      string // the account that it counts for; "": nobody
	Created    int64  // Unix milliseconds
	Updated    int64  // Unix milliseconds, last change of the definition
	First      int64  // oldest offset that still counts
	Next       int64  // offset of the next message
	Bytes      int64  // Record.Size of the messages in [First, Next)
	LastTime   int64  // Time of the newest message ever appended
	Retention  Retention

	// Damage says why the topic can't be served, "" if it can: what is stored of it, or
	// of its groups, contradicts itself, so that messages could be passed over or
	// overwritten without a word. First, Next and the groups' positions are then what can
	// be made out. The topic can be read, removed, or accepted as it is: [Accept].
	Damage string
}

// Progress is how far a group got.
type Progress struct {
	Cursor  int64  // every offset below is settled
	Read    int64  // every offset at or above was never delivered
	Settled Ranges // within (Cursor, Read)
}

// Done reports whether the message at an offset is settled.
func (p *Progress) Done(offset int64) bool { return offset < p.Cursor || p.Settled.Has(offset) }

// Check refuses, with ErrInvalid, a place that no group of a topic with that next offset can be at.
func (p *Progress) Check(next int64) error {
	good := 0 <= p.Cursor && p.Cursor <= p.Read && p.Read <= next
	last := p.Cursor
	for _, r := range p.Settled {
		good = good && last < r.Lo && r.Lo < r.Hi && r.Hi <= p.Read
		last = r.Hi
	}
	if !good {
		return fmt.Errorf("progress %+v of a log up to %d: %w", *p, next, ErrInvalid)
	}
	return nil
}

// Group is the stored definition and state of one consume group.
type Group struct {
	ID         GroupID
	Topic      TopicID
	Name       string // unique within the topic without regard to case
	Filter     string // "" lets everything through
	Settle     Settle
	Exclusive  bool  // for one session at a time
	Paused     bool  // nothing is delivered
	Ephemeral  bool  // removed when its last consumer leaves
	LegacyMask int64 // as that of a topic
	Creator    string
	Created    int64 // Unix milliseconds
	Updated    int64 // Unix milliseconds, last change of definition or position
	AckTimeout int64 // milliseconds until an unanswered delivery is given back
	AckWindow  int64 // most deliveries in flight over all consumers
	MaxDeliver int64 // deliveries before a message is dead; 0 means no limit
	Epoch      int64 // raised by every relocation
	Version    int64 // raised by every change of the definition
	Progress
}

// At is the position of a group that is to continue at an offset, with nothing settled
// beyond it.
func At(offset int64) Progress { return Progress{Cursor: offset, Read: offset} }

// Parked is what is known of a message below Progress.Read that is not settled,
// unless it was delivered once and nothing else happened to it.
type Parked struct {
	Group  GroupID
	Offset int64
	Count  int64 // deliveries so far; 0 when the only one never left the broker
	Due    int64 // on the broker's clock, in milliseconds; not to be delivered earlier
	Cause  string
}

// Clock is how a broker's clock stood when it was saved. All but Boot are
// milliseconds. The zero value was never saved.
type Clock struct {
	Boot  string // identifies the boot of the machine; "" if that is not known
	Since int64  // the clock when the machine booted
	Last  int64  // the clock when it was saved
	Ahead int64  // how far the clock was ahead of the wall clock
	Jump  int64  // how far the wall clock has jumped, if that is in doubt; 0: it is not
	Held  int64  // nothing is deleted by age until the clock shows this
}

// Actor is who did something.
type Actor struct {
	Name    string // of the account; the address where nobody says who it is
	Address string // that it was done from; "" of what the broker does by itself
	Token   string // the id of the token that was given; "" without one
}

// Document is a named text that is kept as a whole.
type Document struct {
	Kind, Name string // together they are unique
	Value      string
	// Damaged says that what is stored is not what was written. Its Value is "".
	Damaged bool
}

// JournalEntry records one relocation or filter change of a group.
type JournalEntry struct {
	ID     int64 // given by the Store
	Topic  TopicID
	Group  GroupID
	Time   int64  // Unix milliseconds
	Kind   string // "create", "relocate", "filter", "empty", "revert"
	Actor  Actor
	Reason string
	From   Progress // the position before
	To     int64    // the cursor after
	// FilterFrom and FilterTo differ when the filter changed.
	FilterFrom, FilterTo string
}

// AuditEntry records one administrative action.
type AuditEntry struct {
	ID     int64 // given by the Store
	Time   int64 // Unix milliseconds
	Actor  Actor
	Action string // such as "topic.create"
	Target string // such as "orders" or "orders/billing"
	Detail string
}

// KeptID is the id of a message that was dropped.
type KeptID struct {
	Offset, Time int64
	ID           string
}

// KeptIDs are those of a topic, in the order of their offsets.
type KeptIDs struct {
	Topic TopicID
	IDs   []KeptID
}

// State is everything but the messages and the history: what a broker needs to start.
type State struct {
	Topics []Topic
	Groups []Group
	Parked []Parked
	Clock  Clock
	Kept   []KeptIDs // a topic may be there several times

	Documents []Document
}

// Page limits one [Store.Read].
type Page struct {
	Rows  int   // at most this many records, at least 1
	Bytes int64 // stop after the record that reaches this many; 0 means no limit
	Brief bool  // leave out Body and do not verify the checksum
}

// Syncer is a [Store] of whose commits a power loss leaves no more than what was synced.
// What other stores have committed is as durable as their setting promises.
type Syncer interface {
	// Sync makes everything that Commit returned for before the call as durable
	// as the store's setting promises; only then may it be answered. It may run
	// while a later Commit does, so that writing and syncing overlap. It is called by
	// one goroutine, which may be another than the one that commits. An error
	// is as fatal as an unknown outcome of Commit.
	Sync() error

	// SyncDue reports whether what Commit has returned for may be answered only
	// after a Sync. It is asked by the goroutine that commits, after each commit.
	SyncDue() bool
}

// Maintainer is a [Store] that has work to do between commits, such as a checkpoint.
type Maintainer interface {
	// Maintain does some of it. It is called by the goroutine that commits, after each
	// commit, and now and then while there are none. After an error nothing more is
	// committed.
	Maintain() error
}

// Store keeps topics, groups and messages. It may be a [Syncer] and a [Maintainer], too.
//
// A store is a lease: from the moment it is opened until it is closed no other process changes
// its data. Where another process can take the lease all the same, as with a database on a
// network, the lease is part of each commit: from then on every commit of the previous holder
// is refused as a whole, with ErrFenced.
//
// Commit and Close are called by one goroutine, never two at a time. The other methods may be
// called by any number of goroutines, also while a Commit runs, and see only what was
// committed.
type Store interface {
	// Commit makes all ops happen in one transaction and in this order. When it
	// returns they survive the end of the process, and a power loss unless the store is
	// a [Syncer]. errs has one entry an op: nil, or why this one alone was left out.
	//
	// An error says what became of all of them. With ErrNotStored or ErrFull nothing was
	// stored and the store can continue. With ErrFenced nothing was stored, and the store
	// has ended. With any other error the outcome is unknown. After that, as after
	// ErrFenced, the caller must make no further call but Close, and start again from what
	// is there.
	//
	// Commit fills in what the ops leave to it (ids, offsets, times raised to
	// Topic.LastTime, checksums) and keeps no reference to them.
	Commit(ops []Op) (errs []error, err error)

	// Load reads all topics, groups and parked messages.
	Load(ctx context.Context) (State, error)

	// Read appends to dst the records of a topic from an offset upwards and
	// returns it. Fewer records than page.Rows without page.Bytes being reached
	// means the end of the log. A record whose checksum does not match is
	// returned with a nil Body, no Headers and CRC 0, so that the caller can
	// tell it from an intact one ([Record.Damaged]) and continue behind it. The
	// records follow each other up to the end of the log that Commit has
	// reported: one damaged record stands for messages that should be there and
	// are not ([Record.Missing]). Only a topic's beginning may be missing, which
	// retention has dropped.
	Read(ctx context.Context, topic TopicID, from int64, page Page, dst []Record) ([]Record, error)

	// OffsetAt finds the first offset whose message is not older than the given
	// Unix time in milliseconds, or Topic.Next when all are older. Its cost
	// grows with the logarithm of the topic's depth.
	OffsetAt(ctx context.Context, topic TopicID, time int64) (int64, error)

	// BytesFrom is the Record.Size of the messages from an offset to the end of the
	// log. Its cost does not grow with their number.
	BytesFrom(ctx context.Context, topic TopicID, offset int64) (int64, error)

	// FindID finds the newest message with the given id, looking from the end
	// of the log, or returns ErrNotFound. Its cost grows with the distance.
	FindID(ctx context.Context, topic TopicID, id string) (int64, error)

	// Journal lists a group's entries with an id below before (0: all), newest
	// first, at most limit of them.
	Journal(ctx context.Context, group GroupID, before int64, limit int) ([]JournalEntry, error)

	// Entry reads one journal entry by its id, or returns ErrNotFound.
	Entry(ctx context.Context, id int64) (JournalEntry, error)

	// Audit lists administrative actions with an id below before (0: all), newest
	// first, at most limit of them.
	Audit(ctx context.Context, before int64, limit int) ([]AuditEntry, error)

	// History reads the chunks of a series of some levels, as they are at one moment: the
	// highest level first, and each in the order in which they were put. Those that are
	// damaged have no data.
	History(ctx context.Context, of Series, least, most uint8) ([]HistoryChunk, error)

	// HistorySizes says how much is kept of all series, those of topics and groups that are
	// lost included.
	HistorySizes(ctx context.Context) ([]HistorySize, error)

	// Close checkpoints and releases the store.
	Close() error
}
