package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// point is a place in the broker's work: the when-th time that it makes a system call on
// a file of its data directory.
type point struct {
	name string
	call string
	file string // "" for any
	most int    // the highest when
}

var points = []point{
	{"commit-written", "pwrite64", "zbus.db-wal", 400},
	{"commit-synced", "fdatasync", "zbus.db-wal", 200},
	{"log-restarted", "fsync", "zbus.db-wal", 6},
	{"checkpoint-written", "pwrite64", "zbus.db", 200},
	{"checkpoint-synced", "fdatasync", "zbus.db", 4},
	{"checkpoint-finished", "fsync", "zbus.db", 4},
	{"database-grown", "ftruncate", "zbus.db", 4},
	{"database-created", "rename", "", 1},
	{"lock-taken", "flock", "lock", 1},
	{"mark-written", "pwrite64", "zbus.mark", 4},
}

// TestKilledAtAPoint kills the broker at system calls instead of moments.
func TestKilledAtAPoint(t *testing.T) {
	runs := faultreport.Scale(t, 1, 20)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("NOT TESTED: kills at points: %v", err)
	}
	total := faultreport.Record{
		Test: "kill-at-point", Fault: "SIGKILL right after a certain system call: commit, sync, checkpoint, creation, mark",
		Promise: "nothing that was answered is lost, reordered, changed or delivered again after its ack",
	}
	for _, x := range points {
		reached := 0
		t.Run(x.name, func(t *testing.T) {
			for range runs {
				if killAt(t, x, &total) {
					reached++
				}
			}
		})
		total.Add(x.name, fmt.Sprintf("%d of %d reached", reached, runs))
	}
	total.Save(t)
}

// killAt lets the broker die at a point, and reports whether it got there.
func killAt(t *testing.T, x point, total *faultreport.Record) (reached bool) {
	p := realBroker(t, "fsync")
	plain, first := p.command, true
	when := 1 + rand.IntN(x.most)
	p.command = func() *exec.Cmd {
		cmd := plain()
		if !first {
			return cmd
		}
		first = false
		args := []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + x.call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", x.call, when)}
		if x.file != "" {
			args = append(args, "-P", filepath.Join(p.dir, x.file))
		}
		cmd.Args = append(args, cmd.Args...)
		cmd.Path, _ = exec.LookPath("strace")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	if x.name == "database-created" || x.name == "lock-taken" {
		_ = p.command().Run() // it dies before it listens
		reached = true
	}
	found := lives(t, p, 1, "fsync", nil, func(*rand.Rand) {
		dead := make(chan struct{})
		go func() { _ = p.cmd.Wait(); close(dead) }()
		select {
		case <-dead:
			reached = true
		case <-time.After(8 * time.Second): // the load does not lead there
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-dead
		}
	})
	total.Runs++
	total.Broken += found.faults()
	return reached
}
