package crashtest

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

func TestFrozenBroker(t *testing.T) {
	t.Parallel()
	rounds := faultreport.Scale(t, 2, 20)
	most := faultreport.Scale(t, 2, 20) // seconds
	p := realBroker(t, "fsync")
	found := lives(t, p, rounds, "fsync", nil, func(moments *rand.Rand) {
		for range 2 {
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			// How long the broker does not run is what the test is about.
			time.Sleep(time.Second + time.Duration(moments.IntN(most*1000))*time.Millisecond)
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
		}
		p.terminate()
	})
	found.record("sigstop", "SIGSTOP for seconds, twice, then SIGCONT", "nothing is lost, and no ack is undone").Save(t)
}
