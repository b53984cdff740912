package contract

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanCountsWhatBrowsingShows(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(c, rt)
		all, first, next := w.log()
		place := rapid.Int64Range(0, next+2).Draw(rt, "to")
		tolerance := rapid.SampledFrom([]string{"0", "5"}).Draw(rt, "tolerance")
		plan := c.post("/topics/T/groups/g/plans", object{"to": object{"offset": place}, "tolerance": tolerance, "examples": 3}).want(201)
		to := min(max(place, first), next)
		var again, skipped, matching, bytes, pending int64
		for _, m := range all {
			passed := passes(w.filter, m.tag)
			switch behind := m.offset >= to; {
			case behind && m.settled:
				again++
			case !behind && !m.settled:
				skipped++
			default:
				passed = false
			}
			if passed {
				matching++
				bytes += m.size
			}
			if m.offset >= to && passes(w.filter, m.tag) {
				pending++
			}
		}
		plan.is("to", to, "again", again, "skipped", skipped, "matching", matching, "bytes", bytes, "exact", true, "pending", pending)
		if t.Failed() {
			rt.Fatalf("of %+v, filter %q, acked %v: %s", all, w.filter, w.acked, plan.raw)
		}
		moved := c.post("/plans/" + plan.str("id") + ":apply").want(200)
		moved.is("group.cursor", to, "group.lag", pending)
		if t.Failed() {
			rt.Fatalf("after the plan: %s", moved.raw)
		}
	})
}

func TestFilterTestCountsWhatBrowsingShows(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(c, rt)
		all, _, _ := w.log()
		filter := rapid.SampledFrom(someFilters).Draw(rt, "new filter")
		last := rapid.IntRange(1, 60).Draw(rt, "last")
		report := c.post("/topics/T/filters:test", object{"filter": filter, "group": "g", "last": last}).want(200)
		all = all[max(0, len(all)-last):]
		counts, tags := map[string]int64{}, map[string]int64{}
		for _, m := range all {
			tags[m.tag]++
			now, was := passes(filter, m.tag), passes(w.filter, m.tag)
			for name, counted := range map[string]bool{
				"matched": now, "unmatched": !now, "kept": now && was, "lost": was && !now, "gained": now && !was,
				"pendingLost": was && !now && !m.settled,
			} {
				if counted {
					counts[name]++
				}
			}
		}
		for _, name := range []string{"matched", "unmatched", "kept", "lost", "gained", "pendingLost"} {
			report.is(name, counts[name])
		}
		report.is("scanned", int64(len(all)))
		if got := report.list("byTag"); len(got) != len(tags) {
			t.Errorf("byTag has %v, want %v", got, tags)
		}
		for i, tag := range report.each("byTag", "tag") {
			at := "byTag." + strconv.Itoa(i) + "."
			report.is(at+"count", tags[tag], at+"matched", passes(filter, tag), at+"wasMatched", passes(w.filter, tag))
		}
		if t.Failed() {
			rt.Fatalf("of %+v, filter %q, then %q: %s", all, w.filter, filter, report.raw)
		}
	})
}
