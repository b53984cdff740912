package server_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// maskOf is the mask in an answer that describes a topic or a group.
func (c *client) maskOf(command string) int64 {
	c.t.Helper()
	var info struct{ Mask int64 }
	if err := json.Unmarshal(c.ok(command).Body, &info); err != nil {
		c.t.Fatal(err)
	}
	return info.Mask
}

// Clients get back the masks that they declared, whatever the bits mean here.
func TestMasksComeBackAsTheyWereDeclared(t *testing.T) {
	t.Parallel()
	c := start(t).dial(t)
	c.ok("declare topic=T")
	for bits := range int64(256) {
		mask := bits&127 | bits&128<<13 // the last stands for all that mean nothing
		topic, group := fmt.Sprintf(" topic=t%d", mask), fmt.Sprintf(" topic=T consume_group=g%d", mask)
		for _, command := range []string{
			fmt.Sprintf("declare topic_mask=%d%s", mask, topic), "declare" + topic, "query" + topic,
			fmt.Sprintf("declare group_mask=%d%s", mask, group), "declare" + group, "query" + group,
		} {
			if got := c.maskOf(command); got != mask {
				t.Errorf("%s: mask %d", command, got)
			}
		}
	}
}

// What a topic carries is fixed when it is created. A log topic whose mask then says that it
// carries calls keeps that mask, and its messages.
func TestADeclarationDoesNotChangeWhatATopicCarries(t *testing.T) {
	t.Parallel()
	c := start(t).dial(t)
	for _, x := range []struct{ created, declared, want int64 }{
		{0, 2, 2},
		{0, 4, 4},
		{0, 1, 0},
		{0, 7, 6},
		{1, 0, 1},
		{1, 2, 3},
		{1, 4, 5},
		{2, 0, 2},
		{2, 1, 3},
		{2, 4, 2},
		{2, 3, 3},
		{4, 0, 4},
		{4, 2, 6},
		{4, 3, 7},
		{4, 1, 5},
	} {
		topic := fmt.Sprintf(" topic=%dthen%d", x.created, x.declared)
		c.ok(fmt.Sprintf("declare topic_mask=%d%s", x.created, topic))
		for _, command := range []string{fmt.Sprintf("declare topic_mask=%d%s", x.declared, topic), "query" + topic} {
			if got := c.maskOf(command); got != x.want {
				t.Errorf("%s: mask %d, want %d", command, got, x.want)
			}
		}
	}
}
