package contract

import (
	"encoding/json"
	"slices"
	"testing"
)

// sum adds up a list of a history, which is not there when it has only zeros.
func (r *reply) sum(name string) (all float64) {
	r.t.Helper()
	found, _ := r.at(name).(list)
	for _, v := range found {
		n, err := v.(json.Number).Float64()
		if err != nil {
			r.t.Fatal(err)
		}
		all += n
	}
	return all
}

func TestHistoryOfTopicsGroupsAndServicesIsKeptOverARestart(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 3)
	c.post("/topics/T/groups/g:pull", object{"max": 2}).want(200)
	c.post("/topics/T:pause").want(200)
	c.post("/topics/T:resume").want(200)
	c.do("PATCH", "/topics/T/groups/g", object{"filter": "a.*"}).want(200)
	c.do("PATCH", "/topics/T/groups/g", object{"filter": ""}).want(200)
	plan := c.post("/topics/T/groups/g/plans", object{"to": "earliest"}).want(201).str("id")
	c.post("/plans/" + plan + ":apply").want(200)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/rpc/calc", object{}).want(503) // nobody is there
	check := func() {
		t.Helper()
		topic := c.get("/topics/T/stats").is("range", "15m", "step", 1000, "count", 900, "last", 1000)
		if in, lag := topic.sum("in"), topic.sum("lag"); in != 3 || lag < 3 {
			t.Errorf("%v messages came, and lags add up to %v; want 3 and 3 or more", in, lag)
		}
		kinds := topic.each("marks", "kind")
		starts := slices.Index(kinds, "pause")
		if want := []string{"pause", "resume", "filter", "filter", "move"}; starts < 1 || !slices.Equal(slices.DeleteFunc(kinds, func(k string) bool { return k == "start" }), want) {
			t.Errorf("marks are %q, want starts and %q", kinds, want)
		}
		group := c.get("/topics/T/groups/g/stats")
		if out, slowest := group.sum("out"), group.sum("slowest"); out != 2 || slowest < 0 {
			t.Errorf("%v deliveries, the slowest after %v ms; want 2", out, slowest)
		}
		if kinds := group.each("marks", "kind"); !slices.Contains(kinds, "pause") || !slices.Contains(kinds, "move") {
			t.Errorf("marks are %q, want those of the topic, too", kinds)
		}
	}
	eventually(t, "what happened is in the history", func() bool {
		return c.get("/topics/T/groups/g/stats").sum("out") > 0 && c.get("/topics/T/stats").sum("in") > 0
	})
	check()
	c.get("/topics/T/stats?range=24h").is("step", 15_000, "count", 5760)
	c.get("/topics/T/groups/g/stats?range=30d").is("step", 600_000, "count", 4320)
	if gaps := c.get("/topics/calc/stats").list("gaps"); len(gaps) != 1 {
		t.Errorf("gaps %v, want one, until the broker was started", gaps)
	}
	c = b.restart(t).client(t)
	check()
	c.do("GET", "/topics/none/stats").want(404)
	c.do("GET", "/topics/T/groups/none/stats").want(404)
}
