package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: what is written to the first file is typed at the
// second.
func terminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("NOT TESTED: this system has no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	fd := int(keys.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return keys, tty
}

// readUntil reads until there was a text, and returns all that was read.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var got bytes.Buffer
	for one := make([]byte, 1); !strings.HasSuffix(got.String(), text); {
		if _, err := r.Read(one); err != nil {
			t.Fatalf("%v after %q, without %q", err, got.String(), text)
		}
		got.Write(one)
	}
	return got.String()
}

// A plan that a user looked at is not applied to a group that is elsewhere by then:
// there is a fresh one, and another question.
func TestRelocateAsksAgainWhenTheGroupMovedMeanwhile(t *testing.T) {
	b := start(t, command(t, nil, "--listen=127.0.0.1:0"))
	environ := []string{"HOME=/", "ZBUS_SERVER=" + b.address()}
	zbus := func(args ...string) result { return run(t, command(t, environ, args...)) }
	zbus("topic", "create", "orders")
	zbus("produce", "orders", "--body", "one")
	zbus("group", "create", "orders", "billing", "--start", "earliest")

	keys, tty := terminal(t)
	cmd := command(t, environ, "relocate", "orders", "billing", "--to", "latest")
	stderr, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, &out, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.Close()
	defer killLate(cmd)()
	answer := func(text string) {
		if _, err := keys.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	readUntil(t, stderr, "Move group orders/billing from 0 to 1? [y/N] ")
	if r := zbus("relocate", "orders", "billing", "--to", "latest", "--yes"); r.code != 0 {
		t.Fatalf("the other move: %+v", r)
	}
	answer("y\n")
	news := readUntil(t, stderr, "Move group orders/billing from 1 to 1? [y/N] ")
	if !strings.Contains(news, "This is the plan now:") {
		t.Errorf("said %q", news)
	}
	answer("n\n")
	rest, _ := io.ReadAll(stderr)
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1: %s", err, rest)
	}
	if !strings.Contains(out.String(), "none: the group is already there") {
		t.Errorf("printed %s", out.String())
	}
}
