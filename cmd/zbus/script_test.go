package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts in testdata/script: the command line as its users type
// it, against a broker that is a process of its own. Besides the commands of
// testscript there are
//
//	broker [FLAG...]   start a broker and set ZBUS_SERVER; again: start it again there
//	stop               stop it in order
//	exits N ARG...     run zbus and want the exit code N
//	until TEXT FILE    wait until a background command has written TEXT to FILE
func TestScripts(t *testing.T) {
	binary := os.Getenv(binaryVariable)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker": scriptBroker, "stop": scriptStop, "exits": scriptExits, "until": scriptUntil,
		},
	})
}

// scriptBroker starts a broker whose data is in the script's directory.
func scriptBroker(ts *testscript.TestScript, neg bool, args []string) {
	listen := ts.Getenv("ZBUS_SERVER")
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	cmd := exec.Command(os.Getenv(binaryVariable), append([]string{"serve", "--listen", listen, "--data", ts.MkAbs("data")}, args...)...)
	cmd.Env = []string{"HOME=/"}
	out, err := os.CreateTemp(ts.MkAbs("."), "broker-*")
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, out
	ts.Check(cmd.Start())
	_ = out.Close() // the broker has it
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	ts.Defer(func() { _ = cmd.Process.Kill(); <-ended })
	awaitText(ts, out.Name(), "stop ", ended)
	for line := range strings.Lines(ts.ReadFile(out.Name())) {
		if url, ok := strings.CutPrefix(line, "listening "); ok {
			address := strings.Fields(url)[0]
			ts.Setenv("ZBUS_SERVER", strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://"))
		}
	}
	ts.Setenv("BROKER_PID", strconv.Itoa(cmd.Process.Pid))
}

// scriptStop stops the broker in order.
func scriptStop(ts *testscript.TestScript, _ bool, _ []string) {
	pid, err := strconv.Atoi(ts.Getenv("BROKER_PID"))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
	for start := time.Now(); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			ts.Fatalf("the broker does not stop")
		}
	}
}

// scriptExits runs zbus and wants an exit code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("zbus", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptUntil waits for a text in a file.
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	awaitText(ts, ts.MkAbs(args[1]), args[0], nil)
}

// patience is how long anything may take.
const patience = 20 * time.Second

// awaitText returns when a file that another process writes has text in it.
func awaitText(ts *testscript.TestScript, path, text string, ended <-chan struct{}) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), text) {
			return
		}
		select {
		case <-ended:
			ts.Fatalf("it has ended: %s", content)
		default:
		}
		if time.Since(start) > patience {
			ts.Fatalf("no %q in %s: %s", text, path, content)
		}
	}
}
