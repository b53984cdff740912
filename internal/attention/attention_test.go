package attention

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
)

// names lists what is the matter, the worst first.
func names(f Figures) (list []string) {
	for _, m := range Of(&f) {
		list = append(list, string(m.Kind)+" "+m.name()+" "+string(m.Level))
	}
	return list
}

func TestTheMostHarmComesFirstWhateverItsKind(t *testing.T) {
	got := names(Figures{
		Groups: []Group{
			{Topic: "old", Name: "abandoned", Lag: 12, Seconds: 600_000},
			{Topic: "orders", Name: "billing", Lag: 532_500, Seconds: 3600, In: 500, Out: 100, Rate: 100, Consumers: 2},
			{Topic: "orders", Name: "fine", Lag: 40, Seconds: 0.2, In: 500, Out: 500, Rate: 500, Consumers: 1},
			{Topic: "mail", Name: "smtp", Consumers: 1, Dead: 3, Delivered: 100},
			{Topic: "events", Name: "loop", Consumers: 1, Repeated: 4000, Delivered: 8000},
			{Topic: "audit", Name: "archive", Lag: 90_000, Seconds: 840, In: 100},
			{Topic: "stock", Name: "slow", Lag: 400, Seconds: 75, In: 5, Out: 6, Rate: 6, Consumers: 1},
			{Topic: "news", Name: "none", Consumers: 1, Filter: "eu.*", Unmatched: 10_000},
			{Topic: "night", Name: "held", Lag: 1_000_000, Seconds: 80_000, In: 100, Paused: true},
		},
		Services:   []Service{{Topic: "pricing", Waiting: 2, Rate: 40}, {Topic: "unused"}, {Topic: "works", Providers: 1, Rate: 800}},
		Backup:     Backup{Every: time.Hour, Age: 10 * time.Hour},
		Backlog:    100e6,
		Conditions: []condition.Condition{{Kind: "clock", Severity: condition.Warning}, {Kind: "disk", Severity: condition.Critical}, {Kind: "damage", Subject: "orders", Severity: condition.Warning}},
	})
	want := []string{
		"condition disk/ critical",
		"condition damage/orders critical",
		"unprovided pricing critical",
		"growing orders/billing critical",
		"unconsumed audit/archive critical",
		"redelivered events/loop critical",
		"backlog  warning",
		"condition clock/ warning",
		"unconsumed old/abandoned warning",
		"dead-letters mail/smtp warning",
		"backup-late  warning",
		"unmatched news/none warning",
		"behind stock/slow small",
		"paused night/held small",
		"unprovided unused small",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEachOfGrowthAgeAndSizeMakesALagWorse(t *testing.T) {
	base := Group{Topic: "t", Name: "g", Lag: 1000, Seconds: 120, In: 20, Out: 10, Rate: 10, Consumers: 1}
	harm := func(change func(*Group)) float64 {
		g := base
		change(&g)
		list := Of(&Figures{Groups: []Group{g}})
		if len(list) != 1 {
			t.Fatalf("%+v: %d matters, want one", g, len(list))
		}
		return list[0].Harm
	}
	before := harm(func(*Group) {})
	for name, change := range map[string]func(*Group){
		"more messages":    func(g *Group) { g.Lag *= 10 },
		"older":            func(g *Group) { g.Seconds *= 10 },
		"grows faster":     func(g *Group) { g.In *= 10 },
		"nothing consumes": func(g *Group) { g.Consumers, g.Rate = 0, 0 },
	} {
		if after := harm(change); after <= before {
			t.Errorf("%s: %.2f, want more than %.2f", name, after, before)
		}
	}
}

func TestWhatKeepsUpIsNoMatter(t *testing.T) {
	got := names(Figures{
		Groups: []Group{
			{Topic: "t", Name: "empty"},
			{Topic: "t", Name: "just-came", Lag: 5, Seconds: 2},
			{Topic: "t", Name: "pulled", Lag: 50, Seconds: 20, In: 4, Out: 4, Rate: 4},
			{Topic: "t", Name: "some-again", Consumers: 1, Repeated: 30, Delivered: 100_000},
			{Topic: "t", Name: "all", Consumers: 1, Unmatched: 10_000},
		},
		Services: []Service{{Topic: "s", Providers: 1}},
		Backup:   Backup{Every: time.Hour, Age: 90 * time.Minute},
	})
	late := Figures{
		Conditions: []condition.Condition{{Kind: "backup", Severity: condition.Warning}},
		Backup:     Backup{Every: time.Hour, Age: 9 * time.Hour},
	}
	if said := names(late); !slices.Equal(said, []string{"condition backup/ warning"}) {
		t.Errorf("of a backup that failed: %q, want it said once", said)
	}
	if len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}
