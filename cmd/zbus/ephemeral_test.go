package main

import (
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// zbus consume leaves nothing behind, also where there is nothing to read and whenever it
// is ended.
func TestConsumeLeavesNoGroupWheneverItIsEnded(t *testing.T) {
	b := start(t, command(t, nil, "--listen", "127.0.0.1:0", "--data", t.TempDir()))
	at := b.address()
	topic := func() string {
		resp, err := http.Get("http://" + at + "/query/T")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if resp, err := http.Get("http://" + at + "/declare/T"); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	for i := range 20 {
		args := []string{"consume", "T", "--server", at}
		if i%2 == 0 {
			args = append(args, "--follow")
		}
		consumer := command(t, nil, args...)
		if err := consumer.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.After(time.Duration(i) * 5 * time.Millisecond) // any will do
		for over := false; !over; {
			select {
			case <-moment:
				over = true
			default:
				over = strings.Contains(topic(), "~") // the first at which there is one
			}
		}
		signal := syscall.SIGKILL
		if i%3 == 0 {
			signal = syscall.SIGINT
		}
		if err := consumer.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := consumer.Wait(); err != nil && !isExit(err) {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); strings.Contains(topic(), "~"); {
		if time.Now().After(end) {
			t.Fatalf("groups stay: %s", topic())
		}
	}
	b.stop(t, syscall.SIGTERM)
}

// One that has ended has left nothing that the next command would see.
func TestTheGroupOfConsumeIsGoneWhenItEnds(t *testing.T) {
	b := start(t, command(t, nil, "--listen", "127.0.0.1:0", "--data", t.TempDir()))
	at := b.address()
	if out, err := command(t, nil, "topic", "create", "T", "--server", at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 20 {
		if out, err := command(t, nil, "consume", "T", "--server", at).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		resp, err := http.Get("http://" + at + "/query/T")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || strings.Contains(string(text), "~") {
			t.Fatalf("%v: %s", err, text)
		}
	}
	b.stop(t, syscall.SIGTERM)
}

func isExit(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit)
}
