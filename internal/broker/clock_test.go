package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

var hour = storage.Retention{MaxAge: time.Hour.Milliseconds()}

func TestAJumpOfTheClockDeletesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		before time.Duration // that the clock was wrong by when the messages came
		step   time.Duration
		doubt  string
	}{
		{"two days forward", 0, 48 * time.Hour, "jumped 48h0m0s forward"},
		{"thirty days forward", 0, 30 * 24 * time.Hour, "jumped 720h0m0s forward"},
		{"to 2038", 0, 38 * 365 * 24 * time.Hour, "forward"},
		{"back from another century", -100 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour, "forward"},
		{"just over an hour", 0, time.Hour + time.Second, "jumped 1h0m1s forward"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				m.step.Add(int64(c.before))
				m.wait(2 * time.Second)
				if _, err := m.b.confirmClock(context.Background(), named("ann")); err != nil {
					m.Fatal(err)
				}
				topic := m.topic("log", 0, hour)
				memory := m.topic("memory", storage.KindMemory, hour)
				m.mustPublish(topic, make([]string, 500)...)
				m.mustPublish(memory, make([]string, 500)...)
				m.wait(time.Minute)
				m.doubted("")
				m.step.Add(int64(c.step))
				m.wait(time.Minute)
				m.left("log", 500)
				m.left("memory", 500)
				m.doubted(c.doubt)
				m.restart(true, time.Minute)
				m.wait(clockHold - 3*time.Minute)
				m.left("log", 500)
				m.doubted(c.doubt)
				m.wait(3 * time.Minute)
				m.left("log", 0)
				m.doubted("")
			})
		})
	}
}

func TestAnotherJumpSuspendsDeletionAnew(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.opts.ClockHold = 0 // the default
		m.restart(false, time.Second)
		m.mustPublish(m.topic("log", 0, hour), make([]string, 10)...)
		m.step.Add(int64(48 * time.Hour))
		m.wait(DefaultClockHold - time.Minute)
		m.left("log", 10)
		m.step.Add(-int64(24 * time.Hour))
		m.wait(DefaultClockHold - time.Minute)
		m.left("log", 10)
		m.doubted("jumped 24h0m0s forward")
		m.wait(2 * time.Minute)
		m.left("log", 0)
	})
}

func TestWhoConfirmsTheClockHasDeletionContinue(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.mustPublish(m.topic("log", 0, hour), make([]string, 10)...)
		m.step.Add(int64(48 * time.Hour))
		m.wait(2 * time.Second)
		if info := m.b.Clock(); info.Suspended == 0 || info.Jump < (47*time.Hour).Milliseconds() {
			m.Errorf("the clock stands at %+v", info)
		}
		if was, err := m.b.confirmClock(context.Background(), named("ann")); err != nil || !was {
			m.Fatal(was, err)
		}
		m.doubted("")
		m.wait(2 * time.Second)
		m.left("log", 0)
		if was, err := m.b.confirmClock(context.Background(), named("bob")); err != nil || was {
			m.Errorf("confirmed again: %t, %v", was, err)
		}
		trail, err := m.b.auditEntries(context.Background(), 0, 10)
		if err != nil || len(trail) == 0 || trail[0].Action != "clock.confirm" || trail[0].Actor.Name != "ann" || trail[0].Detail != "the clock jumped 48h0m0s forward" {
			m.Errorf("audit: %+v, %v", trail, err)
		}
		m.restart(true, time.Second)
		m.doubted("")
		if info := m.b.Clock(); info.Suspended != 0 {
			m.Errorf("after a restart the clock stands at %+v", info)
		}
	})
}

// A clock may drift and be put right in small steps; many of them at a time are a jump.
func TestSmallStepsOfTheClockAreAJumpTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := time.Duration(0)
		c := &clock{hold: DefaultClockHold.Milliseconds(), wall: func() time.Time { return time.Now().Add(step) }}
		c.open(storage.Clock{}, 0)
		for minute := range 40 * 24 * 60 {
			if step += time.Minute / 3000; minute%4000 == 0 {
				step += time.Minute
			}
			time.Sleep(time.Minute)
			if _, plausible := c.look(); !plausible {
				t.Fatalf("drift is a jump after %d minutes", minute)
			}
		}
		for i := range 5 {
			if _, plausible := c.look(); !plausible {
				t.Fatalf("a jump after %d minutes more", i)
			}
			step += time.Minute + time.Second
			time.Sleep(time.Second)
		}
		if _, plausible := c.look(); plausible || c.state.Jump < clockJump {
			t.Errorf("no jump: %+v", c.state)
		}
	})
}

func TestAClockSetBackIsToldAndDeletesNothing(t *testing.T) {
	for _, crash := range []bool{false, true} {
		onMachine(t, func(m *machine) {
			m.mustPublish(m.topic("log", 0, hour), make([]string, 10)...)
			m.step.Add(-int64(time.Hour))
			m.restart(crash, time.Minute)
			m.doubted("jumped 1h0m0s back")
			m.step.Add(int64(time.Hour)) // it is put right
			m.wait(2 * time.Second)
			m.doubted("jumped 1h0m0s forward")
			m.left("log", 10)
		})
	}
}

// When a machine was off its clock can't be compared with anything.
func TestAMachineThatWasOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		off   time.Duration
		doubt string
		until time.Duration // nothing is deleted
	}{
		{"for a moment", time.Minute, "", 0},
		{"for two days", 48 * time.Hour, "", clockSettle * time.Millisecond},
		{"for a long time, or its clock is wrong", 31 * 24 * time.Hour, "jumped 744h", clockHold},
	} {
		t.Run(c.name, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				m.mustPublish(m.topic("log", 0, storage.Retention{MaxAge: 30_000}), make([]string, 10)...)
				m.boot.Store("second")
				m.restart(false, c.off)
				m.doubted(c.doubt)
				if c.until > 0 {
					m.wait(c.until - 2*time.Second)
					m.left("log", 10)
				}
				m.wait(4 * time.Second)
				m.left("log", 0)
				m.doubted("")
			})
		})
	}
}

// What was delayed comes after its delay, whatever the clock is set to in between.
func TestADelayDoesNotDependOnTheWallClock(t *testing.T) {
	for _, c := range []struct {
		name          string
		step          time.Duration
		boot          string
		earliest, off time.Duration // from the restart, which takes off
	}{
		{"nobody sets it", 0, "first", 20 * time.Second, 30 * time.Second},
		{"an hour back", -time.Hour, "first", 20 * time.Second, 30 * time.Second},
		{"an hour forward", time.Hour, "first", 20 * time.Second, 30 * time.Second},
		{"ten years back", -10 * 365 * 24 * time.Hour, "first", 20 * time.Second, 30 * time.Second},
		{"the machine started again", 0, "second", 20 * time.Second, 30 * time.Second},
		{"the machine started again an hour back", -time.Hour, "second", 50 * time.Second, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				topic := m.topic("orders", 0, storage.Retention{})
				g := m.group(GroupSpec{Topic: "orders", Settle: ptr(storage.SettleExplicit)})
				m.mustPublish(topic, "a")
				got := m.subscribe(g, "one").take(1)
				if err := g.nackNow(0, got[0].Handle(0), 50_000); err != nil {
					m.Fatal(err)
				}
				m.step.Add(int64(c.step))
				m.boot.Store(c.boot)
				m.restart(false, c.off)
				g, err := m.b.System().Group("orders", "")
				if err != nil {
					m.Fatal(err)
				}
				s := m.subscribe(g, "two")
				if early := s.take(1); len(early) > 0 {
					m.Fatal("it came at once")
				}
				m.wait(c.earliest - time.Second)
				if early := s.drain(); len(early) > 0 {
					m.Fatal("it came early")
				}
				m.wait(2 * time.Second)
				if list, _ := offsets(s.drain()); len(list) != 1 {
					m.Error("it did not come in time")
				}
			})
		})
	}
}

func TestADelayCountsTheTimeThatTheMachineSleeps(t *testing.T) {
	onMachine(t, func(m *machine) {
		topic := m.topic("orders", 0, storage.Retention{})
		g := m.group(GroupSpec{Topic: "orders", Settle: ptr(storage.SettleExplicit)})
		m.mustPublish(topic, "a")
		s := m.subscribe(g, "one")
		got := s.take(2)
		if err := g.nackNow(0, got[0].Handle(0), time.Hour.Milliseconds()); err != nil {
			m.Fatal(err)
		}
		m.slept.Add(int64(2 * time.Hour))
		m.wait(time.Hour) // the pump sleeps that long
		if list, _ := offsets(s.drain()); len(list) != 1 {
			m.Error("it did not come after the machine had slept")
		}
		m.doubted("")
	})
}

// A clock that was ahead for a moment leaves stamps that are in the future.
func TestMessagesWithStampsOfTheFutureGrowOld(t *testing.T) {
	onMachine(t, func(m *machine) {
		topic := m.topic("log", 0, storage.Retention{MaxAge: 16 * time.Minute.Milliseconds()})
		m.mustPublish(topic, "before")
		m.step.Add(int64(365 * 24 * time.Hour))
		m.wait(2 * time.Second)
		m.mustPublish(topic, "ahead")
		m.step.Add(-int64(365 * 24 * time.Hour))
		m.wait(2 * time.Second)
		if _, err := m.b.confirmClock(context.Background(), named("ann")); err != nil {
			m.Fatal(err)
		}
		m.wait(time.Minute)
		m.mustPublish(topic, "after")
		m.wait(14 * time.Minute)
		m.left("log", 3)
		m.wait(2 * time.Minute)
		m.left("log", 1)
		m.wait(2 * time.Minute)
		m.left("log", 0)
		if n := len(topic.marks); n > marksPerAge+1 {
			m.Errorf("%d marks are kept", n)
		}
	})
}

func TestIDsAreKnownForTheWindowWhateverTheWallClock(t *testing.T) {
	for _, step := range []time.Duration{0, time.Hour, -time.Hour} {
		onMachine(t, func(m *machine) {
			topic := m.topic("orders", 0, storage.Retention{})
			m.stores(given(topic, "a"), 0)
			m.step.Add(int64(step))
			time.Sleep(window / 2)
			m.stores(given(topic, "a"), -1)
			topic = m.reopened()
			m.stores(given(topic, "a"), -1)
			time.Sleep(window/2 + time.Second)
			if step == 0 { // otherwise it may be known for longer
				m.stores(given(topic, "a"), 1)
			}
		})
	}
}

func TestOffsetsInMemoryAndVersionsGrowOverRestarts(t *testing.T) {
	onMachine(t, func(m *machine) {
		topic := m.topic("memory", storage.KindMemory, storage.Retention{})
		m.mustPublish(topic, "a", "b")
		next, micros := topic.Next(), m.b.Micros()
		m.step.Add(-int64(24 * time.Hour))
		m.restart(false, time.Second)
		topic, err := m.b.findTopic("memory")
		if err != nil {
			m.Fatal(err)
		}
		if topic.Next() < next || m.b.Micros() < micros {
			m.Errorf("offset %d after %d, version %d after %d", topic.Next(), next, m.b.Micros(), micros)
		}
	})
}

// The clock is saved now and then. A machine that comes up with an earlier time has nothing else
// to go by.
func TestVersionsGrowOverARebootWithTheClockBack(t *testing.T) {
	for _, ran := range []time.Duration{time.Second, clockSaved*time.Millisecond - 2*time.Second, 3 * clockSaved * time.Millisecond} {
		onMachine(t, func(m *machine) {
			last := max(m.b.Micros(), m.b.Past())
			for _, boot := range []string{"second", "third"} {
				m.wait(ran)
				last = max(m.b.Micros(), last)
				m.step.Add(-int64(24 * time.Hour))
				m.boot.Store(boot)
				m.restart(true, time.Second)
				if past := m.b.Past(); past < last {
					t.Errorf("after the %s boot and %s: versions begin with %d, and were at %d", boot, ran, past, last)
				}
				last = max(m.b.Micros(), m.b.Past(), last)
				m.wait(2 * time.Second) // the clock is saved
			}
		})
	}
}
