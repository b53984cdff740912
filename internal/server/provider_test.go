package server_test

import "testing"

// A service declares its topic, then consumes; a caller that hears of the topic in
// between is not turned away, and one that comes when nobody followed is.
func TestCallToATopicJustDeclaredWaitsForItsProvider(t *testing.T) {
	b := start(t)
	caller := b.dial(t)
	caller.ok("declare topic=calc topic_mask=2")
	caller.send("produce topic=calc ack=false id=first", "2+2")
	provider := b.dial(t)
	provider.send("consume topic=calc id=c")
	provider.recv().want(t, 200, "2+2").header(t, "origin_id", "first")

	caller.ok("declare topic=nobody topic_mask=2")
	for range 2 { // the first one times out, the second one not at all
		if a := caller.call("produce topic=nobody ack=false", "2+2"); a.Status != 503 {
			t.Errorf("got %d %q, want 503", a.Status, a.Body)
		}
	}
}
