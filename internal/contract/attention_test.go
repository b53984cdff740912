package contract

import (
	"fmt"
	"slices"
	"testing"
)

// matters are what GET /attention lists, as kind and name, the worst first.
func matters(c *client) (list []string) {
	for _, m := range c.get("/attention").want(200).list("matters") {
		m := m.(map[string]any)
		name := fmt.Sprint(m["topic"])
		if g := m["group"]; g != nil {
			name += "/" + fmt.Sprint(g)
		}
		list = append(list, fmt.Sprint(m["kind"], " ", name))
	}
	return list
}

// What is wrong is found in the figures of a real broker, and what is not is not.
func TestAttentionFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "orders"})
	c.post("/topics", object{"name": "pricing", "kind": "rpc"})
	c.post("/topics/orders/groups", object{"name": "none", "filter": "ap.*", "start": "earliest"})
	c.post("/topics/orders/groups", object{"name": "fragile", "settle": "explicit", "maxDeliver": 1, "start": "earliest"})
	c.post("/topics/orders/groups", object{"name": "fine", "filter": "us.*", "start": "latest"})
	messages := list{}
	for i := range 1500 {
		messages = append(messages, object{"tag": []string{"eu.de", "us.ca"}[i%2], "body": "x"})
	}
	c.post("/topics/orders/messages", messages).want(201)
	got := c.post("/topics/orders/groups/fragile:pull", object{"max": 3}).want(200)
	handles := list{}
	for _, d := range got.list("deliveries") {
		handles = append(handles, d.(map[string]any)["handle"])
	}
	c.post("/topics/orders/groups/fragile:nack", object{"handles": handles}).want(200)
	eventually(t, "all of it is found", func() bool {
		found := matters(c)
		for _, want := range []string{"unmatched orders/none", "dead-letters orders/fragile", "unprovided pricing"} {
			if !slices.Contains(found, want) {
				return false
			}
		}
		return !slices.Contains(found, "unmatched orders/fine") && !slices.Contains(found, "unmatched orders/fragile")
	})
	answer := c.get("/attention").want(200)
	if n := len(answer.list("matters")); n != int(answer.num("critical")+answer.num("warning")+answer.num("small")) {
		t.Errorf("%d matters, and %v", n, answer)
	}
	// A filter that lets some through again is nothing to look at.
	c.do("PATCH", "/topics/orders/groups/none", object{"filter": "eu.*"}).want(200)
	eventually(t, "the filter is no longer named", func() bool { return !slices.Contains(matters(c), "unmatched orders/none") })
}
