package crashtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// When a point is reached.
const (
	creating = "at the first start"
	working  = "under load"
	copying  = "under load, with a backup"
	stopping = "at an orderly stop"
	resuming = "at the start after a kill"
	starting = "at the start after an orderly stop"
	trimming = "while retention drops messages"
)

// point is a place in the broker's work: the when-th time that one of its threads makes a
// system call on a file of its data directory.
type point struct {
	name  string
	phase string
	call  string
	file  string
	most  int // the highest when
}

var points = []point{
	{"lock-taken", creating, "flock", "lock", 1},
	{"database-filled", creating, "pwrite64", "zbus.db.new-wal", 20},
	{"database-created", creating, "renameat", "zbus.db.new", 1},
	{"mark-created", creating, "renameat", "zbus.db-mark.new", 1},
	{"reserve-created", creating, "fallocate", "ballast", 1},
	{"log-begun", starting, "pwrite64", "zbus.db-wal", 3},
	{"commit-written", working, "pwrite64", "zbus.db-wal", 60},
	{"commit-synced", working, "fdatasync", "zbus.db-wal", 20},
	{"mark-written", working, "pwrite64", "zbus.db-mark", 8},
	{"checkpoint-written", working, "pwrite64", "zbus.db", 30},
	{"checkpoint-synced", working, "fsync", "zbus.db", 1},
	{"backup-read", copying, "pread64", "zbus.db", 10},
	{"stop-checkpoint-written", stopping, "pwrite64", "zbus.db", 10},
	{"stop-log-removed", stopping, "unlink", "zbus.db-wal", 1},
	{"stop-marked", stopping, "openat", "clean", 1},
	{"start-log-read", resuming, "pread64", "zbus.db-wal", 10},
	{"start-checkpoint-written", resuming, "pwrite64", "zbus.db", 10},
	{"start-mark-written", resuming, "pwrite64", "zbus.db-mark", 1},
}

// pointPatience is how long a broker is given to get to a point.
const pointPatience = 8 * time.Second

// TestKilledAtAPoint kills the broker at system calls instead of moments.
func TestKilledAtAPoint(t *testing.T) {
	runs := faultreport.Scale(t, 1, 50)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("NOT TESTED: kills at points: %v", err)
	}
	total := faultreport.Record{
		Test: "kill-at-point", Fault: "SIGKILL right after a certain system call: of a commit, a sync, a checkpoint, a start, a stop, a backup",
		Promise: "nothing that was answered is lost, reordered, changed or delivered again after its ack",
	}
	for _, x := range points {
		reached, before := 0, total.Runs
		t.Run(x.name, func(t *testing.T) {
			// On a machine with other work to do a broker may not get there in time.
			for n := 0; n < runs || reached == 0 && n < 5; n++ {
				if killAt(t, x, &total) {
					reached++
				}
			}
			// A point that is never reached is one that this test no longer knows.
			if reached == 0 {
				t.Error("in no run did the broker get there")
			}
		})
		total.Add(x.name, fmt.Sprintf("%d of %d", reached, total.Runs-before))
	}
	total.Save(t)
}

// killAt lets the broker die at a point, and reports whether it got there.
func killAt(t *testing.T, x point, total *faultreport.Record) (reached bool) {
	p := realBroker(t, "fsync")
	if x.phase == creating {
		reached = p.dieAt(x)
	}
	found := lives(t, p, 1, "fsync", nil, func(*rand.Rand) {
		switch x.phase {
		case creating:
			p.kill()
		case resuming:
			p.kill()
			reached = p.dieAt(x)
		case starting:
			p.terminate()
			reached = p.dieAt(x)
		default:
			reached = p.attachAt(x, func() { p.lead(x) })
		}
	})
	if x.phase == stopping || x.phase == starting {
		found.allowStop()
	}
	if found.faults() > 0 {
		t.Log(found)
	}
	total.Runs++
	total.Broken += found.faults()
	return reached
}

// straceArgs have strace kill at the point.
func (x *point) straceArgs(p *process) []string {
	when := 1 + rand.IntN(x.most)
	p.t.Logf("%s: %s %d of %s", x.name, x.call, when, x.file)
	return []string{
		"-f", "-o", "/dev/null", "-e", "trace=" + x.call, "-P", filepath.Join(p.dir, x.file),
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", x.call, when),
	}
}

// dieAt starts a broker that dies at the point, and reports whether it did.
func (p *process) dieAt(x point) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), pointPatience)
	defer cancel()
	plain := p.command()
	cmd := exec.CommandContext(ctx, "strace", append(x.straceArgs(p), plain.Args...)...)
	cmd.Env = plain.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // strace alone would leave the broker
	err := cmd.Run()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		p.t.Fatalf("the broker ended by itself: %v", err)
	}
	return ctx.Err() == nil
}

// attachAt has the broker that runs die at the point, to which lead leads it, and reports
// whether it did.
func (p *process) attachAt(x point, lead func()) bool {
	p.t.Helper()
	pid := p.cmd.Process.Pid
	cmd := exec.Command("strace", slices.Concat(x.straceArgs(p), []string{"-p", strconv.Itoa(pid)})...)
	words, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	lines := bufio.NewReader(words)
	for text := ""; !strings.Contains(text, "attached"); {
		if text, err = lines.ReadString('\n'); err != nil {
			p.t.Fatalf("strace: %v: %s", err, text)
		}
	}
	var leading sync.WaitGroup
	leading.Go(lead)
	late := time.AfterFunc(pointPatience, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // it was killed, by whom does not matter
	reached := late.Stop()
	_, _ = io.Copy(io.Discard, lines)
	_ = cmd.Wait() // strace ends as its broker did
	leading.Wait()
	return reached && !p.cmd.ProcessState.Success()
}

// lead makes the broker do what leads to the point.
func (p *process) lead(x point) {
	switch x.phase {
	case stopping:
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			p.t.Error(err)
		}
	case copying:
		if resp, err := http.Get("http://" + p.address + "/api/v1/backup"); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // as far as it gets
			_ = resp.Body.Close()
		}
	}
}
