package crashtest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// soak is the clients of a broker that runs long. They end when stop is closed.
type soak struct {
	p       *process
	stop    chan struct{}
	clients sync.WaitGroup
	open    []*conn // consumers, closed in the end

	published, churns int // owned by one client each, until all have ended
}

// A broker under a moderate load, with clients, topics and groups that come and disappear,
// needs no more in the end than soon after its start.
func TestSoak(t *testing.T) {
	length := time.Duration(faultreport.Scale(t, 20, 1800)) * time.Second
	p := realBroker(t, "fsync")
	p.start()
	p.declare()
	s := &soak{p: p, stop: make(chan struct{})}
	s.begin()
	const samples = 80
	var seen []map[string]float64
	for tick := time.NewTicker(length / samples); len(seen) < samples; <-tick.C {
		m := p.metrics()
		m[logSizeFigure] = float64(p.logSize())
		if info, err := os.Stat(p.dir + "/zbus.db"); err == nil {
			m[fileSizeFigure] = float64(info.Size())
		}
		seen = append(seen, m)
	}
	s.end()
	f := &faultreport.Record{
		Test: "soak", Runs: 1, Fault: fmt.Sprintf("%v at a fifth of what the machine can do, with churn", length),
		Promise: "memory, goroutines, files and the log are as in the second quarter",
	}
	f.Add("messages", s.published)
	f.Add("clients, topics and groups that came and disappeared", s.churns)
	for _, flat := range []struct {
		name  string
		unit  float64
		slack float64 // besides a quarter
	}{
		{"process_resident_memory_bytes", 1 << 20, 32 << 20},
		{"go_goroutines", 1, 20},
		{"process_open_fds", 1, 20},
		{logSizeFigure, 1 << 20, 16 << 20},
		{fileSizeFigure, 1 << 20, 32 << 20},
	} {
		early, late := quarter(seen, 1, flat.name), quarter(seen, 3, flat.name)
		f.Add(flat.name, fmt.Sprintf("%.0f, then %.0f", early/flat.unit, late/flat.unit))
		if early == 0 || late > early*1.25+flat.slack {
			f.Broken++
		}
	}
	if s.published == 0 || s.churns == 0 {
		t.Error("the load was none")
	}
	f.Save(t)
	p.terminate()
}

const (
	logSizeFigure  = "zbus.db-wal MB"
	fileSizeFigure = "zbus.db MB"
)

// quarter is the median of a figure in one quarter of the time.
func quarter(seen []map[string]float64, n int, name string) float64 {
	size := len(seen) / 4
	var all []float64
	for _, m := range seen[n*size : (n+1)*size] {
		all = append(all, m[name])
	}
	return median(all)
}

// begin starts the clients.
func (s *soak) begin() {
	c := s.p.dial()
	c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic), field("topic_max_count", "20000"))
	// The group that nobody consumes from is not what is to be tested.
	c.must(field(wire.HeaderCmd, wire.CmdRemove), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, verifyGroup))
	for _, group := range []string{autoGroup, explicitGroup} {
		c := s.p.dial()
		s.open = append(s.open, c)
		s.clients.Go(func() { consumeAll(c, group) })
	}
	s.clients.Go(func() { s.publish(c) })
	s.clients.Go(s.churn)
}

func (s *soak) end() {
	close(s.stop)
	for _, c := range s.open {
		_ = c.Close()
	}
	s.clients.Wait()
}

// consumeAll takes what a group has and acks what has to be acked.
func consumeAll(c *conn, group string) {
	defer c.Close()
	if c.consume(group) != nil {
		return
	}
	for {
		m, offset, err := c.next(group, func(*wire.Message) {})
		if err != nil {
			return
		}
		if group == explicitGroup {
			c.ack(offset, m.Get(wire.HeaderHandle))
			if c.w.Flush() != nil {
				return
			}
		}
	}
}

const batch = 64

// publish publishes batches, each of which is followed by a pause of four times as long as
// it took.
func (s *soak) publish(c *conn) {
	defer c.Close()
	l := lane{name: "soak"}
	for {
		began := time.Now()
		c.wait()
		for n := s.published; n < s.published+batch; n++ {
			c.put(l.body(n), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
		}
		if err := c.w.Flush(); err != nil {
			c.t.Error(err)
			return
		}
		for range batch {
			if m, err := c.r.Read(); err != nil || m.Status != http.StatusOK {
				c.t.Errorf("publish: %v, %v", m, err)
				return
			}
		}
		s.published += batch
		select {
		case <-time.After(4 * time.Since(began)):
		case <-s.stop:
			return
		}
	}
}

// churn connects and disconnects, in both ways there are, and creates and removes topics
// and groups.
func (s *soak) churn() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s.churns++
		if err := s.once(strconv.Itoa(s.churns)); err != nil {
			s.p.t.Errorf("churn %d: %v", s.churns, err)
			return
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

func (s *soak) once(number string) error {
	c, err := connect(s.p.t, s.p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	name := "soak-" + number
	for _, t := range []string{name, topic} {
		if _, err := c.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, t), field(wire.HeaderConsumeGroup, name)); err != nil {
			return err
		}
	}
	reader, err := connect(s.p.t, s.p.address)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := reader.consumeFrom(name, name, 10); err != nil {
		return err
	}
	if _, err := c.ask(field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, name), field(wire.HeaderAck, "true")); err != nil {
		return err
	}
	if _, err := reader.r.Read(); err != nil {
		return err
	}
	if _, err := c.ask(field(wire.HeaderCmd, wire.CmdRemove), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, name)); err != nil {
		return err
	}
	_ = reader.Conn.(*net.TCPConn).SetLinger(0) // this one ends with a reset
	_, err = c.ask(field(wire.HeaderCmd, wire.CmdRemove), field(wire.HeaderTopic, name))
	return err
}
