package contract

import (
	"strconv"
	"sync"
	"testing"
)

func TestConsumerStaysConnectedThroughARelocationAndGetsOldMessagesAgain(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/groups", object{"name": "g", "start": "earliest"}).want(201)
	consumer := b.native(t)
	consumer.send("consume id=c topic=T consume_group=g window=100")
	c.post("/topics/T/messages", make([]struct{}, 5)).want(201)
	consumer.delivered(0, 1, 2, 3, 4)
	cursorIs(c, 5)

	plan := c.post("/topics/T/groups/g/plans", object{"to": object{"offset": "2"}}).want(201)
	plan.is("topic", "T", "group", "g", "from", 5, "to", 2, "again", 3, "skipped", 0, "matching", 3, "exact", true,
		"inFlight", 0, "consumers", 1, "first.0.offset", 2, "last.2.offset", 4)
	consumer.quiet() // it changed nothing
	cursorIs(c, 5)
	if c.get("/plans/"+plan.str("id")).str("expires") != plan.str("expires") {
		t.Error("the plan changes when it is looked at")
	}

	moved := c.post("/plans/"+plan.str("id")+":apply", object{"reason": "they were lost"}).want(200)
	moved.is("entry.kind", "relocate", "entry.from", 5, "entry.to", 2, "entry.reason", "they were lost", "entry.retained", true)
	consumer.delivered(2, 3, 4)
	c.do("GET", "/plans/"+plan.str("id")).refused(404, "not_found")

	c.post("/topics/T/messages", make([]struct{}, 1)).want(201)
	consumer.delivered(5)
	consumer.quiet()
	cursorIs(c, 6)
}

// cursorIs waits until the group g of T is at an offset: an auto group's consumer
// has a message a moment before the group knows it.
func cursorIs(c *client, want int64) {
	c.t.Helper()
	eventually(c.t, "the cursor is at "+strconv.FormatInt(want, 10), func() bool {
		return c.get("/topics/T/groups/g").num("cursor") == want
	})
}

func TestRevertPutsTheCursorBackExactly(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 10)
	taken := c.post("/topics/T/groups/g:pull", object{"max": 6, "timeout": 5000}).want(200).each("deliveries", "handle")
	c.post("/topics/T/groups/g:ack", object{"handles": list{taken[0], taken[2], taken[5]}}).want(200)
	settled := fatesOf(c, 10)

	plan := c.post("/topics/T/groups/g/plans", object{"to": object{"offset": "8"}}).want(201)
	plan.is("from", 1, "to", 8, "again", 0, "skipped", 5, "inFlight", 3)
	moved := c.post("/plans/" + plan.str("id") + ":apply").want(200)
	moved.is("group.cursor", 8, "group.inFlight", 0, "group.lag", 2)
	c.post("/topics/T/groups/g:ack", object{"handles": taken[1:2]}).refused(409, "conflict")

	back := c.post("/journal/"+moved.str("entry.id")+":revert", object{"reason": "not that"}).want(200)
	back.is("group.cursor", 1, "entry.kind", "revert", "entry.from", 8, "entry.to", 1, "entry.reason", "not that", "group.lag", 7)
	// What was in flight is to be delivered again; what was settled stays so.
	for offset, was := range settled {
		want := was
		if was == "inFlight" {
			want = "pending"
		}
		if got := fatesOf(c, 10)[offset]; got != want {
			t.Errorf("message %d was %s and is %s, want %s", offset, was, got, want)
		}
	}
	consumer := b.native(t)
	consumer.send("consume id=c topic=T consume_group=g window=100")
	consumer.delivered(1, 3, 4, 6, 7, 8, 9)
	consumer.quiet()

	// A revert is journalled in turn and can be undone, too.
	forth := c.post("/journal/" + back.str("entry.id") + ":revert").want(200)
	forth.is("group.cursor", 8)
	journal := c.get("/topics/T/groups/g/journal")
	if kinds := journal.each("entries", "kind"); len(kinds) != 4 || kinds[0] != "revert" || kinds[2] != "relocate" || kinds[3] != "create" {
		t.Errorf("journal %v", kinds)
	}
	c.post("/journal/"+journal.str("entries.3.id")+":revert").refused(400, "invalid")
}

// fatesOf are the fates of the first n messages of T in its only group.
func fatesOf(c *client, n int) (all []string) {
	c.t.Helper()
	r := c.get("/topics/T/messages" + query("fates", "true", "limit", strconv.Itoa(n)))
	for i := range r.list("messages") {
		all = append(all, r.str("messages."+strconv.Itoa(i)+".fates.0.fate"))
	}
	return all
}

func TestFilterChangeIsReverted(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 0, object{"filter": "a"})
	c.do("PATCH", "/topics/T/groups/g", object{"filter": "b"}).want(200)
	entry := c.get("/topics/T/groups/g/journal").str("entries.0.id")
	c.post("/journal/"+entry+":revert").want(200).
		is("group.filter", "a", "entry.kind", "revert", "entry.filterFrom", "b", "entry.filterTo", "a")
	c.post("/journal/"+entry+":revert").refused(409, "conflict")
}

func TestOfTwoAppliesAtOnceOneWins(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 10)
	for round := range 10 {
		var wins, losses []*reply
		var mu sync.Mutex
		var all sync.WaitGroup
		var plans []string
		for _, to := range []int{2 + round%2, 7} {
			plans = append(plans, c.post("/topics/T/groups/g/plans", object{"to": object{"offset": to}}).want(201).str("id"))
		}
		for _, plan := range plans {
			rival := b.client(t)
			all.Go(func() {
				r, err := rival.try("POST", "/plans/"+plan+":apply")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if r.status == 200 {
					wins = append(wins, r)
				} else {
					losses = append(losses, r)
				}
			})
		}
		all.Wait()
		if len(wins) != 1 || len(losses) != 1 {
			t.Fatalf("%d won and %d lost", len(wins), len(losses))
		}
		lost := losses[0].refused(409, "conflict")
		lost.is("plan.from", wins[0].num("entry.to"), "plan.version", wins[0].str("group.version"))
		c.get("/topics/T/groups/g").is("cursor", wins[0].num("entry.to"))
		c.post("/plans/"+lost.str("plan.id")+":apply").want(200).is("entry.to", lost.num("plan.to"))
	}
}

func TestPlanThatWasAppliedConflictsUntilItsGroupIsGone(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 10)
	for range 10 {
		plan := c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201).str("id")
		replies := make([]*reply, 3)
		var all sync.WaitGroup
		for i := range replies {
			rival := b.client(t)
			all.Go(func() {
				r, err := rival.try("POST", "/plans/"+plan+":apply")
				if err != nil {
					t.Error(err)
				}
				replies[i] = r
			})
		}
		all.Wait()
		wins := 0
		for _, r := range append(replies, c.post("/plans/"+plan+":apply")) {
			if r.status == 200 {
				wins++
				continue
			}
			r.refused(409, "conflict").is("plan.from", 10, "plan.to", 10)
		}
		if wins != 1 {
			t.Fatalf("%d applies of a plan were done", wins)
		}
		c.do("GET", "/plans/"+plan).refused(404, "not_found")
		back := c.post("/topics/T/groups/g/plans", object{"to": "earliest"}).want(201).str("id")
		c.post("/plans/" + back + ":apply").want(200)
	}
	plan := c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201).str("id")
	other := c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201).str("id")
	c.post("/plans/" + plan + ":apply").want(200)
	for range 2 { // a plan that was refused stays so
		c.post("/plans/"+other+":apply").refused(409, "conflict").is("plan.from", 10)
	}
	c.do("DELETE", "/topics/T/groups/g").want(204)
	c.post("/plans/"+plan+":apply").refused(404, "not_found")
	c.post("/plans/"+other+":apply").refused(404, "not_found")
}

func TestPlanIsRefusedWhenTheCursorWentTooFar(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 10, object{"settle": "auto"})
	strict := c.post("/topics/T/groups/g/plans", object{"to": "latest", "tolerance": "1"}).want(201)
	loose := c.post("/topics/T/groups/g/plans", object{"to": "latest", "tolerance": "3"}).want(201)
	c.post("/topics/T/groups/g:pull", object{"max": 2, "timeout": 5000}).want(200)
	cursorIs(c, 2)
	c.post("/plans/"+strict.str("id")+":apply").refused(409, "conflict", "tolerance").is("plan.from", 2, "plan.skipped", 8, "plan.tolerance", 1)
	c.post("/plans/"+loose.str("id")+":apply").want(200).is("entry.from", 2, "entry.to", 10)
}

func TestPlanSurvivesNeitherRestartNorTheGroup(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 3)
	plan := c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201).str("id")
	b = b.restart(t)
	c = b.client(t)
	c.do("GET", "/plans/"+plan).refused(404, "not_found")
	c.post("/plans/"+plan+":apply").refused(404, "not_found")
	c.get("/topics/T/groups/g").is("cursor", 0)

	plan = c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201).str("id")
	c.do("DELETE", "/topics/T/groups/g").want(204)
	c.post("/topics/T/groups", object{"name": "g", "start": "earliest"}).want(201)
	c.post("/plans/"+plan+":apply").refused(404, "not_found")
	c.do("GET", "/plans/"+plan).refused(404, "not_found")
	c.get("/topics/T/groups/g").is("cursor", 0)
}

func TestJournalSurvivesARestart(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 3)
	plan := c.post("/topics/T/groups/g/plans", object{"to": object{"shift": "2"}}).want(201).is("to", 2)
	entry := c.post("/plans/" + plan.str("id") + ":apply").want(200).str("entry.id")
	c = b.restart(t).client(t)
	c.get("/topics/T/groups/g").is("cursor", 2)
	c.post("/journal/"+entry+":revert").want(200).is("group.cursor", 0)
}

// What retention dropped no longer needs settling: a group that was behind is where
// the log begins, for all who say where it is.
func TestGroupBehindRetentionIsWhereTheLogBegins(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	explicitGroup(c, 20)
	c.do("PATCH", "/topics/T", object{"retention": object{"maxCount": "5"}}).want(200)
	eventually(t, "retention works", func() bool { return c.get("/topics/T").num("firstOffset") == 15 })
	c.get("/topics/T/groups/g").is("cursor", 15, "lag", 5)
	c.get("/topics/T/groups").is("groups.0.cursor", 15)
	plan := c.post("/topics/T/groups/g/plans", object{"to": object{"shift": "2"}}).want(201).is("from", 15, "to", 17, "skipped", 2)
	c.post("/topics/T/groups", object{"name": "same", "start": object{"group": "g"}}).want(201).is("cursor", 15)
	c.do("PATCH", "/topics/T/groups/g", object{"filter": "#"}).want(200)
	c.get("/topics/T/groups/g/journal").is("entries.0.from", 15, "entries.0.to", 15, "entries.0.retained", true)
	plan = c.post("/plans/"+plan.str("id")+":apply").refused(409, "conflict").is("plan.from", 15)
	moved := c.post("/plans/"+plan.str("plan.id")+":apply").want(200).is("entry.from", 15, "entry.to", 17, "entry.retained", true)
	c.post("/journal/"+moved.str("entry.id")+":revert").want(200).is("group.cursor", 15)
}

// A shift may be any number that is one: the log ends before it does.
func TestShiftBeyondTheLogEndsAtItsEnd(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	explicitGroup(c, 20)
	c.do("PATCH", "/topics/T", object{"retention": object{"maxCount": "5"}}).want(200)
	eventually(t, "retention works", func() bool { return c.get("/topics/T").num("firstOffset") == 15 })
	for _, x := range []struct {
		from  any
		shift string
		want  int
	}{
		{"latest", "9223372036854775807", 20},
		{"latest", "-9223372036854775808", 15},
		{"latest", "-2", 18},
		{"earliest", "9223372036854775807", 20},
		{"earliest", "-9223372036854775808", 15},
		{"earliest", "2", 17},
	} {
		start := c.post("/topics/T/groups/g/plans", object{"to": x.from}).want(201).str("id")
		c.post("/plans/" + start + ":apply").want(200)
		to := object{"shift": x.shift}
		c.post("/topics/T/groups/g/plans", object{"to": to}).want(201).is("to", x.want)
		c.post("/messages:transaction", object{"relocations": list{object{"topic": "T", "group": "g", "to": to}}}).want(200)
		c.get("/topics/T/groups/g").is("cursor", x.want)
	}
}
