package crashtest

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// stopTime is how long an orderly stop may take, whatever clients do.
const stopTime = 10 * time.Second

// allowed is how long something may take whose promise is d. A full run measures that. A quick run is beside
// others on a machine that has more to do, and is to find what hangs.
func allowed(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	return d * time.Duration(faultreport.ScaleAlways(t, 3, 1))
}

// terminate stops the broker gracefully, and returns how long that took.
func (p *process) terminate() time.Duration {
	p.t.Helper()
	p.stopped = true
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	late := time.AfterFunc(2*allowed(p.t, stopTime), func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait() // the code says it
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM: %s", code, &p.stderr)
	}
	return time.Since(began)
}

// record makes a fault record of what the checker found.
func (r *report) record(test, fault, promise string) *faultreport.Record {
	f := &faultreport.Record{Test: test, Fault: fault, Promise: promise, Runs: r.Rounds, Broken: r.faults()}
	f.Add("publishes answered", r.Answered)
	f.Add("acks answered", r.Acked)
	f.Add("lost", r.Lost)
	f.Add("reordered", r.Reordered)
	f.Add("acked and delivered again", r.AckUndone)
	f.Add("skipped", r.Skipped)
	f.Add("restart p50 ms", r.RestartP50)
	f.Add("restart max ms", r.RestartMax)
	return f
}

// allowStop leaves out what is right in an orderly stop: requests are refused, and what a
// connection held that has ended goes to one that has not.
func (r *report) allowStop() { r.Refused, r.Twice = 0, 0 }

func TestKills(t *testing.T) {
	rounds := faultreport.Scale(t, 5, 200)
	for _, durability := range []string{"fsync", "relaxed"} {
		t.Run(durability, func(t *testing.T) {
			found := crashes(t, realBroker(t, durability), rounds, durability, nil)
			found.record("kill-"+durability, "SIGKILL 50 to 800 ms into the load, durability "+durability,
				"nothing that was answered is lost, reordered, changed or delivered again after its ack").Save(t)
		})
	}
}

func TestOrderlyStops(t *testing.T) {
	rounds := faultreport.Scale(t, 5, 200)
	p := realBroker(t, "fsync")
	longest := time.Duration(0)
	found := lives(t, p, rounds, "fsync", nil, func(*rand.Rand) { longest = max(longest, p.terminate()) })
	f := found.record("sigterm", "SIGTERM under load", "what has no answer is not stored; the broker stops within 10 s")
	f.Add("stored without an answer", found.Stored-found.Answered)
	f.Add("longest stop ms", longest.Milliseconds())
	f.Broken += found.Stored - found.Answered
	if longest > allowed(t, stopTime) {
		f.Broken++
	}
	if _, err := os.Stat(p.dir + "/clean"); err == nil {
		t.Error("a broker runs and the mark of an orderly stop is still there")
	}
	f.Save(t)
}
