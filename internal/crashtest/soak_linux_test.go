package crashtest

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// soakVariable says how long a soak takes, such as 10m, in place of the scale.
const soakVariable = "ZBUS_SOAK"

func soakLength(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv(soakVariable); text != "" {
		length, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
		return length
	}
	return time.Duration(faultreport.Scale(t, 20, 600)) * time.Second
}

// soak is the clients of a broker that runs long. They end when stop is closed.
type soak struct {
	p        *process
	profiles string // the address of the broker's profiles
	web      *http.Client
	stop     chan struct{}
	clients  sync.WaitGroup
	open     []*conn // consumers, closed in the end

	busy      sync.RWMutex // held for reading by a client in its turn, so that all can rest
	published int          // owned by one client, until all have ended
	turns     [5]int       // owned by one client each, until all have ended
}

// A broker under a moderate load, with clients of all kinds that come and go, needs no more
// in the end than soon after its start. While it is measured, all clients rest: then what
// grows is what was left behind.
func TestSoak(t *testing.T) {
	t.Parallel()
	length := soakLength(t)
	s := newSoak(t)
	p := s.p
	s.begin()
	samples := max(20, min(80, int(length/(5*time.Second))))
	var seen []map[string]float64
	for tick := time.NewTicker(length / time.Duration(samples)); len(seen) < samples; {
		<-tick.C
		seen = append(seen, s.sample())
	}
	s.end()
	f := &faultreport.Record{
		Test: "soak", Runs: 1, Fault: fmt.Sprintf("%v at a fifth of what the machine can do, with clients, topics, groups, plans, streams, sockets, calls and providers that come and go", length),
		Promise: "memory, goroutines, files and the log are as in the second quarter, and nothing grows in the second half",
	}
	f.Add("messages", s.published)
	for n, what := range []string{"topics and groups", "plans", "streams", "sockets", "calls and providers"} {
		f.Add(what+" that came and went", s.turns[n])
		if s.turns[n] == 0 {
			t.Errorf("no %s came", what)
		}
	}
	judgeQuarters(f, seen)
	judgeSlopes(f, seen, length)
	if s.published == 0 {
		t.Error("nothing was published")
	}
	f.Save(t)
	p.terminate()
}

func newSoak(t *testing.T) *soak {
	s := &soak{p: realBroker(t, "fsync"), profiles: zbustest.FreeAddr(t), web: &http.Client{Transport: &http.Transport{}, Timeout: patience}, stop: make(chan struct{})}
	s.p.with("--pprof=" + s.profiles)
	s.p.start()
	s.p.declare()
	return s
}

// sample measures while no client does anything.
func (s *soak) sample() map[string]float64 {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.web.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	m := s.p.metrics()
	for range 20 { // what has gone is noticed in a moment
		time.Sleep(50 * time.Millisecond)
		for name, value := range s.p.metrics() {
			if name == goroutinesFigure || name == filesFigure {
				m[name] = min(m[name], value)
			}
		}
	}
	m[heapFigure] = s.liveHeap()
	m[logSizeFigure] = float64(s.p.logSize())
	if info, err := os.Stat(s.p.file("zbus.db")); err == nil {
		m[fileSizeFigure] = float64(info.Size())
	}
	return m
}

// liveHeap is what is left of the heap after a collection. What pools hold goes with the second.
func (s *soak) liveHeap() (bytes float64) {
	for range 2 {
		resp, err := s.web.Get("http://" + s.profiles + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			s.p.t.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
				bytes, err = strconv.ParseFloat(text, 64)
			}
		}
		if _ = resp.Body.Close(); err != nil || bytes == 0 {
			s.p.t.Fatalf("no live heap: %v", err)
		}
	}
	return bytes
}

const (
	heapFigure       = "live heap"
	goroutinesFigure = "go_goroutines"
	filesFigure      = "process_open_fds"
)

// judgeQuarters compares the last quarter with the second.
func judgeQuarters(f *faultreport.Record, seen []map[string]float64) {
	for _, flat := range []struct {
		name  string
		unit  float64
		slack float64 // besides a quarter
	}{
		{"process_resident_memory_bytes", 1 << 20, 32 << 20},
		{logSizeFigure, 1 << 20, 16 << 20},
		{fileSizeFigure, 1 << 20, 32 << 20},
	} {
		early, late := quarter(seen, 1, flat.name), quarter(seen, 3, flat.name)
		f.Add(flat.name, fmt.Sprintf("%.0f, then %.0f", early/flat.unit, late/flat.unit))
		if early == 0 || late > early*1.25+flat.slack {
			f.Broken++
		}
	}
}

// judgeSlopes fits a line through the second half.
func judgeSlopes(f *faultreport.Record, seen []map[string]float64, length time.Duration) {
	half := seen[len(seen)/2:]
	for _, flat := range []struct {
		name  string
		what  string
		unit  float64
		slack float64 // what it may grow by in that half
	}{
		{heapFigure, "live heap MB", 1 << 20, 2},
		{goroutinesFigure, "goroutines", 1, 3},
		{filesFigure, "descriptors", 1, 3},
	} {
		var all []float64
		for _, m := range half {
			all = append(all, m[flat.name]/flat.unit)
		}
		step := length.Hours() / float64(len(seen))
		perHour := slope(all) / step
		f.Add(flat.what, fmt.Sprintf("%.1f to %.1f", slices.Min(all), slices.Max(all)))
		f.Add(flat.what+" more an hour", fmt.Sprintf("%+.1f", perHour))
		if slices.Max(all) == 0 || perHour*length.Hours()/2 > flat.slack {
			f.Broken++
		}
	}
}

// slope is that of the line with the least squares, from one value to the next.
func slope(all []float64) float64 {
	n := float64(len(all))
	var x, y, xx, xy float64
	for i, v := range all {
		at := float64(i)
		x, y, xx, xy = x+at, y+v, xx+at*at, xy+at*v
	}
	return (n*xy - x*y) / (n*xx - x*x)
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
	for n, visit := range s.visitors() {
		s.clients.Go(func() { s.churn(visit, &s.turns[n]) })
	}
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
		s.busy.RLock()
		began := time.Now()
		err := s.publishBatch(c, &l)
		s.busy.RUnlock()
		if err != nil {
			c.t.Errorf("publish: %v", err)
			return
		}
		select {
		case <-time.After(4 * time.Since(began)):
		case <-s.stop:
			return
		}
	}
}

func (s *soak) publishBatch(c *conn, l *lane) error {
	c.wait()
	for n := s.published; n < s.published+batch; n++ {
		c.put(l.body(n), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	for range batch {
		if m, err := c.r.Read(); err != nil || m.Status != http.StatusOK {
			return fmt.Errorf("%v, %w", m, err)
		}
	}
	s.published += batch
	return nil
}

func TestSlopeIsThatOfTheNearestLine(t *testing.T) {
	for want, all := range map[float64][]float64{0: {3, 3, 3, 3}, 1: {5, 6, 7}, -2: {4, 2, 0}, 0.5: {0, 1, 1, 1.5, 2.25}} {
		if got := slope(all); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%v: %v, want %v", all, got, want)
		}
	}
}
