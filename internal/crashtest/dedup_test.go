package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/wire"
)

// A producer that sends everything again that was not answered, and some that was, stores
// each message once, however often the broker is killed.
func TestRepeatedMessagesWithDedupAreStoredOnceAcrossKills(t *testing.T) {
	const rounds, each = 6, 1000
	seed := number(t, seedVariable, rand.Uint64())
	t.Logf("%s=%d repeats the moments of the kills", seedVariable, seed)
	moments := rand.New(rand.NewPCG(seed, 2))
	p := realBroker(t, "fsync")
	p.start()
	p.declare()
	offsets, duplicates := map[string]string{}, 0 // of what was answered
	var ids, again []string
	for n := range rounds {
		for i := range each {
			ids = append(ids, fmt.Sprintf("d%d/%d", n, i))
		}
		kill := 1 + moments.IntN(each-1) // answers
		if n == rounds-1 {
			kill = 0
		}
		send := append(again, ids[n*each:]...)
		duplicates += p.publishOnce(send, offsets, kill)
		again = nil
		for _, id := range send {
			if offsets[id] == "" || moments.IntN(50) == 0 {
				again = append(again, id)
			}
		}
		if kill > 0 {
			p.start()
		}
	}
	stored := p.ids()
	t.Logf("%d messages, %d duplicates answered", len(stored), duplicates)
	if duplicates == 0 {
		t.Error("nothing was at stake")
	}
	for _, id := range ids {
		if at := slices.Index(stored, id); strconv.Itoa(at) != offsets[id] {
			t.Errorf("%s was answered with offset %s and is at %d", id, offsets[id], at)
		}
	}
	if len(stored) != len(ids) {
		t.Errorf("%d messages are stored, want %d", len(stored), len(ids))
	}
}

// publishOnce publishes messages ahead of their answers. After some answers it kills the
// broker, unless they are 0. It returns how many it was told were there.
func (p *process) publishOnce(ids []string, offsets map[string]string, kill int) (duplicates int) {
	c := p.dial()
	defer c.Close()
	var writer sync.WaitGroup
	writer.Go(func() {
		for _, id := range ids {
			c.put([]byte(id), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic),
				field(wire.HeaderID, id), field(wire.HeaderDedup, "true"))
		}
		_ = c.w.Flush()
	})
	defer writer.Wait()
	for n := 1; n <= len(ids); n++ {
		m, err := c.r.Read()
		if err != nil {
			return duplicates
		}
		id, at := m.Get(wire.HeaderID), m.Get(wire.HeaderOffset)
		if m.Status != http.StatusOK || at == "" || offsets[id] != "" && offsets[id] != at {
			p.t.Errorf("%s: %d %s, at %s after %s", id, m.Status, m.Body, at, offsets[id])
		}
		offsets[id] = at
		if m.Get(wire.HeaderDup) == "true" {
			duplicates++
		}
		if n == kill {
			p.kill()
		}
	}
	return duplicates
}

// ids are those of all messages, by offset.
func (p *process) ids() (ids []string) {
	for more := true; more; {
		var page struct {
			Messages []struct{ ID string }
			More     bool
		}
		p.get(fmt.Sprintf("topics/%s/messages?limit=1000&from=%d", topic, len(ids)), &page)
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
		}
		more = page.More
	}
	return ids
}

// get asks the HTTP API.
func (p *process) get(path string, v any) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}
