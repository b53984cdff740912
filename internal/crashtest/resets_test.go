package crashtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// A producer whose connection is reset does not know what was stored. When it sends all
// of it again by the same ids, everything is there once.
func TestResetsInTheMiddleOfPublishes(t *testing.T) {
	rounds := faultreport.Scale(t, 100, 2000)
	const each = 64
	seed := number(t, seedVariable, rand.Uint64())
	moments := rand.New(rand.NewPCG(seed, 3))
	p := realBroker(t, "fsync")
	p.start()
	p.declare()
	f := &faultreport.Record{
		Test: "reset-mid-publish", Fault: "connection reset in the middle of pipelined publishes, then all again by the same ids",
		Promise: "every message is stored once", Runs: rounds, Seed: fmt.Sprint(seed),
	}
	before, after, known := 0, 0, 0 // stored by the reset connection, by the second one; answered by the first
	want := map[string]string{}     // offset by id
	for n := range rounds {
		ids := make([]string, each)
		for i := range ids {
			ids[i] = fmt.Sprintf("r%d/%d", n, i)
		}
		first := p.reset(ids, moments)
		known += len(first)
		second := map[string]string{}
		duplicates := p.publishOnce(ids, second, 0)
		before, after = before+duplicates, after+each-duplicates
		for _, id := range ids {
			if at, ok := first[id]; second[id] == "" || ok && at != second[id] {
				t.Errorf("%s is at %q after it was at %q", id, second[id], at)
				f.Broken++
			}
			want[id] = second[id]
		}
	}
	stored := p.ids()
	for at, id := range stored {
		if want[id] != fmt.Sprint(at) {
			f.Broken++
		}
	}
	if len(stored) != len(want) {
		t.Errorf("%d messages are stored, want %d", len(stored), len(want))
		f.Broken++
	}
	if before-known <= 0 || after == 0 {
		t.Errorf("%d stored without an answer, %d not stored: want both", before-known, after)
	}
	f.Add("messages", len(want))
	f.Add("answered before the reset", known)
	f.Add("stored without an answer", before-known)
	f.Add("stored by the second attempt", after)
	f.Save(t)
}

// reset publishes messages, as far as some byte, and resets the connection when some of
// the answers have come. It returns the offsets that were answered.
func (p *process) reset(ids []string, moments *rand.Rand) map[string]string {
	p.t.Helper()
	c := p.dial()
	var requests []byte
	for _, id := range ids {
		requests = wire.AppendRequestLine(requests, http.MethodGet, "/")
		for _, f := range []wire.Field{
			field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic),
			field(wire.HeaderID, id), field(wire.HeaderDedup, "true"),
		} {
			requests = wire.AppendField(requests, f.Name, f.Value)
		}
		requests = wire.AppendBody(requests, []byte(id))
	}
	cut := 1 + moments.IntN(len(requests))
	if _, err := c.Write(requests[:cut]); err != nil {
		p.t.Fatal(err)
	}
	offsets := map[string]string{}
	for range moments.IntN(1 + cut*len(ids)/len(requests)/2) {
		m, err := c.r.Read()
		if err != nil || m.Status != http.StatusOK {
			p.t.Fatalf("answer to a publish: %v, %v", m, err)
		}
		offsets[m.Get(wire.HeaderID)] = m.Get(wire.HeaderOffset)
	}
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		p.t.Fatal(err)
	}
	_ = c.Close()
	return offsets
}
