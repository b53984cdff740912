package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/zbus"
)

// tally counts what becomes of messages. All methods but publish and failed are called
// by any number of goroutines.
type tally struct {
	start time.Time
	under sync.WaitGroup // messages without an outcome
	begun int64          // how many were read; of the caller of publish

	mu      sync.Mutex
	stored  int64
	lost    int64 // not stored
	known   int64 // not stored again
	unknown int64 // perhaps stored
	first   error // of the first in the input
	firstAt source
	lines   []source // of both, as far as they are listed
}

// listed is how many lost messages are remembered by their lines.
const listed = 1 << 16

// publish sends a message. It returns an error only when the user has ended it.
func (t *tally) publish(ctx context.Context, c *zbus.Client, topic string, m zbus.Message, at source) error {
	m.AllowDuplicate = true // --once is for those who want to send again
	t.begun++
	at.n = t.begun
	future := c.PublishAsync(ctx, topic, m)
	wait := context.WithoutCancel(ctx) // the client gives all of them an outcome
	select {
	case <-future.Done():
		_, err := future.Wait(wait)
		if err != nil && ctx.Err() != nil {
			return ErrInterrupted // it was not sent
		}
		t.outcome(err, at)
	default:
		t.under.Go(func() {
			_, err := future.Wait(wait)
			t.outcome(err, at)
		})
	}
	return nil
}

// outcome counts one message.
func (t *tally) outcome(err error, at source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.stored++
		return
	case errors.Is(err, zbus.ErrUnknownOutcome), errors.Is(err, context.Canceled):
		t.unknown++
	default:
		t.lost++
	}
	if t.first == nil || at.n < t.firstAt.n {
		t.first, t.firstAt = err, at
	}
	if len(t.lines) < listed {
		t.lines = append(t.lines, at)
	}
}

func (t *tally) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first != nil
}

// failure says what became of the messages that are not certainly stored. Called
// with mu held, when there are some.
func (t *tally) failure() error {
	err := plain(t.first)
	var what []string
	if t.lost > 0 {
		what = append(what, counted(format(t.lost), "message is", "messages are")+" not stored")
	}
	if t.unknown > 0 {
		what = append(what, counted(format(t.unknown), "message is", "messages are")+" perhaps stored and perhaps not")
	}
	text := t.firstAt.String() + err.Error() + "; " + strings.Join(what, ", ")
	if len(t.lines) > 1 {
		text += ": " + t.ranges()
	}
	return &failure{text, t.first}
}

// ranges lists the lines that failed. Called with mu held.
func (t *tally) ranges() string {
	const most = 8
	var all []string
	sort.Slice(t.lines, func(i, j int) bool { return t.lines[i].n < t.lines[j].n })
	for n := 0; n < len(t.lines); {
		end := n
		for end+1 < len(t.lines) && t.lines[end+1].file == t.lines[n].file && t.lines[end+1].line == t.lines[end].line+1 {
			end++
		}
		if len(all) == most {
			all = append(all, "…")
			break
		}
		text := strings.TrimSuffix(t.lines[n].String(), ": ")
		if end > n {
			text = strings.Replace(text, "line ", "lines ", 1) + fmt.Sprintf("-%d", t.lines[end].line)
		}
		all = append(all, text)
		n = end + 1
	}
	return strings.Join(all, ", ")
}

// show tells every half second how far it is, on one line. The function that it
// returns ends that.
func (t *tally) show(w io.Writer) (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-stop:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-tick.C:
			}
			t.mu.Lock()
			stored := t.stored
			t.mu.Unlock()
			shown = true
			fmt.Fprintf(w, "\r%12s stored  %9s/s\x1b[K", number(stored), rate(float64(stored)/time.Since(t.start).Seconds()))
		}
	}()
	return func() { close(stop); <-stopped }
}
