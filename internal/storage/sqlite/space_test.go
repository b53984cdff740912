package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// onDisk are the options of a store in a directory, as the broker has them.
func onDisk(dir string) Options {
	return Options{Path: filepath.Join(dir, "zbus.db"), Reserve: filepath.Join(dir, "ballast")}
}

// leave fills a file system until no more than n bytes are left, and returns the file
// that does.
func leave(t *testing.T, dir string, n int64) string {
	t.Helper()
	path := filepath.Join(dir, "other")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		free, _, err := freeSpace(f)
		if err != nil {
			t.Fatal(err)
		}
		if free <= n {
			return path
		}
		if _, err := f.Write(make([]byte, min(1<<20, free-n))); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// look has the store look how much room there is.
func look(t *testing.T, s *Store) storage.Space {
	t.Helper()
	s.guard.checked = time.Time{}
	mustMaintain(t, s)
	return s.Space()
}

// refusesMessages tries to store one.
func refusesMessages(t *testing.T, s *Store, topic storage.TopicID) {
	t.Helper()
	errs, err := s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(1, 100)}})
	if err != nil || !errors.Is(errs[0], storage.ErrFull) {
		t.Fatalf("a message on a full disk: %v, %v; want it to be refused alone", errs, err)
	}
}

// worker does everything but storing messages, again and again.
type worker struct {
	s     *Store
	topic storage.TopicID
	group *storage.Group
	first int64
}

func newWorker(t *testing.T, s *Store, topic storage.TopicID) *worker {
	w := &worker{s: s, topic: topic, group: &storage.Group{Topic: topic, Name: "g"}}
	mustCommit(t, s, &storage.CreateGroup{Group: w.group})
	return w
}

func (w *worker) work(t *testing.T, rounds int) {
	t.Helper()
	for range rounds {
		w.first++
		mustCommit(t, w.s,
			&storage.SaveProgress{Group: w.group.ID, Epoch: w.group.Epoch, Position: storage.At(w.first)},
			&storage.Relocate{
				Group: w.group.ID, Epoch: w.group.Epoch, Position: storage.At(w.first - 1),
				Entry: &storage.JournalEntry{Topic: w.topic, Group: w.group.ID, Kind: "relocate", To: w.first - 1},
			},
			&storage.AlterTopic{Topic: w.topic, Retention: storage.Retention{MaxCount: w.first}},
		)
		w.group.Epoch++
		mustMaintain(t, w.s)
	}
}

// save stores places alone.
func (w *worker) save(t *testing.T, rounds int) {
	t.Helper()
	for range rounds {
		w.first++
		mustCommit(t, w.s, &storage.SaveProgress{Group: w.group.ID, Epoch: w.group.Epoch, Position: storage.At(w.first)})
		mustMaintain(t, w.s)
	}
}

// empty removes all messages of the topic, as the broker does it.
func (w *worker) empty(t *testing.T) {
	t.Helper()
	m := w.s.catalog.Topics[w.topic].Marks
	mustCommit(t, w.s, &storage.Trim{Topic: w.topic, First: m.Next, Bytes: m.Total - m.Dropped})
	for {
		op := &storage.Purge{Limit: 1024}
		mustCommit(t, w.s, op)
		mustMaintain(t, w.s)
		if op.Deleted < op.Limit {
			return
		}
	}
}

func TestBelowTheFloorOnlyMessagesAndFiguresAreRefused(t *testing.T) {
	dir := smallDisk(t, "64m")
	o := onDisk(dir)
	board := condition.New(slog.New(slog.DiscardHandler))
	o.Conditions = board
	s := mustOpen(t, o)
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(2000, 100)})
	w := newWorker(t, s, topic)
	if sp := s.Space(); sp.Stopped || sp.Floor != 64<<20/10 || sp.Reserve != 2<<20 {
		t.Fatalf("on an empty disk: %+v", sp)
	}
	if c := board.List(); len(c) != 0 {
		t.Errorf("on an empty disk: %+v", c)
	}
	other := leave(t, dir, s.Space().Floor*3/2)
	look(t, s)
	if c := board.List(); len(c) != 1 || c[0].Kind != "disk" || c[0].Severity != condition.Warning || c[0].NotReady {
		t.Errorf("above the floor: %+v", c)
	}
	leave(t, dir, s.Space().Floor-1)
	if sp := look(t, s); !sp.Stopped || sp.Reserve == 0 {
		t.Fatalf("just below the floor: %+v", sp)
	}
	refusesMessages(t, s, topic)
	history := storage.Series{Topic: topic}
	if errs, err := s.Commit([]storage.Op{&storage.PutHistory{Series: history, Data: []byte("x")}, &storage.ForgetHistory{Series: history}}); err != nil || !errors.Is(errs[0], storage.ErrFull) || errs[1] != nil {
		t.Errorf("history, and less of it: %v, %v; want the first one alone refused", errs, err)
	}
	w.work(t, 10)
	if sp := look(t, s); sp.Reserve == 0 {
		t.Error("the reserve was given up although there was room")
	}
	// A transaction that would store messages as well is refused as a whole.
	errs, err := s.Commit([]storage.Op{&storage.Atomic{Ops: []storage.Op{
		&storage.Append{Topic: topic, Records: messages(1, 100)},
		&storage.SaveProgress{Group: w.group.ID, Epoch: w.group.Epoch, Position: storage.At(1999)},
	}}})
	if err != nil || !errors.Is(errs[0], storage.ErrFull) {
		t.Fatalf("%v, %v", errs, err)
	}
	checkCatalog(t, s)
	if c := board.List(); len(c) != 1 || c[0].Kind != "disk" || c[0].Severity != condition.Critical || !c[0].NotReady {
		t.Errorf("below the floor: %+v", c)
	} else if !strings.Contains(c[0].Text, "6 MiB left") || !strings.Contains(c[0].Text, " 7 MiB are needed") {
		t.Errorf("just below the floor: %s; want less to be left than is needed", c[0].Text)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	resumes(t, s)
	if c := board.List(); len(c) != 0 {
		t.Errorf("with room again: %+v", c)
	}
}

// A disk that others have filled to the last byte.
func TestFullDiskTakesAnythingButMessagesFromTheReserve(t *testing.T) {
	for _, floor := range []int64{0, 1} { // found out by looking, and by a write that fails
		t.Run(fmt.Sprint("floor=", floor), func(t *testing.T) {
			dir := smallDisk(t, "64m")
			o := onDisk(dir)
			o.Floor = floor
			s := mustOpen(t, o)
			topic := addTopic(t, s, "t")
			for range 100 {
				mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(100, 100)})
				mustMaintain(t, s)
			}
			w := newWorker(t, s, topic)
			other := leave(t, dir, 0)
			if floor == 0 {
				look(t, s)
			}
			errs, err := s.Commit([]storage.Op{
				&storage.Append{Topic: topic, Records: messages(2000, 100)},
				&storage.SaveProgress{Group: w.group.ID, Position: storage.At(1)},
			})
			if err != nil || !errors.Is(errs[0], storage.ErrFull) || errs[1] != nil {
				t.Fatalf("messages and progress: %v, %v", errs, err)
			}
			w.work(t, 500)
			w.save(t, 3000) // several times what the log holds
			refusesMessages(t, s, topic)
			if sp := look(t, s); !sp.Stopped {
				t.Fatalf("%+v", sp)
			}
			if n := len(readAll(t, s, topic)); n != 10000 {
				t.Errorf("%d messages, want 10000", n)
			}
			leave(t, dir, 0) // what is left of the reserve is taken, too
			w.save(t, 3000)
			w.empty(t)
			checkCatalog(t, s)
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			resumes(t, s)
			if sp := s.Space(); sp.Reserve != 2<<20 {
				t.Errorf("messages are taken without a reserve: %+v", sp)
			}
			mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1, 100)})
		})
	}
}

// Of a reserve that somebody has taken before it could be used there is nothing.
func TestFullDiskWithoutAReserveRefusesUntilThereIsRoom(t *testing.T) {
	dir := smallDisk(t, "64m")
	o := onDisk(dir)
	o.Reserve, o.Floor = "", 1
	s := mustOpen(t, o)
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1000, 100)})
	w := newWorker(t, s, topic)
	other := leave(t, dir, 0)
	refused := false
	for i := int64(1); i < 5000 && !refused; i++ {
		_, err := s.Commit([]storage.Op{&storage.Audit{Entry: &storage.AuditEntry{Action: "x", Detail: string(make([]byte, 3000))}}})
		if refused = errors.Is(err, storage.ErrFull); err != nil && !refused {
			t.Fatal(err)
		}
		mustMaintain(t, s)
	}
	if !refused {
		t.Fatal("a full disk took everything")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	resumes(t, s)
	w.work(t, 10)
	checkCatalog(t, s)
}

// fillWithMessages stores messages until they are refused.
func fillWithMessages(t *testing.T, s *Store, topic storage.TopicID) (stored int) {
	t.Helper()
	for {
		errs, err := s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(100, 1000)}})
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(errs[0], storage.ErrFull) {
			return stored
		}
		stored += 100
		mustMaintain(t, s)
	}
}

func TestRoomThatRemovalLeavesInTheFileCounts(t *testing.T) {
	dir := smallDisk(t, "32m")
	s := mustOpen(t, onDisk(dir))
	topic := addTopic(t, s, "t")
	w := newWorker(t, s, topic)
	before := 0
	for range 3 {
		stored := fillWithMessages(t, s, topic)
		if stored < before*9/10 || stored < 15_000 {
			t.Errorf("%d messages fit where %d did before", stored, before)
		}
		before = stored
		if sp := s.Space(); sp.Reserve == 0 {
			t.Errorf("the disk was filled to the end: %+v", sp)
		}
		w.empty(t)
		resumes(t, s)
	}
}

func TestStoreOpensOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "24m")
	s := mustOpen(t, onDisk(dir))
	topic := addTopic(t, s, "t")
	stored := fillWithMessages(t, s, topic)
	w := newWorker(t, s, topic)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := leave(t, dir, 0)
	s = mustOpen(t, s.options)
	if sp := s.Space(); !sp.Stopped || sp.Reserve != 0 {
		t.Fatalf("%+v", sp)
	}
	w.s = s
	w.work(t, 100)
	if n := len(readAll(t, s, topic)); n != stored {
		t.Errorf("%d messages, want %d", n, stored)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	w.empty(t)
	resumes(t, s)
	if sp := s.Space(); sp.Reserve == 0 {
		t.Fatalf("%+v", sp)
	}
}

func TestMessageThatIsTooLargeForTheDiskStopsNoOthers(t *testing.T) {
	s := mustOpen(t, onDisk(smallDisk(t, "64m")))
	topic := addTopic(t, s, "t")
	errs, err := s.Commit([]storage.Op{
		&storage.Append{Topic: topic, Records: messages(1, 60<<20)},
		&storage.Append{Topic: topic, Records: messages(1, 100)},
	})
	if err != nil || !errors.Is(errs[0], storage.ErrFull) || errs[1] != nil {
		t.Fatalf("%v, %v", errs, err)
	}
	if sp := look(t, s); sp.Stopped || sp.Reserve == 0 {
		t.Fatalf("%+v", sp)
	}
}

// Not every file system can allocate.
func TestReserveIsFilledWhereNothingCanBeAllocated(t *testing.T) {
	dir := loopDisk(t, 16<<20, "-O", "^extent,^64bit,^has_journal")
	r, err := openReserve(filepath.Join(dir, "ballast"), 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.close() }()
	free := func() int64 {
		n, _, err := freeSpace(r.file)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := vfs.Allocate(r.file, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("NOT TESTED: this file system allocates: %v", err)
	}
	before := free()
	if err := r.fill(); err != nil || !r.whole() {
		t.Fatal(err, r)
	}
	if took := before - free(); took < 2<<20 {
		t.Errorf("the reserve holds %d bytes", took)
	}
	if err := r.giveUp(); err != nil {
		t.Fatal(err)
	}
	if n := free(); n < before {
		t.Errorf("%d bytes are free, %d were", n, before)
	}
}

// loopDisk is a directory on an ext4 of its own.
func loopDisk(t *testing.T, size int64, options ...string) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{append(append([]string{"mkfs.ext4", "-q", "-F"}, options...), image), {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("NOT TESTED: %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}
