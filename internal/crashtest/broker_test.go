package crashtest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// process is a broker in a process of its own, on one data directory.
type process struct {
	t       *testing.T
	dir     string
	command func() *exec.Cmd // makes the next run of it

	cmd     *exec.Cmd // the present run
	address string
	stopped bool         // in order, by terminate, in this or an earlier run
	stderr  bytes.Buffer // of the present run, to be read after it ended
}

// realBroker is the broker that is shipped.
func realBroker(t *testing.T, durability string) *process {
	p := &process{t: t, dir: t.TempDir()}
	p.command = func() *exec.Cmd {
		cmd := exec.Command(os.Getenv(binaryVariable), "--listen=127.0.0.1:0", "--data="+p.dir, "--durability="+durability)
		cmd.Env = []string{"HOME=/"}            // none of ours: it would take them for settings
		if os.Getenv("ZBUS_TEST_PLAIN") != "" { // see make plain
			cmd.Env = append(cmd.Env, "ZBUS_PLAIN_IO=true", "ZBUS_PLAIN_SOCKETS=true")
		}
		return cmd
	}
	return p
}

// hastyBroker is one that has to be found out.
func hastyBroker(t *testing.T, kind string) *process {
	p := &process{t: t, dir: t.TempDir()}
	p.command = func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), hastyVariable+"="+kind, hastyDirVariable+"="+p.dir)
		return cmd
	}
	return p
}

// start runs the broker until it answers, and returns how long that took.
func (p *process) start() time.Duration {
	p.t.Helper()
	begin := time.Now()
	p.cmd = p.command()
	p.stderr.Reset()
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.kill() })
	// A broker that never gets ready must not keep the test waiting.
	late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "listening"); ok {
			_, p.address, _ = strings.Cut(strings.Fields(rest)[0], "://")
			c := p.dial()
			defer c.Close()
			c.must(wire.Field{Name: wire.HeaderCmd, Value: wire.CmdPing})
			return time.Since(begin)
		}
	}
	_ = p.cmd.Wait()
	p.t.Fatalf("no broker: %v: %s", p.cmd.ProcessState, &p.stderr)
	return 0
}

// kill ends the broker at once. Only the first call for a run does something.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
