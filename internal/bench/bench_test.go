package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/wire"
)

func TestQuantilesAreWithinTheirPrecision(t *testing.T) {
	var h, other Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(rand.ExpFloat64() * float64(time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			h.Add(d)
		} else {
			other.Add(d)
		}
	}
	h.Merge(&other)
	slices.Sort(all)
	if h.Count() != uint64(len(all)) {
		t.Fatalf("counted %d of %d", h.Count(), len(all))
	}
	for _, q := range []float64{0, .5, .9, .99, .999, 1} {
		want := all[int(q*float64(len(all)-1))]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.016+1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	var none Histogram
	if got := none.Quantile(.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

// broker runs a broker until the test ends and returns its address.
func broker(t *testing.T) string {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = []string{"127.0.0.1:0"}
	cfg.Data = t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, cfg, "test", slog.New(slog.DiscardHandler), func(r daemon.Ready) { ready <- r.Addrs[0].String() })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case address := <-ready:
		return address
	case err := <-done:
		done <- nil
		t.Fatal(err)
		return ""
	}
}

func TestEveryMeasurementCountsWhatWasDone(t *testing.T) {
	o := Options{Server: broker(t), Topic: "bench", Connections: 3, InFlight: 8, Size: 100, Count: 1000}
	last := int64(0)
	o.Progress = func(done int64, _ time.Duration) { last = done }
	for _, w := range []struct {
		name string
		run  func(context.Context, Options) (Result, error)
	}{{"produce", Produce}, {"consume", Consume}, {"rpc", RPC}, {"latency", Latency}} {
		t.Run(w.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := w.run(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Work != w.name || r.Messages != 1000 || last != 1000 || r.PerSecond <= 0 || r.Size != 100 {
				t.Errorf("result %+v, last progress %d", r, last)
			}
			if answered := r.Latency != nil && r.Latency.Count() == 1000; answered == (w.name == "consume") {
				t.Errorf("answers were measured: %v", answered)
			}
			if (w.name == "latency") != (r.EndToEnd != nil) {
				t.Errorf("deliveries: %v", r.EndToEnd)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConsumeSaysWhenThereIsTooLittle(t *testing.T) {
	o := Options{Server: broker(t), Topic: "bench", Connections: 2, InFlight: 4, Size: 10, Count: 10}
	if _, err := Produce(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Count = 11
	if r, err := Consume(t.Context(), o); !errors.Is(err, errShort) || r.Messages != 10 {
		t.Errorf("%d messages, %v", r.Messages, err)
	}
}

func TestRefusalEndsAMeasurement(t *testing.T) {
	o := Options{Server: broker(t), Topic: "no/such/name", Connections: 2, InFlight: 4, Size: 10, Count: 10}
	if _, err := Produce(t.Context(), o); err == nil {
		t.Error("a topic that can't be declared was measured")
	}
	o.Server, o.Topic = "127.0.0.1:1", "bench"
	if _, err := Produce(t.Context(), o); err == nil {
		t.Error("a broker that is not there was measured")
	}
}

func TestTopicsThatAMeasurementHasMadeAreRemoved(t *testing.T) {
	o := Options{Server: broker(t), Topic: "fresh", Connections: 2, InFlight: 4, Size: 10, Count: 20}
	there := func(topic string) bool {
		t.Helper()
		c, err := dial(t.Context(), &o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.ask(wire.HeaderCmd, wire.CmdQuery, wire.HeaderTopic, topic, wire.HeaderID, "q")
		var r *Refusal
		if err != nil && (!errors.As(err, &r) || r.Status != http.StatusNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, run := range []func(context.Context, Options) (Result, error){RPC, Latency} {
		if _, err := run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if there("fresh") || there("fresh-rpc") {
		t.Error("a topic that was made for a measurement stays")
	}
	if _, err := Produce(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := Latency(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if !there("fresh") {
		t.Error("a topic that was there before is gone")
	}
}

// frozen passes connections on to a server until it is told to stop: later ones are accepted, and
// nothing is said on them.
func frozen(t *testing.T, server string) (addr string, freeze func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var still atomic.Bool
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); _ = l.Close(); all.Wait() })
	pass := func(from net.Conn) {
		context.AfterFunc(ctx, func() { _ = from.Close() })
		if still.Load() {
			return
		}
		to, err := net.Dial("tcp", server)
		if err != nil {
			_ = from.Close()
			return
		}
		context.AfterFunc(ctx, func() { _ = to.Close() })
		all.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(c) })
		}
	})
	return l.Addr().String(), func() { still.Store(true) }
}

func TestTopicsAreNotRemovedForeverFromABrokerThatIsStuck(t *testing.T) {
	for _, token := range []string{"", "a token"} { // which is shown first, and no answer comes to that
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			o := Options{Topic: "fresh", Topics: 1}
			var freeze func()
			o.Server, freeze = frozen(t, broker(t))
			o.Token = token
			remove, err := temporary(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			freeze()
			removed := make(chan struct{})
			go func() {
				defer close(removed)
				remove()
			}()
			select {
			case <-removed:
			case <-time.After(12 * removeTime):
				t.Error("it waits for an answer that does not come")
			}
		})
	}
}
