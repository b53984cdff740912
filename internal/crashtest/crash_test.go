package crashtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Settings of a longer run, from the environment.
const (
	roundsVariable     = "ZBUS_CRASH_ROUNDS"
	seedVariable       = "ZBUS_CRASH_SEED"
	durabilityVariable = "ZBUS_CRASH_DURABILITY"
)

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// crashes kills a broker again and again and reports what was wrong in the end,
// or as soon as the fault that is looked for was found, if one is.
func crashes(t *testing.T, p *process, rounds int, durability string, fault func(*report) int) *report {
	return lives(t, p, rounds, durability, fault, func(*rand.Rand) { p.kill() })
}

// lives is like crashes, with another end of each life of the broker.
func lives(t *testing.T, p *process, rounds int, durability string, fault func(*report) int, end func(*rand.Rand)) *report {
	seed := number(t, seedVariable, rand.Uint64())
	t.Logf("%s=%d repeats the moments of the kills", seedVariable, seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	k := newChecker(t, seed, durability)
	p.start()
	p.declare()
	for n := range rounds {
		r := p.load(n)
		if n%2 == 1 {
			<-r.begun // on a slow machine, too, something is at stake in every second round
		}
		// The one timer here: the moment of the kill is what the test is about.
		time.Sleep(50*time.Millisecond + time.Duration(moments.IntN(750))*time.Millisecond)
		end(moments)
		r.ended.Wait()
		k.restarts = append(k.restarts, p.start())
		k.round(p, r, n)
		if p.stopped {
			k.found.allowStop()
		}
		if fault != nil && fault(&k.found) > 0 {
			return k.done()
		}
	}
	k.drain(p)
	return k.done()
}

// declare makes the topic and its groups.
func (p *process) declare() {
	c := p.dial()
	defer c.Close()
	for _, g := range []struct{ name, mask string }{{autoGroup, "0"}, {explicitGroup, "64"}, {verifyGroup, "0"}} {
		c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, g.name),
			field(wire.HeaderGroupMask, g.mask), field(wire.HeaderGroupAckTimeout, "3600000"), field(wire.HeaderGroupAckWindow, "10000"))
	}
}

func TestKilledBrokerKeepsItsPromises(t *testing.T) {
	durability := os.Getenv(durabilityVariable)
	if durability == "" {
		durability = "fsync"
	}
	found := crashes(t, realBroker(t, durability), int(number(t, roundsVariable, 5)), durability, nil)
	t.Log(found)
	if found.faults() > 0 {
		t.Error("promises were broken")
	}
	// A run in which nothing was at stake proves nothing.
	if found.Answered == 0 || found.Unanswered == 0 || found.Acked == 0 || found.Redelivers == 0 {
		t.Error("the load was none")
	}
}

func TestBrokerThatAnswersTooEarlyIsFoundOut(t *testing.T) {
	const rounds = 20
	for kind, fault := range map[string]func(*report) int{
		hastyPublishes: func(r *report) int { return r.Lost },
		hastyAcks:      func(r *report) int { return r.AckUndone },
	} {
		t.Run(kind, func(t *testing.T) {
			found := crashes(t, hastyBroker(t, kind), rounds, "hasty "+kind, fault)
			t.Log(found)
			if fault(found) == 0 {
				t.Errorf("nothing was found in %d rounds: the checker has no teeth", found.Rounds)
			}
		})
	}
}
