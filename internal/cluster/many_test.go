package cluster_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// What the table costs where many servers join two trackers: how long until all know a change,
// and how much memory a server takes.
func TestManyServersKnowOfEachOther(t *testing.T) {
	const n = 10
	topics := faultreport.Scale(t, 5, 20)
	trackers := set(t, 2)
	list := addrs(trackers)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := trackers
	for range n - len(trackers) {
		all = append(all, zbustest.Start(t, tracked(list...), func(c *config.Config) { c.Durability = config.Relaxed }))
	}
	subs := []*subscriber{subscribe(t, list[0]), subscribe(t, list[1])}
	for _, s := range subs {
		s.until(addrs(all)...)
	}
	began := time.Now()
	for i, b := range all {
		c := connect(t, b.Addr)
		for j := range topics {
			c.send("declare", nil, "topic", fmt.Sprint("t", i, ".", j))
		}
		for range topics {
			if m := c.receive(); m.Status != 200 {
				t.Fatalf("%d %s", m.Status, m.Body)
			}
		}
	}
	told := func(s *subscriber) (count int) {
		for _, server := range s.latest.ServerTable {
			count += len(server.TopicTable)
		}
		return count
	}
	for _, s := range subs {
		for told(s) < n*topics {
			s.next()
		}
	}
	everywhere := time.Since(began)
	// One more topic, of one server, in the table of all.
	began = time.Now()
	connect(t, all[n-1].Addr).ok("declare", "topic", "one.more")
	for _, s := range subs {
		for told(s) < n*topics+1 {
			s.next()
		}
	}
	one := time.Since(began)
	last := connect(t, all[2].Addr)
	began = time.Now()
	eventually(t, "a server that only joins passes on to the last one", func() bool { return last.ask("produce", nil, "topic", "one.more").Status == 200 })
	passed := time.Since(began)
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	r := faultreport.Record{Test: "many-servers", Fault: "many servers with two trackers, in one process", Promise: "every tracker lists all topics of all servers, and every server passes on to all", Runs: n}
	r.Add("servers", n)
	r.Add("topics", n*topics+1)
	r.Add("declared and in both tables after", everywhere.Round(time.Millisecond))
	r.Add("one more topic in both tables after", one.Round(time.Millisecond))
	r.Add("another server passes on to it after", passed.Round(time.Millisecond))
	r.Add("live heap a server, KB", (int64(after.HeapAlloc)-int64(before.HeapAlloc))/int64(n)/1024)
	r.Save(t)
}
