package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A store writes to an ext4 file system of its own in a child process. In the
// middle of its work the file system is shut down: what is not on the device by
// then never gets there. Then the device is mounted again, as after a power
// loss, and what is stored is compared with what the child was answered.
//
// The device is a loop over a file, which has no cache that forgets. So this
// proves that everything was handed to the device in time and in the right
// order; it can't prove that a real disk honours a flush.

const (
	// powerCuts, when set, is how many times the power is cut in each mode.
	powerCuts = "ZBUS_POWERCUTS"
	// cutWriterPath and cutWriterPlan, when set, make the test binary the process
	// that writes until the power is cut. The plan is a mode, its first ticket and
	// how many frames the log is to hold before.
	cutWriterPath = "ZBUS_TEST_POWERCUT_PATH"
	cutWriterPlan = "ZBUS_TEST_POWERCUT_PLAN"

	cutInterval = 50 * time.Millisecond
	// cutSlack is what a lost answer may be older than the interval: a sync that
	// was running when the power went, and goroutines that waited for a processor.
	cutSlack = 150 * time.Millisecond
	// cutFileLimit is the size of a database file that is not written on.
	cutFileLimit = 16 << 20
	cutTopics    = 3
)

func TestPowerCut(t *testing.T) {
	if path := os.Getenv(cutWriterPath); path != "" {
		t.Fatal(writeUntilCut(path, os.Getenv(cutWriterPlan)))
	}
	cycles := 10
	if v := os.Getenv(powerCuts); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q, not a number of cycles", powerCuts, v)
		}
		cycles = n
	}
	t.Run("fsync loses nothing that was answered", func(t *testing.T) {
		f := cutCycles(t, "fsync", cycles)
		if f.lost > 0 {
			t.Errorf("%d answered messages are lost", f.lost)
		}
	})
	t.Run("relaxed loses no more than the last interval", func(t *testing.T) {
		f := cutCycles(t, "relaxed", cycles)
		if f.oldest > cutInterval+cutSlack {
			t.Errorf("lost what was answered %v before the cut", f.oldest)
		}
	})
	// Were nothing lost here, the cuts would be harmless and prove nothing.
	t.Run("a store that never syncs is found out", func(t *testing.T) {
		f := cutCycles(t, "unsynced", cycles)
		if f.lost == 0 {
			t.Errorf("nothing is lost in %d cycles", cycles)
		}
	})
}

// figures is what some cycles came to.
type figures struct {
	answered, lost int           // messages
	losses         int           // cycles that lost any
	oldest         time.Duration // before the cut: the answer for what is lost
	restarts       int           // of the write-ahead log while a child wrote
}

// cutCycles cuts the power again and again. The database lives on from one
// cycle to the next until it is large.
func cutCycles(t *testing.T, mode string, cycles int) (f figures) {
	logLengths := [...]int{turnFrames, 0, hardFrames} // to begin with
	m := newMachine(t)
	path := filepath.Join(m.dir, "zbus.db")
	var first int64 // the ticket that the next child starts with
	for cycle := range cycles {
		if info, err := os.Stat(path); err != nil || info.Size() > cutFileLimit {
			first = 0
			newLedger(t, path)
		}
		answers, cut := m.writeAndCut(t, path, fmt.Sprintln(mode, first, logLengths[cycle%len(logLengths)]))
		f.restarts += logRestarts(t, path)
		stored := checkLedger(t, path)
		if stored < first {
			t.Fatalf("%d tickets are stored; %d were read from this file before", stored, first)
		}
		lost := 0
		for _, a := range answers {
			n := shapeOf(a.ticket).rows
			f.answered += n
			if a.ticket >= stored {
				lost += n
				f.oldest = max(f.oldest, cut-a.at)
			}
		}
		if f.lost += lost; lost > 0 {
			f.losses++
		}
		first = stored
	}
	t.Logf("%s: %d cycles, %d messages answered, %d lost in %d cycles, oldest loss %.1f ms before the cut; the log started again %d times",
		mode, cycles, f.answered, f.lost, f.losses, f.oldest.Seconds()*1e3, f.restarts)
	if f.restarts == 0 && cycles >= len(logLengths) {
		t.Error("no cycle wrote enough for the log to start again")
	}
	return f
}

// shape is what a ticket holds. It follows from the ticket's number, so that
// parent and child agree on every byte.
type shape struct {
	topic, rows, size int
	alone             bool // submitted when everything before was answered
}

func shapeOf(ticket int64) shape {
	n := int(ticket)
	s := shape{topic: n % cutTopics, rows: 1 + n%3, size: n * 37 % 700, alone: true}
	if n/40%3 != 0 {
		s.rows, s.size, s.alone = 1+n*29%97, 100+n*211%2000, false
	}
	return s
}

// records are a ticket's messages. No two records of a ledger have the same body,
// so that old content in the wrong place is noticed.
func (s shape) records(ticket int64) []storage.Record {
	rs := make([]storage.Record, s.rows)
	for i := range rs {
		random := rand.NewPCG(uint64(ticket), uint64(i))
		body := make([]byte, 0, s.size+8)
		for len(body) < s.size {
			body = binary.LittleEndian.AppendUint64(body, random.Uint64())
		}
		rs[i] = storage.Record{ID: fmt.Sprint(ticket, ".", i), Body: body[:s.size]}
	}
	return rs
}

// newLedger replaces the database by one with empty topics and a group in each.
func newLedger(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s := mustOpen(t, Options{Path: path})
	for i := range cutTopics {
		topic := addTopic(t, s, fmt.Sprint("t", i))
		mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: "g"}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkLedger opens the database, makes sure that it holds the tickets from 0 to
// some number, each one whole and nothing else, and returns that number.
func checkLedger(t *testing.T, path string) (stored int64) {
	t.Helper()
	s := mustOpen(t, Options{Path: path})
	state, err := s.Load(context.Background())
	if err != nil || len(state.Topics) != cutTopics || len(state.Groups) != cutTopics {
		t.Fatalf("state %+v, %v", state, err)
	}
	var next, cursor [cutTopics]int64
	var got []storage.Record
	for ; ; stored++ {
		shape := shapeOf(stored)
		at := next[shape.topic]
		got, err = s.Read(context.Background(), state.Topics[shape.topic].ID, at, storage.Page{Rows: shape.rows}, got[:0])
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		compareRecords(t, stored, at, got, shape.records(stored))
		cursor[shape.topic], next[shape.topic] = at, at+int64(shape.rows)
	}
	for i := range cutTopics {
		if topic := state.Topics[i]; topic.First != 0 || topic.Next != next[i] {
			t.Fatalf("after ticket %d topic %d is [%d, %d), want [0, %d)", stored-1, i, topic.First, topic.Next, next[i])
		}
		if group := state.Groups[i]; group.Topic != state.Topics[i].ID || group.Cursor != cursor[i] {
			t.Fatalf("after ticket %d group %d is at %d, want %d", stored-1, i, group.Cursor, cursor[i])
		}
	}
	err = s.read(context.Background(), func(c *conn) error {
		found, err := c.value("PRAGMA integrity_check(1)")
		if err == nil && found != "ok" {
			err = fmt.Errorf("integrity check: %v", found)
		}
		return err
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func compareRecords(t *testing.T, ticket, at int64, got, want []storage.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("ticket %d: %d of its %d messages are stored", ticket, len(got), len(want))
	}
	for i, r := range got {
		if r.Damaged() || r.Offset != at+int64(i) || r.ID != want[i].ID || !bytes.Equal(r.Body, want[i].Body) {
			t.Fatalf("ticket %d, message %d is at %d with id %s and %d bytes (damaged: %v), want it at %d with id %s and %d bytes",
				ticket, i, r.Offset, r.ID, len(r.Body), r.Damaged(), at+int64(i), want[i].ID, len(want[i].Body))
		}
	}
}

// logRestarts is how often the write-ahead log that was found on the device was
// started again: SQLite counts it in the log's header.
func logRestarts(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var count [4]byte
	if _, err := f.ReadAt(count[:], 12); err == io.EOF {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(count[:]))
}

// answer says when a ticket was answered.
type answer struct {
	ticket int64
	at     time.Duration // by the clock that all processes share
}

func sharedClock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // cannot happen: Linux always has this clock
	}
	return time.Duration(now.Nano())
}

// unsynced is the store that the test has to find out.
type unsynced struct{ *Store }

func (unsynced) Sync() error { return nil }

// writeUntilCut submits tickets until the store fails, and writes to file 3 what
// was answered.
func writeUntilCut(path, plan string) error {
	var mode string
	var first, frames int64
	if _, err := fmt.Sscan(plan, &mode, &first, &frames); err != nil {
		return fmt.Errorf("plan %q: %w", plan, err)
	}
	o := Options{Path: path, SyncInterval: cutInterval}
	if mode == "relaxed" {
		o.Durability = Relaxed
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	state, err := s.Load(context.Background())
	if err != nil {
		return err
	}
	if err := lengthenLog(s, state.Topics[0].ID, frames); err != nil {
		return err
	}
	var store storage.Store = s
	if mode == "unsynced" {
		store = unsynced{s}
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	go submitTickets(w, state, first)
	return w.Run(context.Background())
}

// lengthenLog writes a page to the log again and again, so that the log is due to
// start again soon although the database is small.
func lengthenLog(s *Store, topic storage.TopicID, frames int64) error {
	for i := range frames {
		errs, err := s.Commit([]storage.Op{&storage.AlterTopic{Topic: topic, Updated: i}})
		if err = errors.Join(append(errs, err)...); err != nil {
			return err
		}
	}
	return nil
}

// submitTickets keeps the writer busy until it takes nothing more.
func submitTickets(w *storage.Writer, state storage.State, first int64) {
	report := os.NewFile(3, "report")
	inFlight := make(chan struct{}, 24)
	next := make([]int64, cutTopics)
	for i := range next {
		next[i] = state.Topics[i].Next
	}
	for ticket := first; ; ticket++ {
		shape := shapeOf(ticket)
		answered := make(chan struct{})
		at := next[shape.topic]
		next[shape.topic] += int64(shape.rows)
		inFlight <- struct{}{}
		err := w.Submit(&storage.Ticket{
			Ops: []storage.Op{
				&storage.Append{Topic: state.Topics[shape.topic].ID, Records: shape.records(ticket)},
				&storage.SaveProgress{Group: state.Groups[shape.topic].ID, Place: storage.Progress{Cursor: at, Read: at}},
			},
			Bytes: int64(shape.rows * shape.size),
			Done: func(t *storage.Ticket) {
				if t.Errs[0] == nil && t.Errs[1] == nil {
					line := binary.LittleEndian.AppendUint64(nil, uint64(ticket))
					line = binary.LittleEndian.AppendUint64(line, uint64(sharedClock()))
					if _, err := report.Write(line); err != nil {
						os.Exit(1) // nobody listens any more
					}
				}
				close(answered)
				<-inFlight
			},
		})
		if err != nil {
			return
		}
		if shape.alone {
			<-answered
		}
	}
}

// machine is a file system whose power can be cut.
type machine struct {
	image, dir string
	mounted    bool
}

// newMachine makes and mounts a file system, which goes with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	missing := func(what any) { t.Skipf("SKIPPED: power cuts were not tried: %v", what) }
	if os.Geteuid() != 0 {
		missing("they need root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		missing(fmt.Errorf("no loop devices: %w", err))
	}
	for _, tool := range []string{"mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(err)
		}
	}
	m := &machine{image: filepath.Join(t.TempDir(), "disk"), dir: t.TempDir()}
	if err := os.WriteFile(m.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	truncate(t, m.image, 512<<20)
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", m.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if err := m.mount(); err != nil {
		missing(err)
	}
	t.Cleanup(func() {
		if err := m.unmount(); err != nil {
			t.Errorf("unmount: %v", err)
			_ = unix.Unmount(m.dir, unix.MNT_DETACH)
		}
	})
	return m
}

func (m *machine) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", m.image, m.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	m.mounted = true
	return nil
}

// unmount also gives the loop device back.
func (m *machine) unmount() error {
	if !m.mounted {
		return nil
	}
	err := unix.Unmount(m.dir, 0)
	m.mounted = err != nil
	return err
}

// cutPower shuts the file system down: nothing reaches the device any more,
// not even what is in the journal.
func (m *machine) cutPower() error {
	const (
		shutdown   = 0x8004587d // FS_IOC_SHUTDOWN
		noLogFlush = 2
	)
	dir, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	var inside, outside unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &inside); err != nil {
		return err
	}
	if err := unix.Stat(m.image, &outside); err != nil {
		return err
	}
	if inside.Dev == outside.Dev {
		return fmt.Errorf("%s is not a file system of its own", m.dir) // it is the one we live on
	}
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush)
}

// writeAndCut lets a child write, cuts the power, and mounts what is left. It
// returns what the child was answered and when the power was gone.
func (m *machine) writeAndCut(t *testing.T, path, plan string) (answers []answer, cut time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPowerCut$")
	c.Env = append(os.Environ(), cutWriterPath+"="+path, cutWriterPlan+"="+plan)
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c.ExtraFiles = []*os.File{write}
	err = c.Start()
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var line [16]byte // shorter than what a pipe takes in one piece
		for {
			if _, err := io.ReadFull(read, line[:]); err != nil {
				return
			}
			if answers == nil {
				close(started)
			}
			answers = append(answers, answer{
				int64(binary.LittleEndian.Uint64(line[:])), time.Duration(binary.LittleEndian.Uint64(line[8:])),
			})
		}
	}()
	select {
	case <-started:
		time.Sleep(20*time.Millisecond + rand.N(380*time.Millisecond))
		err = m.cutPower()
		cut = sharedClock()
	case <-done:
		err = fmt.Errorf("the writer ended by itself")
	}
	_ = c.Process.Kill()
	<-done
	_ = c.Wait() // it was killed, or failed when its disk did
	if err == nil {
		err = m.unmount()
	}
	if err == nil {
		err = m.mount()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &output)
	}
	return answers, cut
}
