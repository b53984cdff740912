package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Options are what Backups need.
type Options struct {
	// Begin begins an image of the database.
	Begin func() (Image, error)
	// Every is the time between two scheduled backups; 0: there are none. Keep is how many
	// of them stay, at least 1, in Dir, which is created when it is missing.
	Every time.Duration
	Keep  int
	Dir   string
	// Room is how many bytes a backup may take in a directory; negative when not known.
	Room func(dir string) int64
	// Note puts a backup into the audit trail: who has taken it and where it went.
	Note       func(ctx context.Context, actor storage.Actor, target, detail string) error
	Conditions *condition.Board
	Log        *slog.Logger
}

// retryAfter is the time after a scheduled backup that failed, unless Every is less.
const retryAfter = 10 * time.Minute

// errBusy: an image is being read already.
var errBusy = fmt.Errorf("another backup is being taken: %w", storage.ErrConflict)

// conditionKind is the kind of the condition that a schedule which fails raises.
const conditionKind = "backup"

// Backups are the backups of a running broker: those by the schedule, and those that
// clients take. There is one at a time. Its methods may be called by any number of
// goroutines.
type Backups struct {
	options Options
	series  series

	mu    sync.Mutex
	state State // guarded by mu
}

// State is what is known of the backups.
type State struct {
	Running bool
	Last    Done   // the last complete one; the zero value: none is known
	Failed  Failed // the last one that is not, if it came after Last
	Taken   int64  // complete ones since the start
	Missed  int64  // others
	// Of the schedule.
	Every time.Duration
	Keep  int
	Dir   string
	Next  time.Time // zero without a schedule
}

// Done is a complete backup.
type Done struct {
	Time     time.Time // when it was complete
	Bytes    int64
	Took     time.Duration
	Target   string    // the file, or who took it
	Checked  time.Time // when it was read back; zero if that was left to who took it
	Findings int64     // of the check
}

// Failed is a backup that is not complete.
type Failed struct {
	Time   time.Time
	Target string
	Text   string
}

// New returns the backups of a broker. It looks into the directory for the last one.
func New(o Options) (*Backups, error) {
	b := &Backups{options: o, series: series{dir: o.Dir}}
	b.state.Every, b.state.Keep, b.state.Dir = o.Every, o.Keep, o.Dir
	if o.Every == 0 {
		b.state.Keep, b.state.Dir = 0, ""
		return b, nil
	}
	last, err := b.series.open()
	if err != nil {
		return nil, fmt.Errorf("backup-dir: %w", err)
	}
	if last != nil {
		b.state.Last = Done{Time: last.time, Bytes: last.bytes, Target: last.path, Checked: last.time}
	}
	return b, nil
}

// State is what is known now.
func (b *Backups) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Run takes backups by the schedule until ctx ends. That one fails is no error.
func (b *Backups) Run(ctx context.Context) error {
	if b.options.Every == 0 {
		<-ctx.Done()
		return nil
	}
	for wait := b.firstWait(); ; {
		b.mu.Lock()
		b.state.Next = time.Now().Add(wait)
		b.mu.Unlock()
		timer := time.NewTimer(wait) // of the monotonic clock: nothing that sets the other one moves it
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = b.options.Every
		if err := b.scheduled(ctx); err != nil {
			wait = min(wait, retryAfter)
		}
	}
}

// firstWait is the time until the next backup is due after the last one of an earlier
// process. The clock may have been set since: one from the future is as good as none.
func (b *Backups) firstWait() time.Duration {
	last := b.State().Last.Time
	age := time.Since(last)
	if last.IsZero() || age < 0 {
		return 0
	}
	return max(b.options.Every-age, 0)
}

// scheduled takes one.
func (b *Backups) scheduled(ctx context.Context) error {
	done, err := b.toFile(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	last := b.State().Last
	switch {
	case err != nil:
		text := fmt.Sprintf("The scheduled backup has failed: %v. ", err)
		if last.Time.IsZero() {
			text += "There is none"
		} else {
			text += "The last one is of " + last.Time.UTC().Format(time.RFC3339)
		}
		b.raise(text + fmt.Sprintf("; the next try is in %s.", min(b.options.Every, retryAfter)))
	case done.Findings > 0:
		b.raise(fmt.Sprintf("The backup %s is complete, and has %d findings, as the database has: see zbus verify. Older backups are kept.", done.Target, done.Findings))
	default:
		b.options.Conditions.Clear(conditionKind, "")
		b.options.Log.Info("backup taken", "path", done.Target, "bytes", done.Bytes, "took", done.Took.Round(time.Millisecond))
		if err := b.series.prune(b.options.Keep); err != nil {
			b.options.Log.Warn("old backups not removed", "dir", b.options.Dir, "err", err)
		}
	}
	return err
}

func (b *Backups) raise(text string) {
	b.options.Conditions.Raise(condition.Condition{Kind: conditionKind, Severity: condition.Warning, Text: text})
}

// toFile takes a backup into the next file of the series.
func (b *Backups) toFile(ctx context.Context) (Done, error) {
	t, err := b.begin(storage.Actor{Name: "schedule"})
	if err != nil {
		return Done{}, err
	}
	if room := b.options.Room(b.options.Dir); room >= 0 && room < t.Size() {
		err = fmt.Errorf("%d bytes are needed in %s, and %d can be used: %w", t.Size(), b.options.Dir, room, storage.ErrFull)
	}
	if err == nil {
		t.done.Target, err = b.series.next()
	}
	if err == nil {
		report, saved := Save(ctx, t.done.Target, func() (Image, error) { return kept{t.image}, nil }, nil)
		t.done.Checked, t.done.Findings, err = time.Now(), int64(len(report.Findings))+report.More, saved
	}
	return t.end(context.WithoutCancel(ctx), err)
}

// kept is an image that is closed later.
type kept struct{ Image }

// Close implements Image.
func (kept) Close() error { return nil }

// Take begins a backup for a client. It has to be closed.
func (b *Backups) Take(actor storage.Actor) (*Taken, error) { return b.begin(actor) }

func (b *Backups) begin(actor storage.Actor) (*Taken, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Running {
		return nil, errBusy
	}
	im, err := b.options.Begin()
	if err != nil {
		return nil, err
	}
	b.state.Running = true
	return &Taken{of: b, image: im, actor: actor, began: time.Now(), done: Done{Bytes: im.Size(), Target: actor.Name}}, nil
}

// Taken is a backup that is being taken. One goroutine uses it.
type Taken struct {
	of    *Backups
	image Image
	actor storage.Actor
	began time.Time
	done  Done
	ended bool
}

// Size is how many bytes it has.
func (t *Taken) Size() int64 { return t.image.Size() }

// Copy writes it to the client, and ends it.
func (t *Taken) Copy(ctx context.Context, w io.Writer) error {
	err := t.image.Copy(ctx, w)
	_, err = t.end(context.WithoutCancel(ctx), err)
	return err
}

// Close ends it, as not complete unless Copy has been called.
func (t *Taken) Close() error {
	if !t.ended {
		_, _ = t.end(context.Background(), errors.New("not begun"))
	}
	return nil
}

// end ends it, as complete if err is nil, and returns what became of it.
func (t *Taken) end(ctx context.Context, err error) (Done, error) {
	t.ended = true
	err = errors.Join(err, t.image.Close())
	b, now := t.of, time.Now()
	t.done.Time, t.done.Took = now, now.Sub(t.began)
	detail := fmt.Sprintf("%d bytes", t.done.Bytes)
	b.mu.Lock()
	b.state.Running = false // the client has all of it, and may ask for another at once
	if err == nil {
		b.state.Taken++
		b.state.Last, b.state.Failed = t.done, Failed{}
	} else {
		detail = "not complete: " + err.Error()
		b.state.Missed++
		b.state.Failed = Failed{Time: now, Target: t.done.Target, Text: err.Error()}
	}
	b.mu.Unlock()
	return t.done, errors.Join(err, b.options.Note(ctx, t.actor, t.done.Target, detail))
}
