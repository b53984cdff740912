package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newcomer does what the section of the README on several servers says. The addresses are those of a
// loopback interface of the test's own, which nothing else uses.
type newcomer struct {
	t       *testing.T
	dir     string
	section string
}

// command is one of the section.
func (n *newcomer) command(line string) *exec.Cmd {
	cmd := exec.CommandContext(n.t.Context(), "sh", "-c", "exec "+line)
	cmd.Dir = n.dir
	cmd.Env = []string{"HOME=/", "PATH=" + filepath.Dir(os.Getenv(binaryVariable)) + ":" + os.Getenv("PATH")}
	return cmd
}

// lines are the commands of the section that begin with a word.
func (n *newcomer) lines(word string) (all []string) {
	for line := range strings.Lines(n.section) {
		if text, ok := strings.CutPrefix(line, "    "+word+" "); ok {
			text, _, _ = strings.Cut(text, " # ")
			all = append(all, word+" "+strings.TrimSpace(text))
		}
	}
	return all
}

// client builds the program of the section, and runs it. Its mails come by the scanner, for two minutes at most.
func (n *newcomer) client() *bufio.Scanner {
	n.t.Helper()
	_, program, _ := strings.Cut(n.section, "```go\n")
	program, _, _ = strings.Cut(program, "```\n")
	source, client := filepath.Join(n.dir, "main.go"), filepath.Join(n.dir, "client")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		n.t.Fatal(err)
	}
	build := exec.CommandContext(n.t.Context(), "go", "build", "-o", client, source)
	build.Dir = "../.." // the module has the client
	if out, err := build.CombinedOutput(); err != nil {
		n.t.Fatalf("the program does not build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(n.t.Context(), client)
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	n.t.Cleanup(func() {
		late.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

// mails waits until the program has printed a mail with this number or a later one, and returns its number.
func (n *newcomer) mails(lines *bufio.Scanner, number int) (last int) {
	n.t.Helper()
	for last = -1; last < number; {
		if !lines.Scan() {
			n.t.Fatalf("no more mails after %d", last)
		}
		if _, err := fmt.Sscanf(lines.Text(), "mail %d", &last); err != nil {
			n.t.Fatalf("%q: %v", lines.Text(), err)
		}
	}
	return last
}

// What the README says of several servers, as a newcomer would try it: the commands, the program, kill -9 of a
// server, its start, and curl.
func TestReadmeOfSeveralServers(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## More than one server\n")
	section, _, _ = strings.Cut(section, "\n## ")
	pid := os.Getpid()
	own := fmt.Sprintf("127.%d.%d.%d:", 1+pid%250, 1+pid/250%250, 1+pid/62500%250)
	n := &newcomer{t: t, dir: t.TempDir(), section: strings.ReplaceAll(section, "127.0.0.1:", own)}
	servers := n.lines("zbus serve")
	if len(servers) < 2 {
		t.Fatalf("the section has %q", servers)
	}
	start(t, n.command(servers[0]))
	second := start(t, n.command(servers[1]))
	lines := n.client()
	last := n.mails(lines, 3)
	second.stop(t, syscall.SIGKILL)
	last = n.mails(lines, last+5)
	start(t, n.command(servers[1]))
	n.mails(lines, last+3)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl: the commands for one address are not tried")
	}
	curls := n.lines("curl")
	if len(curls) < 3 {
		t.Fatalf("the section has %q", curls)
	}
	answer := ""
	for _, line := range curls {
		// A topic is known to the other server a moment after it was declared.
		for late := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			out, err := n.command(strings.Replace(line, "curl ", "curl -sS -f ", 1)).CombinedOutput()
			if answer = string(out); err == nil {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
		}
	}
	if answer != "hello" {
		t.Errorf("%q has brought %q", curls[len(curls)-1], answer)
	}
}
