package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// openStore opens a store with a topic and some messages.
func openStore(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), Database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	records := make([]storage.Record, 20)
	for i := range records {
		records[i] = storage.Record{ID: "id", Body: []byte(strings.Repeat("a body ", 100))}
	}
	errs, err := s.Commit([]storage.Op{
		&storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}, &storage.Append{Topic: 1, Records: records},
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	return s
}

func imageOf(s *sqlite.Store) func() (Image, error) {
	return func() (Image, error) { return s.Image() }
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestSaveNeverReplacesAFileAndLeavesNothingBehind(t *testing.T) {
	dir, s := t.TempDir(), openStore(t)
	target := filepath.Join(dir, "a.db")
	report, err := Save(t.Context(), target, imageOf(s), nil)
	if err != nil || !report.Sound() || report.Messages != 20 {
		t.Fatalf("%+v %v", report, err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	never := func() (Image, error) { t.Error("an image has been begun"); return nil, io.EOF }
	if _, err := Save(t.Context(), target, never, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("once more: %v", err)
	}
	held, err := create(filepath.Join(dir, "b.db") + partial)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Save(t.Context(), filepath.Join(dir, "b.db"), never, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("while another one writes it: %v", err)
	}
	_ = held.Close() // as if its process had been killed
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Save(ctx, filepath.Join(dir, "b.db"), imageOf(s), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"a.db"}) {
		t.Errorf("there is %v", got)
	}
}

// short is an image that has less than it says.
type short struct{ Image }

func (s short) Size() int64 { return s.Image.Size() + 1 }

func TestIncompleteImageIsNoBackup(t *testing.T) {
	dir, s := t.TempDir(), openStore(t)
	_, err := Save(t.Context(), filepath.Join(dir, "a.db"), func() (Image, error) {
		im, err := s.Image()
		return short{im}, err
	}, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(names(t, dir)) > 0 {
		t.Errorf("%v, there is %v", err, names(t, dir))
	}
}

func TestRestoreLeavesWhatIsThere(t *testing.T) {
	s := openStore(t)
	file := filepath.Join(t.TempDir(), "a.db")
	if _, err := Save(t.Context(), file, imageOf(s), nil); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{Database, Database + "-wal"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, left), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), file, dir); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", left, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{left}) {
			t.Errorf("%s: there is %v", left, got)
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	held, err := datadir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), file, dir); !errors.Is(err, datadir.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	_ = held.Close()
	damaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged[strings.Index(string(damaged), "a body a body")] ^= 1
	bad := filepath.Join(t.TempDir(), "bad.db")
	if err := os.WriteFile(bad, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), bad, dir); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if got := names(t, dir); slices.Contains(got, Database) || len(got) != 1 {
		t.Errorf("there is %v", got)
	}
	if _, err := Restore(t.Context(), file, dir); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// scheduled runs backups until the test ends.
func scheduled(t *testing.T, o Options) *Backups {
	t.Helper()
	o.Note = func(context.Context, storage.Actor, string, string) error { return nil }
	o.Log = slog.New(slog.DiscardHandler)
	if o.Room == nil {
		o.Room = func(string) int64 { return -1 }
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestScheduleKeepsTheNewest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	b := scheduled(t, Options{Begin: imageOf(openStore(t)), Every: 5 * time.Millisecond, Keep: 2, Dir: dir})
	eventually(t, "five backups", func() bool { return b.State().Taken >= 5 })
	complete, err := series{dir}.members()
	if err != nil || len(complete) < 2 || len(complete) > 3 || complete[0].number < 3 {
		t.Fatalf("%+v %v", complete, err)
	}
	if last := b.State().Last; last.Checked.IsZero() || last.Findings != 0 || last.Bytes == 0 || filepath.Dir(last.Target) != dir {
		t.Errorf("%+v", last)
	}
}

// Members are files in a directory of the operator's, who may remove them at any time.
func TestMembersMayBeRemovedWhileTheyAreListed(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for n := range 50 {
				path := filepath.Join(dir, fmt.Sprintf("zbus-%06d-20200101T000000Z.db", n))
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Error(err)
					return
				}
				_ = os.Remove(path) // prune may have been first
			}
		}
	}()
	for range 2000 {
		if _, err := (series{dir}).members(); err != nil {
			t.Error(err)
			break
		}
		if err := (series{dir}).prune(1); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	<-done
}

func TestScheduleGoesByTheAgeOfTheLastOne(t *testing.T) {
	dir := t.TempDir()
	newest := filepath.Join(dir, "zbus-000012-20200101T000000Z.db")
	for name, age := range map[string]time.Duration{"zbus-000011-20260101T000000Z.db": 0, filepath.Base(newest): time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(dir, "zbus-000013-20200101T000000Z.db"+partial)
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func() (Image, error) { t.Error("a backup has been begun"); return nil, io.EOF }
	b := scheduled(t, Options{Begin: begin, Every: 3 * time.Hour, Keep: 2, Dir: dir})
	eventually(t, "the next one is due", func() bool { return !b.State().Next.IsZero() })
	s := b.State()
	if wait := time.Until(s.Next); wait < 110*time.Minute || wait > 2*time.Hour || s.Last.Target != newest {
		t.Errorf("the next one is in %v, the last is %+v", wait, s.Last)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was not completed: %v", err)
	}
}

func TestScheduleThatFailsIsShownUntilOneIsComplete(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	var room atomic.Int64
	b := scheduled(t, Options{
		Begin: imageOf(openStore(t)), Every: 20 * time.Millisecond, Keep: 1, Dir: t.TempDir(), Conditions: board,
		Room: func(string) int64 { return room.Load() },
	})
	eventually(t, "it fails", func() bool { return len(board.List()) == 1 })
	c := board.List()[0]
	if c.Kind != conditionKind || c.Severity != condition.Warning || c.NotReady || !strings.Contains(c.Text, "can be used") {
		t.Errorf("%+v", c)
	}
	if s := b.State(); s.Missed == 0 || s.Failed.Text == "" {
		t.Errorf("%+v", s)
	}
	room.Store(1 << 40)
	eventually(t, "it is over", func() bool { return len(board.List()) == 0 })
	if s := b.State(); s.Taken == 0 {
		t.Errorf("%+v", s)
	}
}

func TestOlderBackupsStayWhenTheNewestHasFindings(t *testing.T) {
	dir, board := t.TempDir(), condition.New(slog.New(slog.DiscardHandler))
	good := openStore(t)
	file := filepath.Join(t.TempDir(), "a.db")
	if _, err := Save(t.Context(), file, imageOf(good), nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), "a body a body")
	data[at] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged atomic.Bool
	b := scheduled(t, Options{
		Every: 5 * time.Millisecond, Keep: 1, Dir: dir, Conditions: board,
		Begin: func() (Image, error) {
			if damaged.Load() {
				return sqlite.OpenImage(file)
			}
			return good.Image()
		},
	})
	eventually(t, "a sound one", func() bool { return b.State().Taken >= 1 })
	damaged.Store(true)
	eventually(t, "two with findings", func() bool { s := b.State(); return s.Last.Findings > 0 && len(names(t, dir)) >= 3 })
	if c := board.List(); len(c) != 1 || !strings.Contains(c[0].Text, "findings") {
		t.Errorf("%+v", c)
	}
}

// blank is an image of nothing.
type blank struct{}

func (blank) Size() int64                           { return 0 }
func (blank) Copy(context.Context, io.Writer) error { return nil }
func (blank) Close() error                          { return nil }

// Who has got all of a backup may ask for another one, although the first is not in the audit
// trail yet.
func TestOneBackupFollowsTheOther(t *testing.T) {
	noting, noted := make(chan struct{}), make(chan struct{})
	first := true
	b, err := New(Options{
		Begin: func() (Image, error) { return blank{}, nil },
		Note: func(context.Context, storage.Actor, string, string) error {
			if first {
				first = false
				close(noting)
				<-noted
			}
			return nil
		},
		Dir: t.TempDir(), Keep: 1, Room: func(string) int64 { return -1 }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.Take(storage.Actor{Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Take(storage.Actor{Name: "bob"}); err == nil {
		t.Error("two are taken at a time")
	}
	over := make(chan error, 1)
	go func() { over <- one.Copy(t.Context(), io.Discard) }()
	<-noting
	two, err := b.Take(storage.Actor{Name: "bob"})
	close(noted)
	if err != nil {
		t.Fatalf("another one: %v", err)
	}
	if err := errors.Join(<-over, two.Copy(t.Context(), io.Discard)); err != nil {
		t.Error(err)
	}
}
