package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/pages"
)

// Salvaged says what was kept of a damaged database, and what was not.
type Salvaged struct {
	Topics  []SalvagedTopic `json:"topics"`
	Kept    int64           `json:"kept"` // messages of all topics
	Lost    int64           `json:"lost"`
	Groups  int64           `json:"groups"`  // kept
	Journal int64           `json:"journal"` // entries kept
	Audit   int64           `json:"audit"`   // entries kept
	// Notes are sentences about what was damaged besides messages.
	Notes []string `json:"notes"`
}

// SalvagedTopic is what was kept of one topic. Messages keep their offsets.
type SalvagedTopic struct {
	Name  string `json:"name"`
	First int64  `json:"first"` // oldest offset that counts
	Next  int64  `json:"next"`  // offset of the next message
	Kept  int64  `json:"kept"`
	Lost  int64  `json:"lost"`
	// FirstLost and LastLost are offsets of messages; without a lost one they are -1.
	FirstLost int64 `json:"firstLost"`
	LastLost  int64 `json:"lastLost"`
	// Ranges are the first of what is lost, Hi excluded.
	Ranges []storage.Range `json:"ranges"`
	Groups int64           `json:"groups"`
}

// maxRanges is how many ranges of lost messages a topic lists.
const maxRanges = 100

// lose notes lost messages.
func (t *SalvagedTopic) lose(lo, hi int64) {
	if lo >= hi {
		return
	}
	if t.Lost == 0 {
		t.FirstLost = lo
	}
	t.Lost += hi - lo
	t.LastLost = hi - 1
	if n := len(t.Ranges); n > 0 && t.Ranges[n-1].Hi == lo {
		t.Ranges[n-1].Hi = hi
	} else if n < maxRanges {
		t.Ranges = append(t.Ranges, storage.Range{Lo: lo, Hi: hi})
	}
}

// Salvage creates a new database of what a damaged one still has: every message whose
// checksum matches, at its offset, and topics, groups, journal and audit trail where they
// can be read. What the log next to the old one has belongs to it. The old files are only
// read, and not by SQLite. No process may have them open for writing.
//
// progress is called now and then with the share that is done, from 0 to 1.
func Salvage(ctx context.Context, from, to string, progress func(float64)) (report Salvaged, err error) {
	f, err := pages.Open(from)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Count() == 0 {
		return report, fmt.Errorf("%s is empty: %w", from, storage.ErrDamaged)
	}
	if _, err := os.Lstat(to); err == nil {
		return report, &os.PathError{Op: "create", Path: to, Err: os.ErrExist}
	}
	o := Options{Path: to}.withDefaults()
	if err := create(ctx, o); err != nil {
		return report, fmt.Errorf("create %s: %w", to, err)
	}
	c, err := open(writerSetup(o))
	if err != nil {
		return report, err
	}
	s := &salvager{f: f, c: c, progress: progress, report: Salvaged{Topics: []SalvagedTopic{}, Notes: []string{}}}
	err = s.run(ctx)
	return s.report, errors.Join(err, c.close())
}

// salvager is one run of Salvage.
type salvager struct {
	f        *pages.File
	c        *conn // of the new database
	progress func(float64)
	report   Salvaged

	tables map[string]*salvagedTable
	topics map[storage.TopicID]*foundTopic
	groups []foundGroup
	// Where messages are.
	refs     map[storage.TopicID][]blockRef
	contents map[int64]spot  // by id
	dropped  []storage.Range // of keys

	sequences map[string]int64 // the last ids, by table

	written int64 // bytes since the last commit
	sums    storage.Summer
	block   block
}

func (s *salvager) run(ctx context.Context) error {
	s.topics, s.refs, s.contents = map[storage.TopicID]*foundTopic{}, map[storage.TopicID][]blockRef{}, map[int64]spot{}
	s.sequences = map[string]int64{}
	if err := s.loadTables(); err != nil {
		return err
	}
	if err := s.c.run("BEGIN"); err != nil {
		return translate(err)
	}
	for _, step := range []func(context.Context) error{s.survey, s.writeTopics, s.writeIDs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.report.Notes = append(s.f.Notes(), s.report.Notes...)
	if err := s.c.run("COMMIT"); err != nil {
		return translate(err)
	}
	// It syncs the log and then the database.
	_, err := checkpoint(s.c, checkpointRestart)
	return translate(err)
}

// commitBytes is how much is written to the new database in one transaction.
const commitBytes = 16 << 20

// commitSome commits when much was written, so that the log stays short.
func (s *salvager) commitSome(ctx context.Context, wrote int64) error {
	if s.written += wrote; s.written < commitBytes {
		return nil
	}
	s.written = 0
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := s.c.run("COMMIT"); err != nil {
		return translate(err)
	}
	if _, err := checkpoint(s.c, checkpointRestart); err != nil {
		return translate(err)
	}
	return translate(s.c.run("BEGIN"))
}

func (s *salvager) note(format string, args ...any) {
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(format, args...))
}
