package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// TestNoisyAccount measures how long others wait for their answers while an account publishes on eight
// connections as fast as it can, is over its limits, and does not care: set ZBUS_NOISY to how many messages
// it may publish a second. It takes a minute or two.
func TestNoisyAccount(t *testing.T) {
	if os.Getenv("ZBUS_NOISY") == "" {
		t.Skip("set ZBUS_NOISY=1000 to measure")
	}
	g := &growth{T: t, binary: filepath.Join(t.TempDir(), "zbus")}
	if out, err := exec.Command("go", "build", "-o", g.binary, "github.com/rushmore/zbus-go/cmd/zbus").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	dir := t.TempDir()
	administer := func(in string, args ...string) string {
		cmd := exec.Command(g.binary, append(args, "--data", dir)...)
		cmd.Stdin, cmd.Env = strings.NewReader(in), []string{"HOME=/"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	administer("a good password\n", "account", "add", "root", "--admin", "--password-stdin")
	administer("", "account", "add", "quiet", "--role", "publisher", "--role", "operator")
	administer("", "account", "add", "noisy", "--role", "publisher", "--role", "operator")
	administer("", "account", "limit", "noisy", "messages="+os.Getenv("ZBUS_NOISY"))
	quiet, noisy := administer("", "token", "create", "quiet"), administer("", "token", "create", "noisy")
	s := g.start(t, dir, "fsync")
	prepared := Options{Server: s.address, Topic: "quiet", Topics: 1, Token: quiet}
	if err := prepare(t.Context(), prepared); err != nil {
		t.Fatal(err)
	}
	var refused, stored int64
	m := median(31, func(int) float64 {
		return p99(t, prepared)
	}, func(int) float64 {
		n := shout(t, Options{Server: s.address, Topic: "quiet", Token: noisy}, 8)
		defer func() { a, b := n.stop(); stored, refused = stored+a, refused+b }()
		return p99(t, prepared)
	})
	t.Logf("p99 of others: alone %.2f ms, beside a noisy account %.2f ms: %.2f times; it had %d stored and %d refused", m[0], m[1], m[1]/m[0], stored, refused)
	if m[1] > 2*m[0] {
		t.Error("that is more than twice")
	}
	if refused == 0 {
		t.Error("the account is within its limits")
	}
}

// p99 is that of 500 messages which are published one after the other, each when the one before was
// answered and a moment has passed, in milliseconds.
func p99(t *testing.T, o Options) float64 {
	c, err := dial(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := make([]byte, 256)
	var h Histogram
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		<-tick.C
		began := time.Now()
		if err := c.send(body, wire.HeaderCmd, wire.CmdProduce, wire.HeaderTopic, o.Topic, wire.HeaderID, "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.finish(); err != nil {
			t.Fatal(err)
		}
		h.Add(time.Since(began))
	}
	return float64(h.Quantile(0.99)) / 1e6
}

// noise is what a noisy account does.
type noise struct {
	all             sync.WaitGroup
	over            atomic.Bool
	stored, refused atomic.Int64
}

// shout publishes on some connections, 64 messages at a time on each, and again as soon as these are answered.
func shout(t *testing.T, o Options, connections int) *noise {
	n := &noise{}
	for range connections {
		c, err := dial(t.Context(), &o)
		if err != nil {
			t.Fatal(err)
		}
		n.all.Go(func() {
			defer c.Close()
			body := make([]byte, 1<<10)
			for !n.over.Load() {
				for i := range 64 {
					if err := c.send(body, wire.HeaderCmd, wire.CmdProduce, wire.HeaderTopic, o.Topic, wire.HeaderID, strconv.Itoa(i)); err != nil {
						t.Error(err)
						return
					}
				}
				if err := c.w.Flush(); err != nil {
					t.Error(err)
					return
				}
				for range 64 {
					m, err := c.r.Read()
					switch {
					case err != nil:
						t.Error(err)
						return
					case m.Status == 200:
						n.stored.Add(1)
					case m.Status == 429:
						n.refused.Add(1)
					default:
						t.Errorf("answered with %d %s", m.Status, m.Body)
						return
					}
				}
			}
		})
	}
	return n
}

func (n *noise) stop() (stored, refused int64) {
	n.over.Store(true)
	n.all.Wait()
	return n.stored.Load(), n.refused.Load()
}
