package crashtest

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// probe is well-behaved clients that are timed while others are not so well-behaved. Each
// pair is a producer and a consumer, on a topic of their own.
type probe struct {
	t     *testing.T
	pairs []pair
}

type pair struct {
	topic   string
	out, in *conn
}

const probeGroup = "probe"

// probeBody is large enough that a consumer that does not read is soon behind.
var probeBody = bytes.Repeat([]byte("0123456789abcdef"), 64)

func probeTopic(n int) string { return "probe-" + strconv.Itoa(n) }

// newProbe connects so many pairs.
func newProbe(p *process, pairs int) *probe {
	b := &probe{t: p.t}
	for n := range pairs {
		one := pair{topic: probeTopic(n), out: p.dial(), in: p.dial()}
		one.out.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, one.topic),
			field(wire.HeaderConsumeGroup, probeGroup), field(wire.HeaderGroupMask, "0"))
		b.pairs = append(b.pairs, one)
	}
	return b
}

func (b *probe) close() {
	for _, one := range b.pairs {
		_ = one.out.Close()
		_ = one.in.Close()
	}
}

// trip publishes one message and waits for its answer and its delivery.
func (one *pair) trip() (time.Duration, error) {
	if err := one.in.consumeFrom(one.topic, probeGroup, 1); err != nil {
		return 0, err
	}
	one.out.wait()
	began := time.Now()
	one.out.put(probeBody, field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, one.topic), field(wire.HeaderAck, "true"))
	if err := one.out.w.Flush(); err != nil {
		return 0, err
	}
	for _, c := range []*conn{one.out, one.in} {
		if m, err := c.r.Read(); err != nil {
			return 0, err
		} else if m.Status != http.StatusOK {
			return 0, fmt.Errorf("answered with %d %s", m.Status, m.Body)
		}
	}
	return time.Since(began), nil
}

// p99 is the 99th percentile of how long a message takes to its consumer, with all pairs
// at work.
func (b *probe) p99(each int) time.Duration {
	b.t.Helper()
	times := make([]time.Duration, len(b.pairs)*each)
	var working sync.WaitGroup
	for n := range b.pairs {
		working.Go(func() {
			for i := range each {
				d, err := b.pairs[n].trip()
				if err != nil {
					b.t.Errorf("a client that does nothing wrong: %v", err)
					return
				}
				times[n*each+i] = d
			}
		})
	}
	working.Wait()
	if b.t.Failed() {
		b.t.FailNow()
	}
	slices.Sort(times)
	return times[len(times)*99/100]
}

// contrast is a p99 without and with a fault, measured several times each.
type contrast struct{ without, with []time.Duration }

// noise is what the p99 of a machine with other work to do differs by anyway.
const noise = 50 * time.Millisecond

// judge adds the figures to a record: the fault may double the p99. Other work on the
// machine comes and goes; what the fault costs is in every measurement, so in the lowest, and
// other work may have been beside each, as it was beside the highest without the fault.
func (c *contrast) judge(f *faultreport.Record) {
	without, with := median(c.without), median(c.with)
	f.Add("p99 ms without", milliseconds(without))
	f.Add("p99 ms with", milliseconds(with))
	f.Add("ratio", fmt.Sprintf("%.2f", float64(with)/float64(without)))
	if slices.Min(c.with) > 2*slices.Max(c.without)+noise {
		f.Broken++
	}
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func median[T int64 | float64 | time.Duration](all []T) T {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// metrics are the figures of the broker that have no labels.
func (p *process) metrics() map[string]float64 {
	p.t.Helper()
	resp, err := http.Get("http://" + p.address + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	return all
}

// with adds flags to the command of a broker.
func (p *process) with(flags ...string) {
	plain := p.command
	p.command = func() *exec.Cmd {
		cmd := plain()
		cmd.Args = append(cmd.Args, flags...)
		return cmd
	}
}

// under starts the broker by another program, which has to become the broker.
func (p *process) under(words ...string) {
	p.t.Helper()
	path, err := exec.LookPath(words[0])
	if err != nil {
		p.t.Skipf("NOT TESTED: %v", err)
	}
	plain := p.command
	p.command = func() *exec.Cmd {
		cmd := plain()
		cmd.Path, cmd.Args = path, append(slices.Clone(words), cmd.Args...)
		return cmd
	}
}
