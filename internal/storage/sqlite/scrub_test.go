package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// The check in the background reads everything, says what is damaged, and takes it back
// when it is gone.
func TestScrubReadsEverythingAndSaysWhatIsDamaged(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	s := mustOpen(t, Options{Path: smallDatabase(t), Conditions: board})
	s.scrub.rate = 1 << 40
	round := func(damaged, findings int64, want string) {
		t.Helper()
		if err := s.scrubOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := s.Scrubbed()
		if got.Running || got.Progress != 1 || got.Finished.IsZero() || got.Messages+got.Damaged != 121 || got.Damaged != damaged || got.Findings != findings {
			t.Errorf("%+v", got)
		}
		all := ""
		for _, c := range board.List() {
			all += fmt.Sprint(c.Kind, " ", c.Subject, " ", c.Severity, ": ", c.Text)
		}
		if !strings.Contains(all, want) || (want == "") != (all == "") {
			t.Errorf("conditions %q, want %q", all, want)
		}
	}
	round(0, 0, "")
	if read := s.Scrubbed().Read; read < 1<<17 {
		t.Errorf("%d bytes read", read)
	}
	keep := fmt.Sprintf("CREATE TEMP TABLE kept AS SELECT * FROM blocks WHERE key = %d; DELETE FROM blocks WHERE key = %[1]d", keyOf(1, 20))
	if err := s.writer.run(keep); err != nil {
		t.Fatal(err)
	}
	round(20, 0, "damage orders warning: 20 messages of Topic(orders) are damaged or missing, between offsets 20 and 39")
	if err := s.writer.run("INSERT INTO blocks SELECT * FROM kept"); err != nil {
		t.Fatal(err)
	}
	round(0, 0, "")
	if err := s.writer.run("UPDATE groups SET cursor = 18, read = 40 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	round(0, 1, "damage orders critical: Topic(orders) is damaged on disk: the place of its group billing is damaged")
}

// Messages come and go while everything is read: none of that is damage.
func TestScrubOfABusyStoreFindsNothing(t *testing.T) {
	s := mustOpen(t, Options{Path: smallDatabase(t), Durability: Relaxed, fresh: limitsOfFresh["merged a topic a time"]})
	s.scrub.rate = 1 << 40
	done := make(chan error, 1)
	go func() {
		var err error
		for range 5 {
			if err = s.scrubOnce(context.Background()); err != nil || s.Scrubbed().Damaged+s.Scrubbed().Findings > 0 {
				break
			}
		}
		done <- err
	}()
	for i := int64(1); ; i++ {
		select {
		case err := <-done:
			if got := s.Scrubbed(); err != nil || got.Damaged+got.Findings > 0 {
				t.Errorf("%+v, %v", got, err)
			}
			return
		default:
		}
		mustCommit(t, s, &storage.Append{Topic: 1, Records: messages(3, 100)}, &storage.Append{Topic: 2, Records: messages(2, 100)},
			&storage.Trim{Topic: 1, First: 2 * i}, &storage.Purge{Limit: 100})
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScrubEndsWithItsContext(t *testing.T) {
	s := mustOpen(t, Options{Path: smallDatabase(t)})
	if err := s.Scrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Scrub(ctx, time.Millisecond) }() // it rests for 30 ms after the first page
	for !s.Scrubbed().Running {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil || s.Scrubbed().Running {
		t.Errorf("%v, %+v", err, s.Scrubbed())
	}
}
