package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What a clock makes of the wall clock, in milliseconds.
const (
	clockJump   = 5 * 60_000      // a wall clock that moved so far against the time that passed has jumped
	clockSlew   = 1000            // of what it moved less, a thousandth of the time that passes is forgotten
	clockSaved  = 10 * 60_000     // how old what is saved becomes
	clockSettle = 10 * 60_000     // how long deletion by age waits after a start when the broker was away
	clockAbsent = 30 * 86_400_000 // away for longer, the wall clock is in doubt
	maxDelay    = 7 * 86_400_000  // of a message that was given back
)

// DefaultClockHold is Options.ClockHold unless it is set.
const DefaultClockHold = time.Hour

// clock is where a broker has its time from. Its own time counts milliseconds on the
// monotonic clock, and continues over restarts: delays, timeouts and windows go by it.
// It began as the wall clock and cannot be set. The wall clock stamps messages, and
// ages them unless it is in doubt: after a jump deletion by age is suspended, until the
// wall clock has not jumped for a while or an operator confirms it.
type clock struct {
	wall   func() time.Time
	uptime func() (boot string, up time.Duration)
	hold   int64         // milliseconds; how long a jump suspends deletion by age
	began  time.Time     // carries the monotonic clock
	upAt   time.Duration // uptime when it began
	ran    int64         // up to when an earlier process ran, as far as is known; 0: there was none
	base   atomic.Int64  // microseconds: the time when it began, and how long the machine slept since
	past   int64         // microseconds: no earlier process can have counted further

	// earlier, added to the stamp of a message of an earlier process, is when that was
	// stored, or later.
	earlier int64

	mu     sync.Mutex
	state  storage.Clock // guarded by mu; Last is when it was saved
	dirty  bool          // guarded by mu: state has to be saved soon
	looked int64         // guarded by mu: up to when state.Ahead has followed the wall clock
	slept  time.Duration // guarded by mu: how long the machine slept since it began
}

func (c *clock) micros() int64 { return c.base.Load() + time.Since(c.began).Microseconds() }

func (c *clock) now() int64 { return c.micros() / 1000 }

// open sets the clock as an earlier process saved it. newest is the newest stamp of a
// message, for stores in which nothing was saved yet.
func (c *clock) open(saved storage.Clock, newest int64) {
	s := saved
	c.ran = saved.Last
	if s.Last == 0 {
		s.Last = newest
	}
	var boot string
	if c.uptime != nil {
		boot, c.upAt = c.uptime()
	}
	c.began = time.Now()
	wall := c.wall().UnixMilli()
	now := wall + s.Ahead
	same := boot != "" && boot == s.Boot
	if same {
		now = s.Since + c.upAt.Milliseconds()
	}
	now = max(now, s.Last)
	c.base.Store(now * 1000)
	if saved.Last != 0 {
		c.past = (saved.Last + 2*clockSaved) * 1000
	}
	behind, away := now-wall-s.Ahead, now-s.Last
	c.earlier = s.Ahead + min(max(behind, 0), clockJump) + max(s.Jump, 0)
	switch {
	case behind > clockJump || behind < -clockJump:
		doubt(&s, -behind, now+c.hold)
		s.Ahead = now - wall
	case same || s.Last == 0:
	case away > clockAbsent:
		doubt(&s, away, now+c.hold)
	case away > clockSaved+clockJump:
		// The machine was off, as it may be. If it came up with a wrong time, that is
		// put right in the next minutes, which then is a jump.
		s.Held = max(s.Held, now+clockSettle)
	}
	s.Boot, s.Since = boot, now-c.upAt.Milliseconds()
	c.state, c.dirty, c.looked = s, true, now
}

// doubt notes that the wall clock jumped, which suspends deletion by age for some time.
func doubt(s *storage.Clock, jump, until int64) {
	s.Jump += jump
	if s.Jump == 0 {
		s.Jump = jump // back where it was: no less in doubt
	}
	s.Held = until
}

// look compares the two clocks. It returns the wall clock in milliseconds, and whether
// messages may be deleted by age according to it.
func (c *clock) look() (wall int64, plausible bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeUp()
	wall, now, s := c.wall().UnixMilli(), c.now(), &c.state
	if behind := now - wall - s.Ahead; behind > clockJump || behind < -clockJump {
		doubt(s, -behind, now+c.hold)
		s.Ahead, c.dirty = now-wall, true
	} else if slew := (now - c.looked) / clockSlew; slew > 0 {
		s.Ahead += min(max(behind, -slew), slew)
		c.looked += slew * clockSlew
	}
	plausible = now >= s.Held
	if plausible && s.Jump != 0 {
		s.Jump, c.dirty = 0, true
	}
	return wall, plausible
}

// wakeUp adds the time that the machine slept, which the monotonic clock leaves out.
// Called with c.mu held.
func (c *clock) wakeUp() {
	if c.uptime == nil {
		return
	}
	_, up := c.uptime()
	if slept := up - c.upAt - time.Since(c.began) - c.slept; slept > time.Second {
		c.slept += slept
		c.base.Add(slept.Microseconds())
	}
}

// toSave is what has to be saved now, if anything has.
func (c *clock) toSave(always bool) (s storage.Clock, save bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s = c.state
	s.Last = c.now()
	return s, always || c.dirty || s.Last-c.state.Last >= clockSaved
}

// saved notes that s is on disk.
func (c *clock) saved(s storage.Clock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Last = s.Last
	c.dirty = c.dirty && (c.state.Jump != s.Jump || c.state.Held != s.Held || c.state.Boot != s.Boot)
}

// Advance moves both clocks forward by that much time: what is due by then is due. It
// is for tests of programs. The broker keeps that over a restart, and then finds that the wall
// clock is back where it was.
func (b *Broker) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	c := &b.time
	c.mu.Lock()
	b.ahead.Add(int64(d))
	c.base.Add(d.Microseconds())
	c.state.Since += d.Milliseconds()
	c.dirty = true
	c.mu.Unlock()
	b.timers.look()
}

// ClockInfo is how the wall clock stands.
type ClockInfo struct {
	Offset int64 // milliseconds that it was set forward (or back, when negative) in all, as far as the broker saw
	Jump   int64 // milliseconds that it jumped, if that puts it in doubt; 0: it is not in doubt
	// Suspended is until when nothing is deleted by age, in Unix milliseconds; 0: it is.
	Suspended int64
}

// Clock is how the wall clock stands.
func (b *Broker) Clock() ClockInfo {
	c := &b.time
	wall, plausible := c.look()
	c.mu.Lock()
	defer c.mu.Unlock()
	info := ClockInfo{Offset: -c.state.Ahead, Jump: c.state.Jump}
	if !plausible {
		info.Suspended = wall + c.state.Held - c.now()
	}
	return info
}

// Micros counts microseconds. It only grows, over restarts, too, whatever the wall clock
// is set to; but see Past.
func (b *Broker) Micros() int64 { return b.time.micros() }

// Past is what Micros of earlier processes cannot have reached. After a reboot with a wall clock
// that was set back, Micros may begin below what it had come to since it was saved.
func (b *Broker) Past() int64 { return b.time.past }

// Ran is up to when an earlier process ran, as far as is known, by the clock of Micros, in
// milliseconds; 0: there was none.
func (b *Broker) Ran() int64 { return b.time.ran }

// confirmClock says that the wall clock is right: deletion by age goes by it at once.
// It reports whether that was suspended.
func (b *Broker) confirmClock(ctx context.Context, actor storage.Actor) (suspended bool, err error) {
	c := &b.time
	info := b.Clock()
	if info.Suspended == 0 {
		return false, nil
	}
	s, _ := c.toSave(true)
	held := s.Held
	s.Jump, s.Held = 0, 0
	detail := "the clock was not in doubt"
	if info.Jump != 0 {
		detail = "the clock " + jumped(info.Jump)
	}
	err = b.home().Do(context.WithoutCancel(ctx), &storage.Atomic{Ops: []storage.Op{
		&storage.SaveClock{Clock: s}, b.audit(actor, "clock.confirm", "server", detail),
	}})
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	if c.state.Held == held { // no other jump since
		c.state.Jump, c.state.Held = 0, 0
	}
	c.mu.Unlock()
	c.saved(s)
	b.reportClock()
	return true, nil
}

// watchClock looks at the wall clock, saves how it stands, and tells when it is in doubt.
func (b *Broker) watchClock(ctx context.Context) error {
	b.reportClock()
	return b.saveClock(ctx, false)
}

func (b *Broker) saveClock(ctx context.Context, always bool) error {
	s, save := b.time.toSave(always)
	if !save {
		return nil
	}
	if err := b.home().Do(ctx, &storage.SaveClock{Clock: s}); err != nil {
		return err
	}
	b.time.saved(s)
	return nil
}

// clockKind is the kind of the condition that the wall clock is in doubt.
const clockKind = "clock"

func (b *Broker) reportClock() {
	info := b.Clock()
	if info.Jump == 0 || info.Suspended == 0 {
		b.opts.Conditions.Clear(clockKind, "")
		return
	}
	until := time.UnixMilli(info.Suspended).UTC().Format(time.RFC3339)
	b.opts.Conditions.Raise(condition.Condition{Kind: clockKind, Severity: condition.Warning, Text: fmt.Sprintf(
		"the clock %s: messages are not deleted by age until %s or, if the clock is right, until you run zbus server confirm-clock",
		jumped(info.Jump), until)})
}

// jumped says how far the clock was set.
func jumped(ms int64) string {
	d := (time.Duration(ms) * time.Millisecond).Round(time.Second)
	if d < 0 {
		return fmt.Sprintf("jumped %s back", -d)
	}
	return fmt.Sprintf("jumped %s forward", d)
}
