package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	// cutRole, when set, makes the test binary one of the two processes below.
	cutRole = "ZBUS_TEST_POWERCUT_ROLE"
	// cutMachine mounts the file system, starts the writers and cuts the power. Its
	// mounts are in a namespace of its own: however it ends, they are gone.
	cutMachine = "machine"
	// cutWriter writes until the power is cut. The plan is a mode, the first
	// ticket and a load.
	cutWriter     = "writer"
	cutWriterPath = "ZBUS_TEST_POWERCUT_PATH"
	cutWriterPlan = "ZBUS_TEST_POWERCUT_PLAN"

	cutInterval = 50 * time.Millisecond
	// cutSlack is for goroutines that wait for a processor.
	cutSlack = 50 * time.Millisecond
	// cutFileLimit is the size of a database file that is not written on.
	cutFileLimit = 4 << 20
	cutTopics    = 5
)

func TestPowerCut(t *testing.T) {
	switch os.Getenv(cutRole) {
	case cutWriter:
		t.Fatal(writeUntilCut(os.Getenv(cutWriterPath), os.Getenv(cutWriterPlan)))
	case cutMachine:
		cutPower(t)
	default:
		runMachine(t)
	}
}

// runMachine does the test in a process that has its own mounts.
func runMachine(t *testing.T) {
	const skipped = "SKIPPED: no power was cut: %v"
	if os.Geteuid() != 0 {
		t.Skipf(skipped, "mounting needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf(skipped, fmt.Errorf("no loop devices: %w", err))
	}
	for _, tool := range []string{"mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf(skipped, err)
		}
	}
	c := exec.Command(os.Args[0], "-test.run=^TestPowerCut$", "-test.v")
	c.Env = append(os.Environ(), cutRole+"="+cutMachine, "TMPDIR="+t.TempDir())
	runtime.LockOSThread() // the process dies with the thread that started it
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf(skipped, fmt.Errorf("a mount namespace: %w", err))
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf(skipped, string(out))
	}
	t.Logf("\n%s", out)
}

func cutPower(t *testing.T) {
	cycles := 6
	if v := os.Getenv(powerCuts); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q, not a number of cycles", powerCuts, v)
		}
		cycles = n
	}
	m := newMachine(t)
	restarts, fresh := 0, int64(0)
	for _, c := range []struct {
		name, mode string
		wrong      func(f figures) bool
	}{
		{"fsync loses nothing that was answered", "fsync", func(f figures) bool { return f.lost > 0 }},
		// While a sync runs nobody is answered. So the time until the cut says as
		// much about the disk as about the store, and the limit is not on that.
		{"relaxed loses no more than the last interval", "relaxed", func(f figures) bool { return f.span > cutInterval+cutSlack }},
		// Were nothing lost here, the cuts would be harmless and prove nothing.
		{"a store that never syncs is found out", "unsynced", func(f figures) bool { return f.lost == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := m.cycles(t, c.mode, cycles)
			restarts += f.restarts
			fresh += f.fresh
			if c.wrong(f) {
				t.Errorf("%s: %v", c.mode, f)
			}
			t.Logf("%s: %v", c.mode, f)
		})
	}
	if restarts == 0 && cycles > 5 {
		t.Error("no cycle wrote enough for the log to start again")
	}
	if fresh == 0 {
		t.Error("nothing was fresh at a cut")
	}
}

// figures is what some cycles came to.
type figures struct {
	cycles, losses int           // and those of them that lost anything
	answered, lost int           // messages
	span           time.Duration // from an answer for what is lost to the last answer
	age            time.Duration // from an answer for what is lost to the cut
	restarts       int           // of the write-ahead log while writers worked
	fresh          int64         // rows of fresh messages that were found
}

func (f figures) String() string {
	return fmt.Sprintf("%d power cuts, %d messages answered, %d lost in %d of the cuts, answered up to %.1f ms before the last answer and %.1f ms before the cut; the log started again %d times, %d rows were fresh",
		f.cycles, f.answered, f.lost, f.losses, f.span.Seconds()*1e3, f.age.Seconds()*1e3, f.restarts, f.fresh)
}

// add counts one cycle, after which the tickets below stored were there.
func (f *figures) add(answers []answer, stored int64, cut time.Duration) {
	last, before := answers[len(answers)-1].at, f.lost
	f.cycles++
	for _, a := range answers {
		n := shapeOf(a.ticket).rows
		f.answered += n
		if a.ticket >= stored {
			f.lost += n
			f.span = max(f.span, last-a.at)
			f.age = max(f.age, cut-a.at)
		}
	}
	if f.lost > before {
		f.losses++
	}
}

// logRestarts is how often the write-ahead log that was found on the device was
// started again: SQLite counts it in the log's header.
func logRestarts(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var count [4]byte
	if _, err := f.ReadAt(count[:], 12); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(count[:]))
}

// machine is a file system whose power can be cut.
type machine struct {
	image, dir string
	mounted    bool
}

// newMachine makes and mounts a file system, which goes with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{image: filepath.Join(t.TempDir(), "disk"), dir: t.TempDir()}
	if err := os.WriteFile(m.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	truncate(t, m.image, 512<<20)
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", m.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if err := m.mount(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := m.unmount(); err != nil {
			t.Errorf("unmount: %v", err)
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

// cut shuts the file system down: nothing reaches the device any more,
// not even what is in the journal.
func (m *machine) cut() error {
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

// cycles cuts the power again and again. The database lives on from one cycle to
// the next until it is large.
func (m *machine) cycles(t *testing.T, mode string, n int) (f figures) {
	// Within the few milliseconds of a cycle the log is to start again, or not to
	// be copied at all: a copy syncs it, whatever Sync does.
	loads := [...]load{{frames: turnFrames}, {pace: 4 * time.Millisecond}, {frames: hardFrames}, {pace: 4 * time.Millisecond}}
	path := filepath.Join(m.dir, "zbus.db")
	var first int64 // the ticket that the next writer starts with
	for i := range n {
		if i == 0 || size(path) > cutFileLimit {
			first = 0
			newLedger(t, path)
		}
		answers, cut := m.writeAndCut(t, path, plan{mode, first, loads[i%len(loads)]})
		f.restarts += logRestarts(t, path)
		stored, fresh := checkLedger(t, path)
		f.fresh += fresh
		if stored < first {
			t.Fatalf("%d tickets are stored; %d were read from this file before", stored, first)
		}
		f.add(answers, stored, cut)
		first = stored
	}
	return f
}

// writeAndCut lets a writer work, cuts the power, and mounts what is left. It
// returns what the writer was answered before, and when the power went.
func (m *machine) writeAndCut(t *testing.T, path string, p plan) (answers []answer, cut time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := startWriter(ctx, path, p)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.started:
		time.Sleep(20*time.Millisecond + rand.N(380*time.Millisecond))
		cut = sharedClock()
		err = m.cut()
	case <-w.ended:
		err = errors.New("the writer ended by itself")
	}
	_ = w.Process.Kill()
	<-w.ended
	_ = w.Wait() // it was killed, or failed when its disk did
	if err == nil {
		err = m.unmount()
	}
	if err == nil {
		err = m.mount()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &w.output)
	}
	// Pulling a plug takes no time, shutting a file system down does, and a sync
	// that meets it can report success for what is dropped (ext4 in Linux 6.18:
	// one in twelve). What was answered from then on says nothing.
	return slices.DeleteFunc(w.answers, func(a answer) bool { return a.at >= cut }), cut
}

// writer is a process that writes, seen from the machine.
type writer struct {
	*exec.Cmd
	output  bytes.Buffer
	answers []answer      // of the goroutine that listens, until it closes ended
	started chan struct{} // closed after the first answer
	ended   chan struct{} // closed when there will be no more answers
}

func startWriter(ctx context.Context, path string, p plan) (*writer, error) {
	w := &writer{
		Cmd:     exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPowerCut$"),
		started: make(chan struct{}), ended: make(chan struct{}),
	}
	w.Env = append(os.Environ(), cutRole+"="+cutWriter, cutWriterPath+"="+path, cutWriterPlan+"="+p.String())
	w.Stdout, w.Stderr = &w.output, &w.output
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	w.ExtraFiles = []*os.File{out}
	if err := w.Start(); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	go w.listen(in)
	return w, nil
}

// listen collects the answers until the process is gone.
func (w *writer) listen(in *os.File) {
	defer close(w.ended)
	defer in.Close()
	var line [answerSize]byte
	for {
		if _, err := io.ReadFull(in, line[:]); err != nil {
			return
		}
		if len(w.answers) == 0 {
			close(w.started)
		}
		w.answers = append(w.answers, parseAnswer(line))
	}
}
