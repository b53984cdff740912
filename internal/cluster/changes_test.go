package cluster_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// A server that follows a tracker is told of what has changed; clients get the whole table.
func TestTrackersTellServersWhatHasChanged(t *testing.T) {
	t.Parallel()
	all := set(t, 3)
	list := addrs(all)
	client := subscribe(t, list[0])
	client.until(list...)
	server := connect(t, list[0])
	id := server.send("track_sub", nil, "scope", "all")
	m := server.receive()
	if first := table(t, m); m.Get("id") != id || len(first.ServerTable) != 3 || len(first.Unchanged) != 0 {
		t.Fatalf("first: %s", m.Body)
	}
	for i, topic := range []string{"tracker.s", "another.s"} {
		connect(t, list[i]).ok("declare", "topic", topic)
		for told := false; !told; {
			push := table(t, server.receive())
			if _, told = push.ServerTable[list[i]].TopicTable[topic]; len(push.ServerTable) == 0 || !slices.Contains(push.Unchanged, list[2]) {
				t.Fatalf("after %q: %+v", topic, push)
			}
		}
		for {
			if client.next(); len(client.latest.ServerTable) != 3 || len(client.latest.Unchanged) != 0 {
				t.Fatalf("a client is told %+v", client.latest)
			}
			if _, ok := client.latest.ServerTable[list[i]].TopicTable[topic]; ok {
				break
			}
		}
	}
	// A server that is gone is not among the unchanged.
	if err := all[2].Stop(); err != nil {
		t.Fatal(err)
	}
	for gone := false; !gone; {
		push := table(t, server.receive())
		if gone = !slices.Contains(push.Unchanged, list[2]); gone && (len(push.ServerTable)+len(push.Unchanged) != 2) {
			t.Errorf("after a server has gone: %+v", push)
		}
	}
}

// Counts of messages that others tell now and then are passed on with what else there is.
func TestCountsAloneAreNotPushed(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	server := zbustest.Start(t, tracked(tracker.Addr), func(c *config.Config) { c.BroadcastInterval = time.Second })
	c := connect(t, server.Addr)
	c.ok("declare", "topic", "orders")
	s := subscribe(t, tracker.Addr)
	for s.latest.ServerTable[server.Addr].TopicTable["orders"].TopicName == "" {
		s.next()
	}
	c.ok("produce", "topic", "orders")
	eventually(t, "the tracker is told of the message", func() bool {
		answer := request(t, tracker.Addr, "GET", "/topics?scope=cluster", "", false)
		topics := answer["topics"].([]any)
		return len(topics) == 1 && topics[0].(map[string]any)["depth"] == "1"
	})
	connect(t, tracker.Addr).ok("declare", "topic", "fence")
	for fence := false; !fence; {
		s.next()
		_, fence = s.latest.ServerTable[tracker.Addr].TopicTable["fence"]
		if counted := s.latest.ServerTable[server.Addr].TopicTable["orders"].MessageDepth == 1; counted != fence {
			t.Fatalf("counted: %t, with what else there was: %t", counted, fence)
		}
	}
}
