package zbus

import (
	"context"
	"time"
)

// Members is how many subscriptions and fetchers a client has of a group.
func Members(c *Client, topic, group string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in := c.intakes[placeOf(topic, group)]; in != nil {
		return len(in.members)
	}
	return 0
}

// FetchHeldUp begins a Fetch of a group that has been fetched from before, while the client is busy
// for a time.
func FetchHeldUp(ctx context.Context, c *Client, topic, group string, wait, busy time.Duration, ended chan<- error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.fetchers[placeOf(topic, group)]
	go func() {
		_, err := s.fetch(ctx, 1, wait)
		ended <- err
	}()
	<-time.After(busy)
}
