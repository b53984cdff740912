package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who logs in at a terminal is asked, and the password is not shown.
func TestLoginAsksAndDoesNotShowThePassword(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	environ := []string{"HOME=/", "XDG_CONFIG_HOME=" + t.TempDir(), "ZBUS_SERVER=" + b.address()}
	add := command(t, environ, "account", "add", "ann", "--admin", "--password-stdin")
	add.Stdin = strings.NewReader(password + "\n")
	if r := run(t, add); r.code != 0 {
		t.Fatal(r.stderr)
	}
	keys, tty := terminal(t)
	cmd := command(t, environ, "login")
	stderr, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stdin, cmd.Stderr = tty, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.Close()
	defer killLate(cmd)()
	readUntil(t, stderr, "Account: ")
	if _, err := keys.WriteString("ann\n"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stderr, "Password: ")
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil || time.Now().After(end) {
			t.Fatalf("the terminal shows what is typed: %v", err)
		}
		if mode.Lflag&unix.ECHO == 0 {
			break
		}
	}
	if _, err := keys.WriteString(password + "\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(stderr)
	if err != nil || !strings.Contains(string(rest), "logged in to "+b.address()+" as ann") {
		t.Errorf("%s: %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal is not as it was: %v", err)
	}
	tty.Close()
	shown, _ := io.ReadAll(keys) // ends with an error: nobody has the terminal
	if strings.Contains(string(shown), password) || !strings.Contains(string(shown), "ann") {
		t.Errorf("the terminal has shown %q", shown)
	}
	if r := run(t, command(t, environ, "whoami")); !strings.Contains(r.out, "account  ann\n") {
		t.Errorf("%+v", r)
	}
}
