package broker

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
)

// machine is where a broker runs whose wall clock is set.
type machine struct {
	*rig
	step  atomic.Int64 // nanoseconds; of the wall clock
	slept atomic.Int64 // nanoseconds, which the monotonic clock does not count
	boot  atomic.Value // string
	board *condition.Board
}

// clockHold is how long a jump suspends deletion by age there: an hour, the default, is
// thousands of ticks.
const clockHold = 10 * time.Minute

// onMachine runs a test of a broker whose wall clock is set.
func onMachine(t *testing.T, test func(m *machine)) {
	t.Helper()
	m := &machine{board: condition.New(slog.New(slog.DiscardHandler))}
	m.boot.Store("first")
	opts := Options{Conditions: m.board, DedupWindow: window, ClockHold: clockHold}
	opts.Now = func() time.Time { return time.Now().Add(time.Duration(m.step.Load() + m.slept.Load())) }
	opts.Uptime = func() (string, time.Duration) {
		up := time.Now().UnixNano() - time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC).UnixNano()
		return m.boot.Load().(string), time.Duration(up + m.slept.Load())
	}
	inBubble(t, opts, func(r *rig) {
		m.rig = r
		m.wait(2 * time.Second) // the clock is saved
		test(m)
	})
}

// wait lets time pass, and everything happen that is to happen by then.
func (m *machine) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// doubt is what the broker tells of its clock, or "".
func (m *machine) doubt() string {
	for _, c := range m.board.List() {
		if c.Kind == "clock" {
			return c.Text
		}
	}
	return ""
}

// doubted checks whether the clock is in doubt.
func (m *machine) doubted(want string) {
	m.Helper()
	if got := m.doubt(); (want == "") != (got == "") || !strings.Contains(got, want) {
		m.Errorf("the condition of the clock is %q, want %q", got, want)
	}
}

// left checks how many messages a topic has.
func (m *machine) left(name string, want int64) {
	m.Helper()
	t, err := m.b.findTopic(name)
	if err != nil {
		m.Fatal(err)
	}
	if got := t.Next() - t.First(); got != want {
		m.Errorf("topic %s has %d messages, want %d", name, got, want)
	}
}

// restart ends the broker in one way or the other and starts it again after a while.
func (m *machine) restart(crash bool, after time.Duration) {
	m.Helper()
	if crash {
		m.store.Break(errCrash)
		_ = m.broker.End()
		if err := m.store.Close(); err != nil {
			m.Fatal(err)
		}
	} else {
		m.close()
	}
	time.Sleep(after)
	m.open()
	synctest.Wait()
}
