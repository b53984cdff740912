package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// After an orderly stop every count is what it was, after a crash too when it is 20 ms
// old. Without a consumer that answers, the limit is reached.
func TestCountsOfUnansweredMessagesOutliveTheBroker(t *testing.T) {
	for name, restart := range map[string]func(*rig){
		"stop":  func(r *rig) { r.close(); r.open() },
		"crash": func(r *rig) { time.Sleep(saveInterval + time.Millisecond); synctest.Wait(); r.crash() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				g := r.explicitGroup(1, 4)
				for want := range int64(4) {
					list, counts := offsets(r.pull(g, 1))
					if !slices.Equal(list, []int64{0}) || counts[0] != want+1 {
						r.Fatalf("delivered %d with counts %d, want the %d. delivery", list, counts, want+1)
					}
					restart(r)
					synctest.Wait()
					g = r.again()
				}
				if got := r.pull(g, 1); len(got) > 0 {
					list, counts := offsets(got)
					r.Errorf("delivered %d with counts %d after the last of 4 deliveries", list, counts)
				}
				dead, err := r.b.findTopic("orders" + deadSuffix)
				if err != nil || dead.Next() != 1 {
					r.Fatalf("no dead letter: %v", err)
				}
				if info := g.Info(); info.Cursor != 1 || info.Returned+info.InFlight > 0 {
					r.Errorf("the group is at %+v", info)
				}
			})
		})
	}
}

// A limit of one delivery is kept by a restart, and nobody has to ask for it.
func TestOnlyDeliveryIsTheLastOne(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(5, 1)
		b := r.pull(g, 4)[0]
		for _, o := range []int64{0, 2} {
			if err := g.ackNow(o, b.Handle(int(o))); err != nil {
				r.Fatal(err)
			}
		}
		r.crash()
		synctest.Wait()
		g = r.again()
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil || dead.Next() != 2 || g.Info().Cursor != 4 {
			r.Errorf("offsets 1 and 3 were delivered once: cursor %d, %v", g.Info().Cursor, err)
		}
		if list, counts := offsets(r.pull(g, 5)); !slices.Equal(list, []int64{4}) || counts[0] != 1 {
			r.Errorf("then comes %d with counts %d", list, counts)
		}
	})
}

// What never left the broker was not delivered, whoever remembers it.
func TestUnsentDeliveryDoesNotCountAfterARestart(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(2, 1)
		c := r.subscribe(g, "a")
		b := c.take(2)[0]
		c.sub.Close()
		b.Done(0)
		r.close()
		r.open()
		synctest.Wait()
		if list, counts := offsets(r.pull(r.again(), 2)); !slices.Equal(list, []int64{0, 1}) || !slices.Equal(counts, []int64{1, 1}) {
			r.Errorf("delivered %d with counts %d", list, counts)
		}
	})
}

// First deliveries and their acks cost no rows, whether they are saved in between or
// not.
func TestFirstDeliveriesHaveNoRows(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1000, 0)
		rows := func() int {
			state, err := r.store.Load(context.Background())
			if err != nil {
				r.Fatal(err)
			}
			return len(state.Parked)
		}
		var all []*Batch
		for range 10 {
			all = append(all, r.pull(g, 100)...)
			time.Sleep(2 * saveInterval)
			synctest.Wait()
			if n := rows(); n > 0 || len(g.noted) > 0 {
				r.Fatalf("%d rows and %d to be looked at for first deliveries", n, len(g.noted))
			}
		}
		for _, b := range all {
			for i := range b.Items {
				g.Ack(b.Items[i].Record.Offset, b.Handle(i), func(error) {})
			}
		}
		synctest.Wait()
		if n := rows(); n > 0 || g.Info().Cursor != 1000 {
			r.Errorf("%d rows: %+v", n, g.Info())
		}
	})
}

// A message has one row from its return to its end.
func TestRowGoesWithItsMessage(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 0)
		row := func() (count int64) {
			time.Sleep(2 * saveInterval)
			synctest.Wait()
			state, err := r.store.Load(context.Background())
			if err != nil || len(state.Parked) > 1 {
				r.Fatal(state.Parked, err)
			}
			for _, p := range state.Parked {
				count = p.Count
			}
			return count
		}
		for n := range int64(3) {
			b := r.pull(g, 1)[0]
			if got, want := row(), n+1; n > 0 && got != want {
				r.Errorf("in flight for the %d. time, the row says %d", want, got)
			}
			if err := g.nackNow(0, b.Handle(0), 0); err != nil {
				r.Fatal(err)
			}
			if got := row(); got != n+1 {
				r.Errorf("came back %d times, the row says %d", n+1, got)
			}
		}
		b := r.pull(g, 1)[0]
		if err := g.ackNow(0, b.Handle(0)); err != nil {
			r.Fatal(err)
		}
		if got := row(); got != 0 || len(g.noted)+len(g.parked) > 0 {
			r.Errorf("acked, and there is a row with %d", got)
		}
	})
}
