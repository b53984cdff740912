package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSignalStopsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--log-format=json"))
			c, err := net.Dial("tcp", b.address())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if code := b.stop(t, sig); code != 0 {
				t.Errorf("exit code %d: %s", code, b.stderr)
			}
			for line := range strings.Lines(b.stderr.String()) {
				if !strings.HasPrefix(line, "{") {
					t.Errorf("log line is not JSON: %s", line)
				}
			}
			if c, err := net.Dial("tcp", b.address()); err == nil {
				c.Close()
				t.Error("the port is still open")
			}
		})
	}
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	stopped, code := false, -1
	cancel := func() { stopped = true; signals <- os.Interrupt }
	stopOnSignal(signals, cancel, func(c int) { code = c })
	if !stopped || code != exitInterrupted {
		t.Errorf("stopped %t, exit code %d, want 130", stopped, code)
	}
}

func TestScreenSaysWhereAndHowSafe(t *testing.T) {
	cmd := command(t, nil, "serve", "--listen=127.0.0.1:0", "--listen=[::1]:0", "--durability=relaxed", "--sync-interval=1s")
	b := start(t, cmd)
	if len(b.screen) > 12 {
		t.Errorf("%d lines, want at most 12", len(b.screen))
	}
	if !strings.HasPrefix(b.screen[0], "zbus ") {
		t.Errorf("first line %q, want name and version", b.screen[0])
	}
	for title, want := range map[string]string{
		"listening":  b.url + "  http://[::1]:",
		"data":       filepath.Join(cmd.Dir, "zbus-data") + " (",
		"durability": "relaxed: an answered publish survives a killed process; power loss may cost the last 1s",
		"publish":    "curl " + b.url + "/declare/hello && curl -d 'a first message' " + b.url + "/produce/hello",
		"consume":    "curl '" + b.url + "/consume/hello?timeout=1000'",
		"stop":       "Ctrl-C",
	} {
		if got := b.line(title); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", title, got, want)
		}
	}
	if code := b.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, b.stderr)
	}
}

func TestDataAndItsFilesAreForTheOwnerOnly(t *testing.T) {
	cmd := command(t, nil, "--listen=127.0.0.1:0")
	start(t, cmd)
	err := filepath.Walk(filepath.Join(cmd.Dir, "zbus-data"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zbus.yaml")
	if err := os.WriteFile(file, []byte("data: by-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want    string
		environ []string
		args    []string
	}{
		{"zbus-data", nil, nil},
		{"by-file", nil, []string{"--config", file}},
		{"by-file", []string{"ZBUS_CONFIG=" + file}, nil},
		{"by-environment", []string{"ZBUS_DATA=by-environment"}, []string{"--config", file}},
		{"by-flag", []string{"ZBUS_DATA=by-environment"}, []string{"--config", file, "--data", "by-flag"}},
	} {
		t.Run(c.want, func(t *testing.T) {
			cmd := command(t, c.environ, append(c.args, "--listen=127.0.0.1:0")...)
			b := start(t, cmd)
			if got, want := b.line("data"), filepath.Join(cmd.Dir, c.want)+" ("; !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestSecondBrokerOnADirectoryExits73AndNamesTheFirst(t *testing.T) {
	data := t.TempDir()
	first := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", data))
	second := run(t, command(t, nil, "--listen=127.0.0.1:0", "--data", data))
	wantFailure(t, second, exitInUse, fmt.Sprintf("in use by another broker (pid %d,", first.cmd.Process.Pid))
	if want := "; stop that one, or give this one a directory of its own with --data\n"; !strings.HasSuffix(second.stderr, want) {
		t.Errorf("got %s, want the way out at its end", second.stderr)
	}

	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait() // reports the kill
	third := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", data))
	if code := third.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("after a kill: exit code %d: %s", code, third.stderr)
	}
}

func TestPortInUseExits69AndSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := run(t, command(t, nil, "--listen", l.Addr().String()))
	want := "cannot listen on " + l.Addr().String() + ": the address is in use; stop the program that has it, or choose another address with --listen"
	if i := strings.LastIndex(r.stderr, "zbus: "); i >= 0 {
		r.stderr = r.stderr[i:] // without the log
	}
	wantFailure(t, r, exitUnavailable, want)
}

func TestUnwritableDirectoryExits77(t *testing.T) {
	sealed := t.TempDir()
	if err := os.Chmod(sealed, 0o555); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{sealed, filepath.Join(sealed, "new")} {
		cmd := command(t, nil, "--listen=127.0.0.1:0", "--data", data)
		if os.Geteuid() == 0 { // who may write everywhere
			cmd.Dir = "/"
			asNobody(cmd)
			openTo(t, sealed)
		}
		wantFailure(t, run(t, cmd), exitPermission, "permission denied")
	}
}

// openTo lets other users reach a temporary directory of this test.
func openTo(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
