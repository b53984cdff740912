package storage_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// slowDisk is a store whose syncs take a while.
type slowDisk struct {
	*storetest.Memory
	took time.Duration
}

func (s slowDisk) Sync() error {
	time.Sleep(s.took)
	return s.Memory.Sync()
}

// crowd has clients write for a while, each one message at a time with a pause of its own
// before the next, and returns how long they waited, sorted.
func crowd(t *testing.T, took time.Duration, pauses []time.Duration, bytes int64) (waits []time.Duration, totals storage.WriterTotals) {
	t.Helper()
	memory := storetest.NewMemory()
	create := &storage.CreateTopic{Topic: &storage.Topic{Name: "log"}}
	if errs, err := memory.Commit([]storage.Op{create}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	w := storage.NewWriter(slowDisk{memory, took}, storage.WriterLimits{Upkeep: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	var running, clients sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	end := time.Now().Add(100 * took)
	var mu sync.Mutex
	for i, pause := range pauses {
		clients.Go(func() {
			time.Sleep(time.Duration(i) * took / time.Duration(len(pauses))) // not all at once
			for time.Now().Before(end) {
				began := time.Now()
				done := make(chan struct{})
				ticket := &storage.Ticket{Bytes: bytes, Done: func(*storage.Ticket) { close(done) }}
				ticket.Ops = []storage.Op{&storage.Append{Topic: create.Topic.ID, Records: []storage.Record{{ID: fmt.Sprint(i)}}}}
				if err := w.Submit(ticket); err != nil {
					t.Error(err)
				}
				<-done
				mu.Lock()
				waits = append(waits, time.Since(began))
				mu.Unlock()
				time.Sleep(pause)
			}
		})
	}
	clients.Wait()
	stop()
	running.Wait()
	slices.Sort(waits)
	return waits, w.Totals()
}

func same(n int, pause time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{pause}, n)
}

// Clients that come back in a moment share one sync, and do not wait for two.
func TestClientsThatComeBackAtOnceWaitForOneSync(t *testing.T) {
	const took = 10 * time.Millisecond
	for name, x := range map[string]struct {
		clients []time.Duration
		bytes   int64
	}{
		"8":                         {same(8, took/50), 300},
		"64":                        {same(64, took/50), 300},
		"4 with much each":          {same(4, took/50), 16 << 10},
		"8, and one that is slower": {append(same(8, took/50), 3*took/2), 300},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waits, totals := crowd(t, took, x.clients, x.bytes)
				p50 := waits[len(waits)/2]
				t.Logf("p50 %v, p99 %v; %d waits of %v in all", p50, waits[len(waits)*99/100], totals.Gathers, totals.GatherTime)
				if p50 > took*13/10 {
					t.Errorf("p50 is %v of syncs that take %v", p50, took)
				}
			})
		})
	}
}

// Who waits for company that does not come loses a fifth of a sync at most, and soon waits no
// longer. Where syncs are fast nobody waits at all.
func TestCompanyIsNotWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took = 10 * time.Millisecond
		waits, totals := crowd(t, took, same(20, 7*took), 300)
		t.Logf("p50 %v; %d waits of %v in all", waits[len(waits)/2], totals.Gathers, totals.GatherTime)
		if last := waits[len(waits)-1]; last > 2*took+took/5 {
			t.Errorf("one waited %v for syncs that take %v", last, took)
		}
		if totals.GatherTime > 100*took/20 {
			t.Errorf("waited for %v of %v", totals.GatherTime, 100*took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, totals := crowd(t, 400*time.Microsecond, same(8, 10*time.Microsecond), 300)
		if totals.GatherTime != 0 {
			t.Errorf("waited for %v where a sync takes 0.4 ms", totals.GatherTime)
		}
	})
}
