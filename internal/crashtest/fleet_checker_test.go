package crashtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rushmore/zbus-go/zbus"
)

// A checker that finds nothing proves nothing: each fault that it is there for is planted.
func TestFleetCheckerFindsEachFault(t *testing.T) {
	t.Parallel()
	unknown := fmt.Errorf("cut: %w", zbus.ErrUnknownOutcome)
	refused := errors.New("refused")
	sound := func() (*ledger, map[string]int) {
		return &ledger{
			published: map[string]error{"yes": nil, "perhaps": unknown, "stored perhaps": unknown, "no": refused},
			delivered: map[string][]int{"yes": {1, 2}, "stored perhaps": {1}},
			called:    map[string]error{"yes": nil, "perhaps": unknown, "no": refused},
			ran:       map[string]int{"yes": 1, "perhaps": 1},
		}, map[string]int{"yes": 1, "stored perhaps": 1}
	}
	for name, plant := range map[string]func(*ledger, map[string]int){
		"":                                 func(*ledger, map[string]int) {},
		"an answered publish is lost":      func(_ *ledger, on map[string]int) { delete(on, "yes") },
		"an answered one is stored twice":  func(_ *ledger, on map[string]int) { on["yes"]++ },
		"an unknown one is stored twice":   func(_ *ledger, on map[string]int) { on["stored perhaps"]++ },
		"a refused one is stored":          func(_ *ledger, on map[string]int) { on["no"]++ },
		"a first delivery comes twice":     func(l *ledger, _ map[string]int) { l.delivered["yes"] = []int{1, 1} },
		"a message of nobody is delivered": func(l *ledger, _ map[string]int) { l.delivered["whose"] = []int{1} },
		"a refused one is delivered":       func(l *ledger, _ map[string]int) { l.delivered["no"] = []int{1} },
		"an answered call did not run":     func(l *ledger, _ map[string]int) { delete(l.ran, "yes") },
		"an answered call ran twice":       func(l *ledger, _ map[string]int) { l.ran["yes"]++ },
		"an unknown call ran twice":        func(l *ledger, _ map[string]int) { l.ran["perhaps"]++ },
		"a refused call ran":               func(l *ledger, _ map[string]int) { l.ran["no"]++ },
	} {
		l, on := sound()
		plant(l, on)
		if found := l.check(on).broken; (len(found) > 0) != (name != "") {
			t.Errorf("%q: found %q", name, found)
		}
	}
}
