package crashtest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// silence is a log that nobody gets to read.
type silence struct {
	name string
	// begin changes how the broker is started.
	begin func(t *testing.T, p *process)
	// then, unless nil, happens while it runs, before it logs.
	then func(t *testing.T)
	// end, unless nil, looks at what became of the log after that.
	end func(t *testing.T, p *process)
}

// into has the broker's standard error be what a shell makes of a redirection.
func into(redirection string) func(*testing.T, *process) {
	return func(_ *testing.T, p *process) {
		plain := p.command
		p.command = func() *exec.Cmd {
			cmd := plain()
			cmd.Args = slices.Concat([]string{"sh", "-c", `exec "$@" ` + redirection, "sh"}, cmd.Args)
			cmd.Path = "/bin/sh"
			return cmd
		}
	}
}

// reader is the other end of a log that goes to a named pipe.
type reader struct {
	path string
	file *os.File
}

func (r *reader) begin(t *testing.T, p *process) {
	r.path = filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(r.path, 0o600))
	var err error
	r.file, err = os.OpenFile(r.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { _ = r.file.Close() })
	into("2>"+r.path)(t, p)
}

func silences() []silence {
	gone, stuck := &reader{}, &reader{}
	full := &fullLog{}
	return []silence{
		{name: "standard error closed from the start", begin: into("2>&-")},
		{name: "standard error on a full device", begin: into("2>/dev/full")},
		{name: "reader of standard error gone", begin: gone.begin, then: func(t *testing.T) { must(t, gone.file.Close()) }},
		{name: "reader of standard error stuck", begin: stuck.begin},
		{name: "log directory on a full disk", begin: full.begin, then: full.fill, end: full.again},
	}
}

// fullLog is a log directory on a small disk of its own.
type fullLog struct{ dir, other string }

func (l *fullLog) begin(t *testing.T, p *process) {
	l.dir = smallDisk(t, "tmpfs", 256<<10)
	l.other = filepath.Join(l.dir, "other")
	p.with("--log-dir=" + filepath.Join(l.dir, "logs"))
}

func (l *fullLog) fill(t *testing.T) {
	if err := os.WriteFile(l.other, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk of the log: %v", err)
	}
}

// again makes room: the log then says how much of it was lost.
func (l *fullLog) again(t *testing.T, p *process) {
	must(t, os.Remove(l.other))
	p.chatter(10)
	p.await("the log says what was lost", func() bool {
		files, err := filepath.Glob(filepath.Join(l.dir, "logs", "*"))
		must(t, err)
		for _, name := range files {
			text, err := os.ReadFile(name)
			must(t, err)
			if strings.Contains(string(text), "log lines were lost") {
				return true
			}
		}
		return false
	})
}

// chatter makes the broker write so many lines to its log.
func (p *process) chatter(lines int) {
	p.t.Helper()
	for range lines {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.address+"/", nil)
		must(p.t, err)
		req.Header.Set("Connection", "Upgrade") // to what has no key, and is refused
		req.Header.Set("Upgrade", "websocket")
		resp, err := http.DefaultClient.Do(req)
		must(p.t, err)
		must(p.t, resp.Body.Close())
	}
}

// TestLogsThatNobodyReads also fills the pipe to a reader that is stuck, with more lines than
// the broker keeps.
func TestLogsThatNobodyReads(t *testing.T) {
	t.Parallel()
	lines := faultreport.Scale(t, 5000, 20_000)
	r := faultreport.Record{
		Test: "log", Fault: "standard error is closed, full, or its reader gone or stuck; the disk of the log directory is full",
		Promise: "the broker serves, stops gracefully, and all that was answered is there",
	}
	for _, s := range silences() {
		r.Runs++
		if !t.Run(s.name, func(t *testing.T) { s.check(t, lines) }) {
			r.Broken++
		}
	}
	r.Add("lines logged each time", lines)
	r.Save(t)
}

func (s *silence) check(t *testing.T, lines int) {
	p := realBroker(t, "fsync")
	plain := p.command
	p.with("--log-level=debug")
	s.begin(t, p)
	p.start()
	p.declare()
	if s.then != nil {
		s.then(t)
	}
	p.chatter(lines)
	const messages = 100
	for n := range messages {
		must(t, post("http://"+p.address+"/produce/"+topic, fmt.Sprint("message ", n)))
	}
	if s.end != nil {
		s.end(t, p)
	}
	if took := p.terminate(); took > allowed(t, stopTime) {
		t.Errorf("the stop took %v", took)
	}
	p.command = plain
	p.start()
	if n := strings.Count(p.messagesOf(topic), "\n"); n != messages {
		t.Errorf("%d messages are there, want %d", n, messages)
	}
}
