package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// bumpEvery is how old the last change of the generation may be when something is
// committed. A copy of the database that is older than that is recognised.
const bumpEvery = time.Second

// self is what a database says of itself.
type self struct {
	identity   identity
	generation int64 // grows with the first commit of a process and then with time: see bump
}

// readSelf reads it. A database whose schema is older says nothing.
func readSelf(c *conn) (self, error) {
	var s self
	has, err := c.value("SELECT count(*) FROM sqlite_schema WHERE name = 'identity'")
	if err != nil || has == int64(0) {
		return s, translate(err)
	}
	rows := 0
	for row, err := range c.ask("SELECT id, generation FROM identity") {
		if err != nil {
			return self{}, translate(err)
		}
		id, err := hex.DecodeString(text(row[0]))
		if err != nil || len(id) != len(s.identity) {
			return self{}, fmt.Errorf("identity %q: %w", text(row[0]), storage.ErrDamaged)
		}
		copy(s.identity[:], id)
		s.generation = integer(row[1])
		rows++
	}
	if rows != 1 {
		return self{}, fmt.Errorf("%d identities: %w", rows, storage.ErrDamaged)
	}
	return s, nil
}

// Identity tells the database of this store from any other: 32 hexadecimal digits. A copy
// has the same.
func (s *Store) Identity() string { return s.generation.identity.String() }

// generation is how the goroutine that commits counts up what the database says of itself.
type generation struct {
	self
	frames  int64     // of the log's round, when it was committed
	round   wal.Round // that one
	commits int64     // of the syncer, just after
	at      time.Time // of the last try
}

// bump commits the next generation, if anything was committed since the last time, which
// is a while ago unless it is urgent. It is a commit like any other, and need not be synced
// at once: the mark names a generation only when it is on disk.
func (s *Store) bump(now time.Time, urgent bool) error {
	g := &s.generation
	if s.sync.commits.Load() == g.commits || !urgent && now.Sub(g.at) < bumpEvery {
		return nil
	}
	g.at = now
	changed, err := s.writer.exec(setGeneration, number(nil, []driver.Value{g.generation + 1}))
	if errors.Is(translate(err), storage.ErrFull) {
		return nil // later
	}
	if err == nil && changed != 1 {
		err = errMismatch
	}
	if err != nil {
		return fmt.Errorf("next generation: %w", translate(err))
	}
	// A round that began with this commit has it in the log alone: the generation counts later.
	if err := s.follower.Committed(); err != nil {
		return err
	}
	g.generation++
	s.noteEnd()
	p := s.follower.Position()
	g.round, g.frames, g.commits = p.Round, p.Frames, s.sync.commits.Load()
	return nil
}

// committed notes a transaction that has been committed. When its place is not known, the
// store stops: nothing is synced then, so nothing is answered.
func (s *Store) committed() {
	if err := s.follower.Committed(); err != nil {
		_ = s.fail(err)
		return
	}
	s.noteEnd()
}

// noteEnd tells the syncer where the log ends.
func (s *Store) noteEnd() {
	p := s.follower.Position()
	p.Generation = s.generation.generation
	s.sync.note(p)
}

// stored is the generation that the database has once so many frames of the log's round
// are copied, 0 if that is not known.
func (g *generation) stored(r wal.Round, frames int64) int64 {
	if r == g.round && frames < g.frames {
		return 0
	}
	return g.generation
}

const dbPageAt = 16 // where the head of a database has the size of a page

// pageSize is what the head of a database says, or the size that ours have.
func pageSize(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return pageBytes
	}
	defer f.Close()
	var b [2]byte
	if _, err := f.ReadAt(b[:], dbPageAt); err != nil {
		return pageBytes
	}
	page := int64(binary.BigEndian.Uint16(b[:]))
	if page == 1 {
		return wal.MaxPage
	}
	if page < wal.MinPage || page&(page-1) != 0 {
		return pageBytes
	}
	return page
}
