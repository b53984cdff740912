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

	"github.com/rushmore/zbus-go/internal/faultdisk"
	"github.com/rushmore/zbus-go/internal/faultreport"
)

// A store writes to a file system of its own in a child process. In the middle of its
// work the power is cut (see faultdisk). Then the device is mounted again, and what is
// stored is compared with what the child was answered.

const (
	// powerCuts, when set, is how many times the power is cut in each mode.
	powerCuts = "ZBUS_POWERCUTS"
	// cutKind tells the machine which file system.
	cutKind = "ZBUS_TEST_POWERCUT_KIND"
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

// All file systems have their turn in fault runs; ext4 in any.
func TestPowerCut(t *testing.T) {
	switch os.Getenv(cutRole) {
	case cutWriter:
		t.Fatal(writeUntilCut(os.Getenv(cutWriterPath), os.Getenv(cutWriterPlan)))
	case cutMachine:
		cutPower(t, os.Getenv(cutKind))
	default:
		for _, kind := range faultdisk.Kinds() {
			t.Run(kind, func(t *testing.T) {
				if kind != "ext4" && os.Getenv(powerCuts) == "" {
					_ = faultreport.Scale(t, 0, 0)
				}
				runMachine(t, kind)
			})
		}
	}
}

// runMachine does the test in a process that has its own mounts.
func runMachine(t *testing.T, kind string) {
	const skipped = "NOT TESTED: power cuts: %v"
	if os.Geteuid() != 0 {
		t.Skipf(skipped, "mounting needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf(skipped, fmt.Errorf("no loop devices: %w", err))
	}
	c := exec.Command(os.Args[0], "-test.run=^TestPowerCut$", "-test.v")
	c.Env = append(os.Environ(), cutRole+"="+cutMachine, cutKind+"="+kind, "TMPDIR="+t.TempDir())
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

// cutCycles is how often the power is cut in each mode.
func cutCycles(t *testing.T) int {
	const few = 4 // once with each load
	v := os.Getenv(powerCuts)
	switch {
	case v != "":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q, not a number of cycles", powerCuts, v)
		}
		return n
	case os.Getenv(faultreport.ScaleVariable) == "":
		return few
	}
	return faultreport.Scale(t, few, 100)
}

func cutPower(t *testing.T, kind string) {
	cycles := cutCycles(t)
	m := newMachine(t, kind)
	restarts, fresh := 0, int64(0)
	for _, c := range []struct {
		name, mode, promise string
		wrong               func(f figures) bool
	}{
		{"fsync loses nothing that was answered", "fsync", "nothing that was answered is lost", func(f figures) bool { return f.lost > 0 }},
		// While a sync runs nobody is answered. So the time until the cut says as
		// much about the disk as about the store, and the limit is not on that.
		{
			"relaxed loses no more than the last interval", "relaxed", "what is lost was answered last, within the sync interval of 50 ms",
			func(f figures) bool { return f.span > cutInterval+cutSlack },
		},
		// Were nothing lost here, the cuts would be harmless and prove nothing.
		{"a store that never syncs is found out", "unsynced", "(control: syncs do nothing) the test sees what is lost", func(f figures) bool { return f.lost == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := m.cycles(t, c.mode, cycles)
			restarts += f.restarts
			fresh += f.fresh
			r := faultreport.Record{Test: "power-cut-" + kind + "-" + c.mode, Fault: "power cut under load, on " + kind, Promise: c.promise, Runs: f.cycles}
			r.Add("messages answered", f.answered)
			r.Add("lost", f.lost)
			r.Add("answered before the last answer, ms", fmt.Sprintf("%.1f", f.span.Seconds()*1e3))
			if c.wrong(f) {
				r.Broken++
			}
			r.Save(t)
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

// machine is a file system whose power can be cut, and what writes to it.
type machine struct{ *faultdisk.Disk }

// newMachine makes and mounts a file system, which goes with the test.
func newMachine(t *testing.T, kind string) *machine {
	t.Helper()
	disk, err := faultdisk.New(kind, t.TempDir())
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	if err != nil {
		t.Skipf("NOT TESTED: power cuts with %s: %v", kind, err)
	}
	return &machine{disk}
}

// cycles cuts the power again and again. The database lives on from one cycle to
// the next until it is large.
func (m *machine) cycles(t *testing.T, mode string, n int) (f figures) {
	// Within the few milliseconds of a cycle the log is to start again, or not to
	// be copied at all: a copy syncs it, whatever Sync does.
	loads := [...]load{{frames: turnFrames}, {pace: 4 * time.Millisecond}, {frames: hardFrames}, {pace: 4 * time.Millisecond}}
	path := filepath.Join(m.Path, "zbus.db")
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
		err = m.Cut()
	case <-w.ended:
		err = errors.New("the writer ended by itself")
	}
	_ = w.Process.Kill()
	<-w.ended
	_ = w.Wait() // it was killed, or failed when its disk did
	if err == nil {
		err = m.Remount()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &w.output)
	}
	// What was answered from then on says nothing: see Cut.
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
