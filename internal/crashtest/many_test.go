package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// manyTopics get messages in turn: so a commit has few for each of many, which the
// store keeps together at first and moves to their topics later.
const manyTopics = 60

func manyName(i int) string { return "many-" + strconv.Itoa(i) }

// manyChecker knows what the topics hold as of the last look at them.
type manyChecker struct {
	*process
	next  [manyTopics]int         // offsets below were seen
	lanes map[string]*lane        // of all rounds
	last  map[string]map[int]int  // by lane and topic: the last message seen
	there map[string]map[int]bool // by lane: what was seen in this round
	seen  int
}

// TestKilledBrokerKeepsTheMessagesOfManyTopics also removes a topic and makes it
// again, and empties one, while their messages are being moved.
func TestKilledBrokerKeepsTheMessagesOfManyTopics(t *testing.T) {
	durability := os.Getenv(durabilityVariable)
	if durability == "" {
		durability = "fsync"
	}
	seed := number(t, seedVariable, rand.Uint64())
	t.Logf("%s=%d repeats the moments of the kills", seedVariable, seed)
	moments := rand.New(rand.NewPCG(seed, 1))
	k := &manyChecker{process: realBroker(t, durability), lanes: map[string]*lane{}, last: map[string]map[int]int{}}
	k.start()
	for i := range manyTopics {
		k.tell(wire.CmdDeclare, i)
	}
	answered, unanswered := 0, 0
	for n := range int(number(t, roundsVariable, 5)) {
		lanes := k.publish(n, 100*time.Millisecond+time.Duration(moments.IntN(900))*time.Millisecond)
		k.start()
		k.there = map[string]map[int]bool{}
		for i := range manyTopics {
			k.look(i)
		}
		for _, l := range lanes {
			for _, m := range l.answered {
				if !k.there[l.name][m] {
					t.Errorf("%s was answered and is not in %s", l.id(m), l.topic(m))
				}
			}
			if l.refused > 0 {
				t.Errorf("%d messages of %s were refused", l.refused, l.name)
			}
			answered, unanswered = answered+len(l.answered), unanswered+l.sent-len(l.answered)
		}
		k.tell(wire.CmdRemove, n%manyTopics)
		k.tell(wire.CmdDeclare, n%manyTopics)
		k.next[n%manyTopics] = 0
		k.tell(wire.CmdEmpty, (n+7)%manyTopics)
	}
	t.Logf("%d messages answered, %d not, %d seen", answered, unanswered, k.seen)
	if answered == 0 || unanswered == 0 {
		t.Error("the load was none")
	}
}

// publish has clients publish to all topics until it kills the broker.
func (k *manyChecker) publish(round int, life time.Duration) (lanes []*lane) {
	var clients sync.WaitGroup
	for i := range 3 {
		l, c := &lane{name: fmt.Sprintf("m%d-%d", round, i), topics: manyTopics}, k.dial()
		lanes, k.lanes[l.name], k.last[l.name] = append(lanes, l), l, map[int]int{}
		clients.Go(func() { l.produce(c) })
	}
	time.Sleep(life) // the moment of the kill is what the test is about
	k.kill()
	clients.Wait()
	return lanes
}

// tell has the broker do something with a topic.
func (k *manyChecker) tell(command string, i int) {
	c := k.dial()
	defer c.Close()
	c.must(field(wire.HeaderCmd, command), field(wire.HeaderTopic, manyName(i)))
}

// look reads what is new in a topic.
func (k *manyChecker) look(i int) {
	k.t.Helper()
	for more := true; more; {
		resp, err := http.Get(fmt.Sprintf("http://%s/api/v1/topics/%s/messages?limit=1000&from=%d", k.address, manyName(i), k.next[i]))
		if err != nil {
			k.t.Fatal(err)
		}
		var page struct {
			Messages []struct {
				Offset     int `json:",string"`
				ID, Body   string
				BodyBase64 []byte
				Size       int `json:",string"`
				Damaged    bool
			}
			More       bool
			NextOffset int `json:",string"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			k.t.Fatalf("%s: %s, %v", manyName(i), resp.Status, err)
		}
		for _, m := range page.Messages {
			if m.Offset != k.next[i] && k.next[i] > 0 || m.Damaged {
				k.t.Fatalf("%s: offset %d instead of %d, damaged: %v", manyName(i), m.Offset, k.next[i], m.Damaged)
			}
			k.next[i] = m.Offset + 1
			k.message(i, m.ID, append([]byte(m.Body), m.BodyBase64...), m.Size)
		}
		if more = page.More; !more && page.NextOffset != k.next[i] && k.next[i] > 0 {
			k.t.Errorf("%s ends at %d, its messages at %d", manyName(i), page.NextOffset, k.next[i])
		}
	}
}

// message checks one message: lists have the beginning of its body.
func (k *manyChecker) message(i int, id string, body []byte, size int) {
	k.seen++
	name, n, ok := parseID(id)
	l := k.lanes[name]
	if !ok || l == nil || n >= l.sent || n%manyTopics != i {
		k.t.Fatalf("%s holds %q, which nobody sent", manyName(i), id)
	}
	if want := l.body(n); len(want) != size || !bytes.HasPrefix(want, body) || len(body) == 0 {
		k.t.Fatalf("%s in %s has another body than was sent", id, manyName(i))
	}
	before, was := k.last[name][i]
	if was && n != before+manyTopics || !was && n != i {
		k.t.Errorf("%s: message %d of %s follows %d", manyName(i), n, name, before)
	}
	k.last[name][i] = n
	if k.there[name] == nil {
		k.there[name] = map[int]bool{}
	}
	k.there[name][n] = true
}
