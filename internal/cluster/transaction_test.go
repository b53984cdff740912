package cluster_test

import (
	"fmt"
	"strings"
	"testing"
)

// A transaction is one commit. Over topics of several servers it is refused with where these are.
func TestATransactionOverTopicsOfSeveralServersIsRefused(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "orders", "bills")
	connect(t, other.Addr).ok("declare", "topic", "here")
	transact := func(topics ...string) (answer, map[string]any) {
		var messages []string
		for _, topic := range topics {
			messages = append(messages, fmt.Sprintf(`{"topic":%q,"body":"x"}`, topic))
		}
		return ask(t, other.Addr, "POST", "/messages:transaction", `{"messages":[`+strings.Join(messages, ",")+`]}`)
	}
	for want, topics := range map[string][]string{
		"Topic(orders) is on " + owner.Addr + ", Topic(here) is here":              {"here", "orders"},
		"Topic(bills) is on " + owner.Addr + ", Topic(orders) is on " + owner.Addr: {"orders", "bills", "orders"},
	} {
		resp, v := transact(topics...)
		if detail, _ := v["detail"].(string); resp.StatusCode != 421 || !strings.HasSuffix(detail, ": "+want) || !strings.HasPrefix(detail, "nothing was done") {
			t.Errorf("%q: %s %v", topics, resp.Status, v)
		}
	}
	if resp, v := transact("here", "nowhere"); resp.StatusCode != 404 {
		t.Errorf("%s %v", resp.Status, v)
	}
	if resp, v := transact("here"); resp.StatusCode != 200 || len(v["messages"].([]any)) != 1 {
		t.Errorf("%s %v", resp.Status, v)
	}
	if depth := request(t, other.Addr, "GET", "/topics/here", "", false)["depth"]; depth != "1" {
		t.Errorf("%v messages, want that of the one transaction that was done", depth)
	}
}
