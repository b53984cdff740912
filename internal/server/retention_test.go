package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestATopicKeepsWhatItsRetentionSays(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	for _, limit := range []struct {
		name  string
		value int
		most  int // messages that stay of ten, of more than 40 and less than 200 bytes
		least int
	}{
		{"topic_max_count", 3, 3, 3},
		{"topic_max_bytes", 400, 9, 1},
		{"topic_max_age", 1, 0, 0},
	} {
		topic := " topic=" + limit.name
		c.ok(fmt.Sprint("declare ", limit.name, "=", limit.value, topic))
		for i := range 10 {
			c.ok("produce"+topic, strings.Repeat("x", 40)+fmt.Sprint(i))
		}
		c.until(limit.name, func() bool {
			var info struct{ MessageCount int }
			if err := json.Unmarshal(c.ok("query"+topic+" consume_group="+limit.name).Body, &info); err != nil {
				t.Fatal(err)
			}
			return info.MessageCount <= limit.most
		})
		got := c.drain(topic)
		if len(got) > limit.most || len(got) < limit.least {
			t.Errorf("%s: %d messages are left, want %d to %d", limit.name, len(got), limit.least, limit.most)
		}
		if len(got) > 0 && !strings.HasSuffix(got[len(got)-1], "9") {
			t.Errorf("%s: the newest message is gone", limit.name)
		}
	}
	if a := c.call("declare topic=T topic_max_count=-1"); a.Status != 400 {
		t.Errorf("negative limit: %d %q", a.Status, a.Body)
	}
}

// until waits for a condition that comes true by itself, asking again and again.
func (c *client) until(what string, reached func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !reached(); {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: did not happen", what)
		}
	}
}
