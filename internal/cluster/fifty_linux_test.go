package cluster_test

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// What knowing of each other costs fifty servers, three of them trackers: in a storm of declarations,
// at rest, and with one more topic; in processor time and in what one tracker tells one other.
func TestFiftyServersKnowEachOther(t *testing.T) {
	const n, trackers, topics, interval = 50, 3, 20, 10 * time.Second
	rest := time.Duration(faultreport.Scale(t, 1, 6)) * interval
	often := func(c *config.Config) { // silent connections stay
		c.Durability, c.BroadcastInterval, c.IdleTimeout = config.Relaxed, interval, 0
	}
	r := faultreport.Record{
		Test: "fifty-servers", Fault: "fifty servers, three of them trackers, in one process: 20 topics are declared on all at once, then nothing, then one more",
		Promise: "every server knows all topics of all", Runs: n,
	}
	all := set(t, trackers, often)
	list := addrs(all)
	for range n - trackers {
		all = append(all, zbustest.Start(t, often, tracked(list...)))
	}
	server, old := listen(t, list[0], "scope", "all"), listen(t, list[0])
	measure := func(what string, during func()) {
		s, o, used, began := server.count(), old.count(), processorTime(t), time.Now()
		during()
		took := time.Since(began)
		r.Add(what+" ms", took.Milliseconds())
		r.Add("processor ms a second", int((processorTime(t)-used).Seconds()*1000/took.Seconds()))
		r.Add("to a server", server.count().less(s))
		r.Add("to a client", old.count().less(o))
	}
	known := func(topics int) {
		t.Helper()
		for i, b := range all {
			for late := time.Now().Add(5 * patience); topicsKnown(t, b.Addr) != topics; <-time.After(100 * time.Millisecond) {
				if time.Now().After(late) {
					t.Fatalf("server %d knows %d topics of %d servers, want %d", i, topicsKnown(t, b.Addr), len(servers(t, b.Addr)), topics)
				}
			}
		}
	}
	known(0)
	heap := liveHeap()
	measure(fmt.Sprint(n*topics, " declared and known to all,"), func() {
		var declaring sync.WaitGroup
		for i, b := range all {
			declaring.Go(func() {
				if err := declare(b.Addr, i*topics, topics); err != nil {
					t.Error(err)
				}
			})
		}
		declaring.Wait()
		known(n * topics)
	})
	r.Add("heap a server for that, KB", (liveHeap()-heap)/n/1024)
	measure(fmt.Sprintf("at rest with broadcasts every %s,", interval), func() { <-time.After(rest) })
	measure("one more declared and known to all,", func() {
		if err := declare(all[n-1].Addr, n*topics, 1); err != nil {
			t.Fatal(err)
		}
		known(n*topics + 1)
	})
	r.Save(t)
}

// declare declares topics, beginning with a number.
func declare(addr string, from, n int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var dst []byte
	for i := range n {
		dst = wire.AppendField(wire.AppendRequestLine(dst, "GET", "/"), "cmd", "declare")
		dst = wire.AppendBody(wire.AppendField(dst, "topic", fmt.Sprint("t", from+i)), nil)
	}
	if _, err := conn.Write(dst); err != nil {
		return err
	}
	r := wire.NewReader(conn, wire.Limits{})
	for range n {
		if m, err := r.Read(); err != nil || m.Status != 200 {
			return fmt.Errorf("declare: %+v, %w", m, err)
		}
	}
	return nil
}

// topicsKnown is how many topics of all servers a server knows.
func topicsKnown(t *testing.T, addr string) (sum int) {
	t.Helper()
	for _, s := range servers(t, addr) {
		sum += int(s["topics"].(float64))
	}
	return sum
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pushes are what a tracker has pushed.
type pushes struct{ frames, bytes int64 }

func (p pushes) less(before pushes) string {
	return fmt.Sprintf("%d pushes with %d KB", p.frames-before.frames, (p.bytes-before.bytes)>>10)
}

// listener counts what a tracker pushes.
type listener struct{ frames, bytes atomic.Int64 }

func (l *listener) count() pushes { return pushes{l.frames.Load(), l.bytes.Load()} }

// listen subscribes to a tracker until the test ends.
func listen(t *testing.T, addr string, fields ...string) *listener {
	t.Helper()
	c, l, done := connect(t, addr), new(listener), make(chan struct{})
	_ = c.conn.SetDeadline(time.Time{})
	c.send("track_sub", nil, fields...)
	c.receive()
	go func() {
		defer close(done)
		for {
			m, err := c.r.Read()
			if err != nil {
				return
			}
			l.frames.Add(1)
			l.bytes.Add(int64(len(m.Body)))
		}
	}()
	t.Cleanup(func() {
		_ = c.conn.Close()
		<-done
	})
	return l
}
