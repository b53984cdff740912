package sqlite

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// verdict is what becomes of a log before anything is opened for writing.
type verdict struct {
	loss   *storage.Loss // something that was answered is missing
	notice string        // nothing that was answered is missing, but people should know
	keep   bool          // copy the log: SQLite drops frames of it
	aside  bool          // SQLite must not see the log
}

// evidence is all that is known of a log.
type evidence struct {
	path  string     // of the log
	marks *markState // nil: there is no mark
	scan  *wal.Scanned
	// index is what the process that was killed had in memory of the mark's round. nil: not
	// known, or no longer true, as the machine was started again.
	index *wal.Index
	// copiedElsewhere reports whether the database has the last transaction of the mark,
	// although it was not noted that it was copied.
	copiedElsewhere func() bool
}

// judge decides. After a killed process the mark is exact: what it says is in the log, or
// it is lost. After a power cut the mark may be older, and frames that were not synced may
// be missing in any order.
func (e *evidence) judge() verdict {
	m, s := e.marks, e.scan
	switch {
	case m == nil:
		return e.unmarked()
	case s.Head == wal.GoodHead && s.Round == m.log.Round:
		return e.sameRound()
	case s.Head == wal.GoodHead && s.Round.After(m.log.Round):
		return e.torn(s.Valid)
	case m.log.Flags&markLoose != 0:
		return verdict{}
	case s.Head == wal.GoodHead && m.log.Round.After(s.Round) && m.frames() == 0 && s.Valid == m.log.Before && s.Whole == s.Valid:
		return verdict{} // a new round was about to begin
	}
	return e.otherRound()
}

// unmarked judges a log without a mark, from an older version, as SQLite does: what can be
// read counts.
func (e *evidence) unmarked() verdict {
	if e.scan.Head != wal.BadHead {
		return e.torn(e.scan.Valid)
	}
	linked := 0
	for _, f := range e.scan.Rest {
		if f.Linked {
			linked++
		}
	}
	if linked == 0 {
		return verdict{}
	}
	return verdict{keep: true, notice: fmt.Sprintf("the head of the log is damaged, %d frames can't be read", linked)}
}

// torn judges a log of which as much can be read as there has to be.
func (e *evidence) torn(valid int64) verdict {
	frames, transactions := e.scan.Beyond(e.scan.Round, e.scan.Whole, true)
	switch {
	case frames > 0:
		return verdict{keep: true, notice: fmt.Sprintf("the log can't be read beyond frame %d; %d frames behind it, which end %d transactions, were not known to be synced and are dropped",
			valid, frames, transactions)}
	case e.index != nil && e.index.Frames > valid:
		return verdict{keep: true, notice: fmt.Sprintf("the log can't be read beyond frame %d of %d; what is dropped was not answered", valid, e.index.Frames)}
	}
	return verdict{}
}

// sameRound judges a log of the round that the mark knows.
func (e *evidence) sameRound() verdict {
	m, s := e.marks, e.scan
	need := m.frames()
	if e.index != nil {
		// The database may have pages of what was being copied.
		need = max(need, e.index.Attempted)
		if m.log.Flags&markRelaxed != 0 {
			need = max(need, e.index.Frames)
		}
	}
	if s.Valid >= need {
		return e.torn(s.Valid)
	}
	if e.spent(need) {
		return verdict{aside: true, notice: fmt.Sprintf("the log is damaged at frame %d, all it had is in the database", s.Valid+1)}
	}
	what := fmt.Sprintf("%s can be read up to frame %d and was written up to frame %d", e.path, s.Valid, need)
	if n := s.Transactions(need); n > 0 {
		what += fmt.Sprintf("; missing transactions: %d", n)
	}
	return verdict{loss: e.loss(what), aside: s.Valid < max(m.log.Copied, e.attempted())}
}

func (e *evidence) attempted() int64 {
	if e.index == nil {
		return 0
	}
	return e.index.Attempted
}

// spent reports whether all that the log had, up to need frames or more, is in the database.
func (e *evidence) spent(need int64) bool {
	copied := e.marks.log.Copied
	more, _ := e.scan.Beyond(e.marks.log.Round, copied, false)
	return need <= copied && e.scan.Whole <= copied && more == 0
}

// otherRound judges where the log of the mark's round is not.
func (e *evidence) otherRound() verdict {
	m, s := e.marks, e.scan
	copied := m.log.Copied
	if need := m.frames(); need > copied {
		if s.Head == wal.NoHead && e.copiedElsewhere() {
			return verdict{notice: "another program has copied the log into the database and removed it"}
		}
		return verdict{loss: e.loss(fmt.Sprintf("%s, and %d frames of it were not yet in the database", e.absence(), need-copied)), aside: true}
	}
	switch {
	case e.index != nil && e.index.Frames > copied:
		return verdict{loss: e.loss(fmt.Sprintf("%s, and %d frames of it were not yet in the database", e.absence(), e.index.Frames-copied)), aside: true}
	case s.Head == wal.NoHead:
		return verdict{}
	case e.index != nil, m.log.Flags&markClosed != 0, s.Head == wal.BadHead && !e.traces():
		return verdict{aside: true, notice: e.absence() + "; all it had is in the database"}
	}
	return verdict{loss: e.loss(e.absence()), aside: true}
}

// traces reports whether a log with a bad head has frames that may count: of the mark's
// round and not yet in the database, or of one that came soon after.
func (e *evidence) traces() bool {
	r := e.marks.log.Round
	for i, f := range e.scan.Rest {
		if !f.Linked {
			continue
		}
		later := f.Salt1 - r.Salt1
		if f.Of(r) && int64(i) >= e.marks.log.Copied || later > 0 && later < 1<<16 {
			return true
		}
	}
	return false
}

func (e *evidence) absence() string {
	switch e.scan.Head {
	case wal.NoHead:
		return e.path + " is missing"
	case wal.BadHead:
		return "the head of " + e.path + " is damaged"
	}
	return e.path + " is not the log of this database, or an old one"
}

// loss says what is missing, and since when.
func (e *evidence) loss(what string) *storage.Loss {
	m := e.marks
	return newLoss(m, fmt.Sprint(e.scan.Size, e.scan.Head, e.scan.Round, e.scan.Valid, m.frames(), m.log.Copied), "%s; it was written from %s on and last synced at %s",
		what, wallTime(m.log.Began), wallTime(m.synced.Time))
}

// newLoss gives a loss its ID: of the same files it is the same each time, wherever they are.
func newLoss(m *markState, what string, format string, args ...any) *storage.Loss {
	text := fmt.Sprintf(format, args...)
	if m != nil {
		what += fmt.Sprint(m.log.Identity, m.serial)
	}
	sum := sha256.Sum256([]byte(what))
	return &storage.Loss{ID: fmt.Sprintf("%x", sum[:4]), What: text}
}

func wallTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format(time.RFC3339) // wall clock: for people
}

// judgeSelf decides whether a database may be the one of the mark. without is what it says
// without its log, or nil when that is not known.
func judgeSelf(m *markState, path string, with self, without *self) *storage.Loss {
	id := with.identity
	if without != nil {
		id = without.identity
	}
	seen := fmt.Sprint(id, with.generation)
	switch {
	case id != m.log.Identity:
		return newLoss(m, seen, "%s is another database: it is %s, and this directory had %s", path, id, m.log.Identity)
	case with.generation < m.synced.Generation, without != nil && without.generation < m.log.Base:
		return newLoss(m, seen, "%s is older than what was here, which was last written at %s: it is a copy, or its file system was put back",
			path, wallTime(max(m.synced.Time, m.log.Time)))
	}
	return nil
}
