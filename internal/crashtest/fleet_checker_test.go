package crashtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/zbus"
)

// A checker that finds nothing proves nothing: each fault that it is there for is planted.
func TestFleetCheckerFindsEachFault(t *testing.T) {
	t.Parallel()
	unknown := fmt.Errorf("cut: %w", zbus.ErrUnknownOutcome)
	refused := errors.New("refused")
	began := time.Now()
	at := func(second int, attempt int) arrival {
		return arrival{attempt, began.Add(time.Duration(second) * time.Second)}
	}
	sound := func() (*ledger, map[string][]int) {
		return &ledger{
			published: map[string]error{"yes": nil, "perhaps": unknown, "stored perhaps": unknown, "no": refused},
			delivered: map[string][]arrival{"yes": {at(1, 1), at(2, 2), at(7, 1)}, "stored perhaps": {at(1, 1)}},
			killed:    []killed{{0, began}, {1, began.Add(5 * time.Second)}},
			called:    map[string]error{"yes": nil, "perhaps": unknown, "no": refused},
			ran:       map[string]int{"yes": 1, "perhaps": 1},
		}, map[string][]int{"yes": {1}, "stored perhaps": {0}}
	}
	for name, plant := range map[string]func(*ledger, map[string][]int){
		"":                                 func(*ledger, map[string][]int) {},
		"an answered publish is lost":      func(_ *ledger, on map[string][]int) { delete(on, "yes") },
		"an answered one is stored twice":  func(_ *ledger, on map[string][]int) { on["yes"] = []int{0, 1} },
		"an unknown one is stored twice":   func(_ *ledger, on map[string][]int) { on["stored perhaps"] = []int{0, 1} },
		"a refused one is stored":          func(_ *ledger, on map[string][]int) { on["no"] = []int{0} },
		"a first delivery comes twice":     func(l *ledger, _ map[string][]int) { l.delivered["yes"] = []arrival{at(1, 1), at(2, 1)} },
		"and another server was killed":    func(l *ledger, _ map[string][]int) { l.killed[1].server = 0 },
		"a message of nobody is delivered": func(l *ledger, _ map[string][]int) { l.delivered["whose"] = []arrival{at(1, 1)} },
		"a refused one is delivered":       func(l *ledger, _ map[string][]int) { l.delivered["no"] = []arrival{at(1, 1)} },
		"an answered call did not run":     func(l *ledger, _ map[string][]int) { delete(l.ran, "yes") },
		"an answered call ran twice":       func(l *ledger, _ map[string][]int) { l.ran["yes"]++ },
		"an unknown call ran twice":        func(l *ledger, _ map[string][]int) { l.ran["perhaps"]++ },
		"a refused call ran":               func(l *ledger, _ map[string][]int) { l.ran["no"]++ },
	} {
		l, on := sound()
		plant(l, on)
		if found := l.check(on).broken; (len(found) > 0) != (name != "") {
			t.Errorf("%q: found %q", name, found)
		}
	}
}
