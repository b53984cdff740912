package access

import (
	"testing"

	"pgregory.net/rapid"
)

// What is said to be contained in other grants allows nothing that these don't.
func TestContainedGrantsAllowNoMore(t *testing.T) {
	verb := rapid.SampledFrom([]string{"publish", "consume", "manage", "publish,consume", "consume,move", "observe", "access", "admin", "observe,access"})
	pattern := rapid.SampledFrom([]string{"#", "a", "A", "a.b", "a.#", "a.*", "+", "a;b", "!a", "{account}", "a.{account}", "a.+;!a.b", "*"})
	text := rapid.Custom(func(rt *rapid.T) string {
		v := verb.Draw(rt, "verb")
		if _, err := parseGrant(v, "x"); err == nil {
			return v
		}
		s := v + ":" + pattern.Draw(rt, "topic")
		if grouped := s + "/" + pattern.Draw(rt, "group"); CheckGrants([]string{grouped}) == nil && rapid.Bool().Draw(rt, "grouped") {
			return grouped
		}
		return s
	})
	names := []string{"a", "b", "a.b", "a.c", "a.b.c", "x", "a.x", "c"}
	yes := 0
	rapid.Check(t, func(rt *rapid.T) {
		others := compile(rapid.SliceOfN(text, 1, 4).Draw(rt, "others"), "x", "")
		g := compile([]string{text.Draw(rt, "grant")}, "x", "")[0]
		if !contained(g, others, "x") {
			return
		}
		yes++
		for v := Verb(1); v < See; v <<= 1 {
			topics, groups := names, append([]string{""}, names...)
			if !v.OfTopics() {
				topics, groups = []string{""}, []string{""}
			}
			for _, topic := range topics {
				for _, group := range groups {
					if q := (question{v, topic, group}); covered([]grant{g}, q) && !covered(others, q) {
						rt.Fatalf("%s allows %s %s/%s, and %v do not", g.text, v, topic, group, others)
					}
				}
			}
		}
	})
	if yes < 5 {
		t.Errorf("%d were contained", yes)
	}
	for text, want := range map[string]bool{
		"publish:orders.eu": true, "publish:orders.#": true, "publish:orders.+": false, "consume:jobs/g": true, "consume:jobs": false,
		"consume:jobs/h": false, "browse:any.#": true, "publish,browse:orders.eu": true, "publish,consume:orders.eu": false, "admin": false,
	} {
		g := compile([]string{text}, "x", "")[0]
		if got := contained(g, compile([]string{"publish:orders.#", "consume:jobs/g", "browse:#"}, "x", ""), "x"); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
