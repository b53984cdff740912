package crashtest

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// mostLog is how long the database's log may get while consumers are slow. Without them it
// is about as long: slow consumers must not keep it from being emptied.
const mostLog = 128 << 20

// Consumers that read slowly or not at all slow nobody else down.
func TestSlowConsumers(t *testing.T) {
	rounds := faultreport.Scale(t, 3, 10)
	p := realBroker(t, "fsync")
	p.start()
	good := newProbe(p, 4)
	p.fill(4, 1000)
	f := &faultreport.Record{
		Test: "slow-consumer", Fault: "on every topic a consumer that reads 1 KB/s and one that never reads",
		Promise: "the p99 of others is at most twice as long plus 50 ms, and the database's log stays below 128 MB", Runs: rounds,
	}
	var p99 contrast
	longest, stuck := int64(0), 0
	for n := range rounds {
		p99.without = append(p99.without, good.p99(100))
		var all []*conn
		stop := make(chan struct{})
		for i := range good.pairs {
			sip := p.neverRead(fmt.Sprintf("sip-%d", n), probeTopic(i))
			go sips(sip, stop)
			all = append(all, sip, p.neverRead(fmt.Sprintf("stuck-%d", n), probeTopic(i)))
		}
		p.fill(4, 500) // what they do not read
		p99.with = append(p99.with, good.p99(100))
		longest = max(longest, p.logSize())
		close(stop)
		stuck += p.behind()
		for _, c := range all {
			_ = c.Close()
		}
	}
	if stuck == 0 {
		t.Error("no consumer was behind")
	}
	p99.judge(f)
	f.Add("longest log MB", longest>>20)
	if longest > mostLog {
		f.Broken++
	}
	f.Save(t)
	p.terminate()
}

// fill publishes messages of 16 KB to the first topics of probes, and has their good
// consumers take them.
func (p *process) fill(topics, each int) {
	p.t.Helper()
	body := make([]byte, 16<<10)
	for n := range topics {
		c := p.dial()
		name := probeTopic(n)
		if err := c.consumeFrom(name, probeGroup, each); err != nil {
			p.t.Fatal(err)
		}
		publisher := p.dial()
		publisher.fill(name, body, each)
		for range each {
			if _, err := c.answer(); err != nil {
				p.t.Fatal(err)
			}
		}
		_ = publisher.Close()
		_ = c.Close()
	}
}

// neverRead connects a consumer that asks for much and reads nothing.
func (p *process) neverRead(group, topic string) *conn {
	p.t.Helper()
	c := p.dial()
	p.t.Cleanup(func() { _ = c.Close() })
	c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic),
		field(wire.HeaderConsumeGroup, group), field(wire.HeaderGroupMask, "0"))
	if err := c.consumeFrom(topic, group, 10000); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// sips reads 1 KB a second.
func sips(c *conn, stop <-chan struct{}) {
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = c.SetDeadline(time.Time{})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var kb [1 << 10]byte
	for {
		if _, err := c.Conn.Read(kb[:]); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

func (p *process) logSize() int64 {
	p.t.Helper()
	info, err := os.Stat(p.dir + "/zbus.db-wal")
	if err != nil {
		p.t.Fatal(err)
	}
	return info.Size()
}

// behind is how many groups have messages that were not delivered.
func (p *process) behind() (groups int) {
	p.t.Helper()
	for n := range 4 {
		var page struct {
			Groups []struct {
				Lag string
			}
		}
		p.get("topics/"+probeTopic(n)+"/groups", &page)
		for _, g := range page.Groups {
			if g.Lag != "0" {
				groups++
			}
		}
	}
	return groups
}
