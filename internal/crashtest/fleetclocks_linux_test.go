package crashtest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// bootVariable names the file that has the boot of the machine, for brokers whose clock is set.
const bootVariable = "TEST_BOOT_FILE"

// skewed is a set of servers whose wall clocks are set, each for itself.
type skewed struct {
	*fleet
	clocks, boots []string // files
}

func newSkewed(t *testing.T, binary string, n, trackers int) *skewed {
	t.Helper()
	f := &skewed{fleet: newFleet(t, n, trackers)}
	for i, p := range f.servers {
		base, dir := p.command, t.TempDir()
		f.clocks, f.boots = append(f.clocks, filepath.Join(dir, "clock")), append(f.boots, filepath.Join(dir, "boot"))
		p.command = func() *exec.Cmd {
			cmd := base()
			cmd.Path, cmd.Args[0] = binary, binary
			cmd.Env = append(cmd.Env, stepVariable+"="+f.clocks[i], bootVariable+"="+f.boots[i])
			return cmd
		}
		f.set(i, 0)
		f.boot(i, "first")
	}
	return f
}

// set sets a wall clock, also under a server that runs.
func (f *skewed) set(i int, step time.Duration) {
	f.t.Helper()
	file, err := os.OpenFile(f.clocks[i], os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(step)), 0)
	if err := errors.Join(err, file.Close()); err != nil {
		f.t.Fatal(err)
	}
}

// boot has the machine of a server come up anew, when that starts next.
func (f *skewed) boot(i int, name string) {
	f.t.Helper()
	if err := os.WriteFile(f.boots[i], []byte(name), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// viewer follows a tracker as clients do. It notes what they would pass over, and who was
// missing while nobody should have been.
type viewer struct {
	addr string
	all  int // servers that there are

	mu     sync.Mutex
	steady bool             // guarded by mu: all servers run
	tables int              // guarded by mu
	last   map[string]int64 // guarded by mu: versions, of the table and of servers in it
	faults []string         // guarded by mu
}

// follow follows the tracker until stop is closed, and again after its connection was lost.
func (v *viewer) follow(stop <-chan struct{}) {
	for {
		if c, err := connect(nil, v.addr); err == nil {
			_ = c.SetDeadline(time.Time{})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				v.read(c)
			}()
			select {
			case <-ended:
			case <-stop:
			}
			_ = c.Close()
			<-ended
		}
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (v *viewer) read(c *conn) {
	c.put(nil, field("cmd", "track_sub"), field("id", "v"))
	if c.w.Flush() != nil {
		return
	}
	for {
		m, err := c.r.Read()
		if err != nil || m.Status != http.StatusOK {
			return
		}
		var table cluster.TrackerInfo
		if err := json.Unmarshal(m.Body, &table); err != nil {
			return
		}
		v.look(&table)
	}
}

func (v *viewer) look(table *cluster.TrackerInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tables++
	if was := v.last["table"]; table.InfoVersion <= was {
		v.faults = append(v.faults, fmt.Sprintf("tracker %s: version %d after %d", v.addr, table.InfoVersion, was))
	}
	v.last["table"] = table.InfoVersion
	for key, s := range table.ServerTable {
		if was := v.last[key]; s.InfoVersion < was {
			v.faults = append(v.faults, fmt.Sprintf("tracker %s: version %d of %s after %d", v.addr, s.InfoVersion, key, was))
		}
		v.last[key] = s.InfoVersion
	}
	if v.steady && len(table.ServerTable) != v.all {
		v.faults = append(v.faults, fmt.Sprintf("tracker %s lists %d servers", v.addr, len(table.ServerTable)))
	}
}

func (v *viewer) hold(steady bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.steady = steady
}

// passedOn publishes, pulls and acks at a server that does not have the topic.
func (f *skewed) passedOn(topic string, at int) {
	f.t.Helper()
	f.until(fmt.Sprintf("server %d passes on", at), func() bool {
		c, err := zbus.Dial(f.t.Context(), f.addrs[at], zbus.Options{})
		if err != nil {
			return false
		}
		defer c.Close()
		id := fmt.Sprint("m", time.Now().UnixNano())
		if _, err := c.Publish(f.t.Context(), topic, zbus.Message{ID: id}); err != nil {
			return false
		}
		got := ""
		for d, err := range c.Messages(f.t.Context(), topic, "g", zbus.SubscribeOptions{}) {
			if err != nil {
				return false
			}
			if got = d.ID; d.Ack(f.t.Context()) != nil || got == id {
				break
			}
		}
		return got == id
	})
}

// Servers whose clocks differ by hours, and jump: they are all there all the time, versions grow
// also where a machine comes up with an earlier time, and requests are passed on.
func TestClocksOfASetDiffer(t *testing.T) {
	rounds := faultreport.Scale(t, 1, 5)
	bin := skewedBinary(t)
	f := newSkewed(t, bin, 3, 2)
	f.set(1, 5*time.Hour)
	f.set(2, -7*time.Hour)
	f.start()
	l := f.begin(fleetPublishers, fleetCallers)
	owner, err := zbus.Dial(t.Context(), f.addrs[2], zbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.DeclareGroup(t.Context(), "alone", zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
		t.Fatal(err)
	}
	_ = owner.Close()
	stop := make(chan struct{})
	var following sync.WaitGroup
	var viewers []*viewer
	for a := range strings.SplitSeq(f.trackers, ";") {
		v := &viewer{addr: a, all: len(f.servers), last: map[string]int64{}}
		viewers = append(viewers, v)
		following.Go(func() { v.follow(stop) })
	}
	steady := func(is bool) {
		for _, v := range viewers {
			v.hold(is)
		}
	}
	jumps, longest := 0, time.Duration(0)
	for n := range rounds {
		steady(true)
		for i := range f.servers {
			for _, step := range []time.Duration{-26 * time.Hour, 40 * 24 * time.Hour, -time.Hour} {
				f.set(i, step)
				for _, gap := range l.settled(time.Now(), fleetPublishers) {
					longest = max(longest, gap)
				}
				f.passedOn("alone", jumps%2)
				jumps++
			}
		}
		steady(false)
		for i, p := range f.servers {
			killed := l.kill(i)
			l.settled(killed, fleetPublishers)
			f.set(i, time.Duration(-48*(n+1))*time.Hour)
			f.boot(i, fmt.Sprint("boot ", n))
			p.start()
			f.complete()
			l.settled(time.Now(), fleetPublishers)
			f.passedOn("alone", i%2)
		}
	}
	close(stop)
	following.Wait()
	v := l.end()
	r := v.record(t, "set-clocks", "clocks of three servers that differ by hours, set back and ahead by up to 40 days under load, and SIGKILL of each, which comes up in a new boot with its clock days back",
		"no server leaves a table when a clock jumps, versions only grow, requests are passed on, what was answered is stored once and consumed", jumps+rounds*len(f.servers))
	tables := 0
	for _, v := range viewers {
		tables += v.tables
		r.Broken += len(v.faults)
		for _, text := range v.faults[:min(10, len(v.faults))] {
			t.Error(text)
		}
	}
	r.Add("jumps of a clock", jumps)
	r.Add("tables of trackers", tables)
	r.Add("longest time without a success after a jump ms", longest.Milliseconds())
	if tables == 0 || v.published == 0 {
		t.Error("nothing was seen")
	}
	r.Save(t)
}

// skewedBinary builds the broker whose wall clock can be set, and the boot of its machine.
func skewedBinary(t *testing.T) string {
	t.Helper()
	patches, added := steps(t)
	patches = append(patches, patch{"../daemon/uptime_linux.go", `"/proc/sys/kernel/random/boot_id"`, `os.Getenv("` + bootVariable + `")`})
	return buildPatched(t, patches, added)
}
