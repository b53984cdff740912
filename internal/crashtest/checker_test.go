package crashtest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// report is the outcome of a run. Everything from Lost to Forgotten has to be 0.
type report struct {
	Seed       uint64 `json:"seed"`
	Durability string `json:"durability"`
	Rounds     int    `json:"rounds"`
	Stored     int    `json:"stored"`
	Answered   int    `json:"answered"`
	Acked      int    `json:"acked"`

	Lost       int `json:"lost"`        // answered publishes that are not there
	Phantom    int `json:"phantom"`     // messages that nobody sent
	Wrong      int `json:"wrong_bytes"` // messages with another body than was sent
	Reordered  int `json:"reordered"`   // offsets against the order of sending
	Duplicated int `json:"duplicated"`  // messages stored twice
	Refused    int `json:"refused"`     // publishes and acks answered with an error
	Skipped    int `json:"skipped"`     // messages the auto group never got
	Regressed  int `json:"regressed"`   // deliveries against the order within a connection
	AckUndone  int `json:"ack_undone"`  // deliveries after an answered ack
	Twice      int `json:"twice"`       // deliveries to two consumers at once
	Forgotten  int `json:"forgotten"`   // messages that were never acked and never came back

	Unanswered int   `json:"unanswered"`  // publishes under way at a kill
	Repeated   int   `json:"repeated"`    // deliveries of the auto group after a kill that had arrived before
	Redelivers int   `json:"redelivered"` // deliveries of the explicit group that had arrived before
	RestartP50 int64 `json:"restart_ms_p50"`
	RestartMax int64 `json:"restart_ms_max"`
}

// faults is how often a promise was broken.
func (r *report) faults() int {
	return r.Lost + r.Phantom + r.Wrong + r.Reordered + r.Duplicated + r.Refused + r.Skipped + r.Regressed +
		r.AckUndone + r.Twice + r.Forgotten
}

func (r *report) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// What the checker knows of a message in the explicit group.
const (
	delivered = 1 << iota // some consumer got it
	asked                 // an ack was sent
	acked                 // an ack was answered
)

// checker compares what the clients saw with what the broker has. It is used by
// the test's goroutine alone.
type checker struct {
	t        *testing.T
	found    report
	lanes    map[string]*lane
	next     map[string]int // by lane: the lowest number that may come
	there    map[string][]int
	log      []string // ids by offset
	auto     int64    // the auto group has got all below
	explicit []byte   // by offset
	restarts []time.Duration
}

func newChecker(t *testing.T, seed uint64, durability string) *checker {
	return &checker{
		t: t, found: report{Seed: seed, Durability: durability},
		lanes: map[string]*lane{}, next: map[string]int{}, there: map[string][]int{},
	}
}

// round checks one life of the broker, after the next has begun.
func (k *checker) round(p *process, r *round, number int) {
	k.found.Rounds++
	end := &lane{name: "end" + strconv.Itoa(number), sent: 1, answered: []int{0}}
	for _, l := range append(r.lanes, end) {
		k.lanes[l.name] = l
	}
	c := p.dial()
	defer c.Close()
	c.put(end.body(0), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderID, end.id(0)))
	c.must(field(wire.HeaderCmd, wire.CmdPing)) // reads the answer to the publish
	if _, err := c.r.Read(); err != nil {
		k.t.Fatal(err)
	}
	k.readLog(p, end)
	for _, l := range append(r.lanes, end) {
		k.lane(l)
	}
	k.follow(r.auto)
	k.works(r.works)
}

// readLog reads what is new in the log, up to the end marker of this round.
func (k *checker) readLog(p *process, end *lane) {
	c := p.dial()
	defer c.Close()
	c.must(field(wire.HeaderCmd, wire.CmdRelocate), field(wire.HeaderTopic, topic),
		field(wire.HeaderConsumeGroup, verifyGroup), field(wire.HeaderOffset, strconv.Itoa(len(k.log))))
	if err := c.consume(verifyGroup); err != nil {
		k.t.Fatal(err)
	}
	for last := ""; last != end.id(0); {
		m, offset, err := c.next(verifyGroup, nil)
		if err != nil {
			k.t.Fatalf("reading the log at offset %d: %v", len(k.log), err)
		}
		if offset != int64(len(k.log)) {
			k.t.Fatalf("the log continues with offset %d after %d", offset, len(k.log)-1)
		}
		last = m.Get(wire.HeaderOriginID)
		k.stored(last, m.Body)
	}
}

// stored checks one message of the log.
func (k *checker) stored(id string, body []byte) {
	k.log = append(k.log, id)
	k.explicit = append(k.explicit, 0)
	k.found.Stored++
	name, n, ok := parseID(id)
	l := k.lanes[name]
	switch {
	case !ok || l == nil || n >= l.sent:
		k.found.Phantom++
		return
	case !bytes.Equal(body, l.body(n)):
		k.found.Wrong++
	}
	switch {
	case n >= k.next[name]:
		k.next[name] = n + 1
	case slices.Contains(k.there[name], n):
		k.found.Duplicated++
	default:
		k.found.Reordered++
	}
	k.there[name] = append(k.there[name], n)
}

// lane checks that every answered publish is there. Both lists are in order,
// unless that was found out already.
func (k *checker) lane(l *lane) {
	there := slices.Clone(k.there[l.name])
	slices.Sort(there)
	for _, n := range l.answered {
		if _, ok := slices.BinarySearch(there, n); !ok {
			k.found.Lost++
		}
	}
	k.found.Answered += len(l.answered)
	k.found.Unanswered += l.sent - len(l.answered)
	k.found.Refused += l.refused
	delete(k.there, l.name)
}

// follow checks the deliveries of the auto group: a new connection may begin
// with messages that arrived before, but behind none that did not.
func (k *checker) follow(t taken) {
	for i, o := range t.offsets {
		switch {
		case i > 0 && o <= t.offsets[i-1]:
			k.found.Regressed++
		case o > k.auto:
			k.found.Skipped += int(o - k.auto)
		case o < k.auto:
			k.found.Repeated++
		}
		k.auto = max(k.auto, o+1)
	}
}

// works checks the deliveries of the explicit group. Within one life of the
// broker nothing is given back, so no message may come twice.
func (k *checker) works(all []taken) {
	seen := map[int64]bool{}
	for _, t := range all {
		for _, o := range t.offsets {
			if seen[o] {
				k.found.Twice++
			}
			seen[o] = true
			if k.mark(o)&acked != 0 {
				k.found.AckUndone++
			}
			if k.mark(o)&delivered != 0 {
				k.found.Redelivers++
			}
		}
	}
	for _, t := range all {
		k.found.Refused += t.refused
		k.found.Acked += len(t.acked)
		for _, o := range t.offsets {
			k.setMark(o, delivered)
		}
		for o := range t.asked {
			k.setMark(o, asked)
		}
		for _, o := range t.acked {
			k.setMark(o, acked)
		}
	}
}

func (k *checker) mark(offset int64) byte {
	if offset < int64(len(k.explicit)) {
		return k.explicit[offset]
	}
	return 0
}

// setMark notes something of a message; one that is not in the log is a phantom
// that a consumer got.
func (k *checker) setMark(offset int64, mark byte) {
	if offset >= int64(len(k.explicit)) {
		k.found.Phantom++
		return
	}
	k.explicit[offset] |= mark
}

// drain consumes what is left in both groups: whatever was not settled has to
// be there still.
func (k *checker) drain(p *process) {
	c := p.dial()
	defer c.Close()
	if err := c.consume(autoGroup); err != nil {
		k.t.Fatal(err)
	}
	var auto taken
	for last := int64(-1); last < int64(len(k.log))-1; {
		m, offset, err := c.next(autoGroup, nil)
		if m == nil {
			k.t.Errorf("draining the auto group after offset %d of %d: %v", last, len(k.log), err)
			break
		}
		last = offset
		auto.offsets = append(auto.offsets, offset)
	}
	k.follow(auto)
	k.found.Skipped += len(k.log) - int(k.auto)
	k.drainExplicit(p)
}

func (k *checker) drainExplicit(p *process) {
	left := map[int64]bool{}
	for o, mark := range k.explicit {
		if mark&asked == 0 {
			left[int64(o)] = true // the ack of the others may have been stored, answered or not
		}
	}
	c := p.dial()
	defer c.Close()
	if err := c.consume(explicitGroup); err != nil {
		k.t.Fatal(err)
	}
	var t taken
	for len(left) > 0 {
		m, offset, err := c.next(explicitGroup, t.answer)
		if m == nil {
			k.t.Errorf("draining the explicit group, %d messages are missing: %v", len(left), err)
			break
		}
		delete(left, offset)
		t.offsets = append(t.offsets, offset)
		c.ack(offset, m.Get(wire.HeaderHandle))
		if err := c.w.Flush(); err != nil {
			k.t.Fatal(err)
		}
	}
	k.found.Forgotten += len(left)
	k.works([]taken{t})
}

// done completes the report.
func (k *checker) done() *report {
	slices.Sort(k.restarts)
	if n := len(k.restarts); n > 0 {
		k.found.RestartP50 = k.restarts[n/2].Milliseconds()
		k.found.RestartMax = k.restarts[n-1].Milliseconds()
	}
	return &k.found
}
