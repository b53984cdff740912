package bench

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// stalls passes connections on to a broker. After so many bytes of answers it passes no more
// of them for a while, once.
func stalls(t *testing.T, to string, after int, pause time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			all.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			})
			all.Go(func() {
				defer client.Close()
				defer server.Close()
				if _, err := io.CopyN(client, server, int64(after)); err == nil {
					time.Sleep(pause) // what is tested
					_, _ = io.Copy(client, server)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

// A server that says nothing for a while delays all requests that were due then, and not just
// those that one happened to wait for.
func TestRateCountsFromWhenARequestWasDue(t *testing.T) {
	const stall = 700 * time.Millisecond
	address := broker(t)
	o := Options{Topic: "bench", Connections: 1, InFlight: 4, Size: 10, Count: 1000}
	measured := func(rate float64) Result {
		o.Rate, o.Server = rate, stalls(t, address, 40_000, stall)
		r, err := Produce(t.Context(), o)
		if err != nil || r.Messages != int64(o.Count) {
			t.Fatalf("%d messages, %v", r.Messages, err)
		}
		return r
	}
	closed := measured(0)
	if slow := closed.Latency.Quantile(1); slow < stall*9/10 {
		t.Fatalf("the longest answer took %v: nothing stalled", slow)
	}
	if p90 := closed.Latency.Quantile(.9); p90 > stall/4 {
		t.Errorf("as fast as answers come: p90 %v; four requests in flight cannot show the stall", p90)
	}
	open := measured(500)
	if p90 := open.Latency.Quantile(.9); p90 < stall/4 {
		t.Errorf("500 a second: p90 %v, though a third of the requests were due during the stall", p90)
	}
	if least := 999. / 500; open.Seconds < least || open.PerSecond > 501 {
		t.Errorf("500 a second: %d in %.2f s", open.Messages, open.Seconds)
	}
	if open.Rate != 500 {
		t.Errorf("the result says a rate of %v", open.Rate)
	}
}

func TestRateIsThatOfAllConnections(t *testing.T) {
	t.Parallel()
	o := Options{Server: broker(t), Topic: "bench", Connections: 7, InFlight: 2, Size: 10, Count: 300, Rate: 400}
	for name, run := range map[string]func() (Result, error){
		"produce": func() (Result, error) { return Produce(t.Context(), o) },
		"rpc":     func() (Result, error) { return RPC(t.Context(), o) },
	} {
		r, err := run()
		if err != nil || r.Messages != 300 {
			t.Fatalf("%s: %d messages, %v", name, r.Messages, err)
		}
		// The last of each connection is due in the last seventh of a turn.
		if r.Seconds < float64(300-7)/400 {
			t.Errorf("%s: 300 messages at 400 a second took %.3f s", name, r.Seconds)
		}
	}
}
