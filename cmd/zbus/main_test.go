package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binaryVariable names the built binary to the tests. TestMain sets it.
const binaryVariable = "ZBUS_TEST_BINARY"

// TestMain builds the binary that all tests run, once.
func TestMain(m *testing.M) {
	// Results are cached by the content of the test binary. Unless something
	// refers to main, the linker leaves the broker out of it, and the result of
	// an older one would be shown for a broken one.
	fmt.Fprintf(io.Discard, "%p", main)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "zbus-test-")
		if err == nil {
			defer os.RemoveAll(dir)
			// Some tests run it as another user.
			err = os.Chmod(dir, 0o755)
		}
		binary := filepath.Join(dir, "zbus")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Stderr = os.Stderr
		if err := errors.Join(err, build.Run(), os.Setenv(binaryVariable, binary)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// command prepares a run of the binary in an empty directory of its own, with
// no environment but environ.
func command(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv(binaryVariable), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = environ
	if cmd.Env == nil {
		cmd.Env = []string{"HOME=/"} // nil would be everything this test has
	}
	return cmd
}

// result is what a run of the binary left behind.
type result struct {
	code        int
	out, stderr string
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer killLate(cmd)() // what should have been refused would serve forever
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// killLate ends a process that does not do what a test waits for. The function
// it returns calls that off.
func killLate(cmd *exec.Cmd) (callOff func() bool) {
	return time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop
}

// wantFailure checks that a run ended with a code and one line that contains
// text, and nothing else.
func wantFailure(t *testing.T, r result, code int, text string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if r.out != "" {
		t.Errorf("wrote %q to standard output", r.out)
	}
	if !strings.HasPrefix(r.stderr, "zbus: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, text) {
		t.Errorf("wrote %q, want one line with %q", r.stderr, text)
	}
}

// broker is a running zbus.
type broker struct {
	cmd    *exec.Cmd
	screen []string // the lines of the start-up screen
	url    string
	stderr *bytes.Buffer // to be read after it stopped
}

// start runs the binary and waits until it accepts connections.
func start(t *testing.T, cmd *exec.Cmd) *broker {
	t.Helper()
	b := &broker{cmd: cmd, stderr: new(bytes.Buffer)}
	cmd.Stderr = b.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	defer killLate(cmd)()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		b.screen = append(b.screen, line)
		if url, ok := strings.CutPrefix(line, "listening "); ok {
			b.url = strings.Fields(url)[0]
		}
		if line == "stop        Ctrl-C" {
			return b
		}
	}
	_ = cmd.Wait()
	t.Fatalf("no broker: %v: %s", cmd.ProcessState, b.stderr)
	return nil
}

func (b *broker) address() string {
	return strings.TrimPrefix(b.url, "http://")
}

// line is the part behind the title of a line of the start-up screen.
func (b *broker) line(title string) string {
	for _, l := range b.screen {
		if text, ok := strings.CutPrefix(l, title+" "); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

func (b *broker) stop(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	defer killLate(b.cmd)()
	_ = b.cmd.Wait() // the code says it
	return b.cmd.ProcessState.ExitCode()
}
