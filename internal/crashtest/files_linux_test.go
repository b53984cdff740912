package crashtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
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

// Exit codes of a broker that does not start.
const (
	exitDamaged    = 65
	exitInUse      = 73
	exitIO         = 74
	exitPermission = 77
)

// messagesOf are the ids and bodies of all messages, by topic and offset.
func (p *process) messagesOf(topics ...string) string {
	p.t.Helper()
	var b strings.Builder
	for _, name := range topics {
		for from, more := 0, true; more; {
			var page struct {
				Messages []struct {
					Offset, ID, Body string
					BodyBase64       string
					Damaged          bool
				}
				More      bool
				ScannedTo int `json:",string"`
			}
			p.get(fmt.Sprintf("topics/%s/messages?limit=1000&from=%d", name, from), &page)
			for _, m := range page.Messages {
				fmt.Fprintln(&b, name, m.Offset, m.ID, m.Body, m.BodyBase64, m.Damaged)
			}
			from, more = page.ScannedTo, page.More
		}
	}
	return b.String()
}

// topics are the names of all topics.
func (p *process) topics() (names []string) {
	p.t.Helper()
	var list struct{ Topics []struct{ Name string } }
	p.get("topics?limit=500", &list)
	for _, t := range list.Topics {
		names = append(names, t.Name)
	}
	return names
}

// fails starts a broker that must not start, and returns its exit code and what it said.
func (p *process) fails() (code int, said string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	plain := p.command()
	cmd := exec.CommandContext(ctx, plain.Path, plain.Args[1:]...)
	cmd.Env, cmd.SysProcAttr = plain.Env, plain.SysProcAttr
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// contents are the checksums of the files of the directory, but for the lock, in which
// every broker writes who it is, and the index, which SQLite makes anew from the log.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	sums := map[string][32]byte{}
	entries, err := os.ReadDir(dir)
	if !errors.Is(err, syscall.ENOTDIR) {
		must(t, err)
	}
	for _, e := range entries {
		if e.Name() == "lock" || e.Name() == index || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		sums[e.Name()] = sha256.Sum256(data)
	}
	return sums
}

// filled is a directory that a broker has left, and what it held. Each pass adds to it.
func filled(t *testing.T, end syscall.Signal, passes int) (p *process, held string) {
	t.Helper()
	p = realBroker(t, "fsync")
	for range passes {
		p.start()
		p.declare()
		resp, err := http.Post("http://"+p.address+"/api/v1/topics/"+topic+"/messages", "application/json",
			strings.NewReader("["+strings.TrimSuffix(strings.Repeat(`{"body": "`+strings.Repeat("x", 300)+`"},`, 200), ",")+"]"))
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode/100 != 2 {
			t.Fatalf("publish: %s", resp.Status)
		}
		held = p.messagesOf(topic)
		if end == syscall.SIGTERM {
			p.terminate()
		}
		p.kill()
	}
	return p, held
}

const (
	database = "zbus.db"
	logFile  = "zbus.db-wal"
	index    = "zbus.db-shm"
	mark     = "zbus.db-mark"
)

// misfortune is what happens to the files of a broker that does not run.
type misfortune struct {
	name string
	end  syscall.Signal // of the broker before
	code int            // of the next start; 0: it starts, and all is there
	does func(t *testing.T, p *process)
}

func (p *process) file(name string) string { return filepath.Join(p.dir, name) }

func removed(names ...string) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		for _, name := range names {
			must(t, os.Remove(p.file(name)))
		}
	}
}

func cutTo(name string, part int64) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		info, err := os.Stat(p.file(name))
		must(t, err)
		must(t, os.Truncate(p.file(name), info.Size()*part/100))
	}
}

func scribbled(name string) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		must(t, os.WriteFile(p.file(name), bytes.Repeat([]byte("nonsense"), 4096), 0o600))
	}
}

// ofAnother has a file come from another broker's directory.
func ofAnother(name string) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		other, _ := filled(t, syscall.SIGKILL, 1)
		data, err := os.ReadFile(other.file(name))
		must(t, err)
		must(t, os.WriteFile(p.file(name), data, 0o600))
	}
}

// older has files be as they were before the last life of the broker.
func older(names ...string) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		before := map[string][]byte{}
		for _, name := range names {
			data, err := os.ReadFile(p.file(name))
			must(t, err)
			before[name] = data
		}
		p.start()
		must(t, post("http://"+p.address+"/produce/"+topic, "one more"))
		p.kill()
		for name, data := range before {
			must(t, os.WriteFile(p.file(name), data, 0o600))
		}
	}
}

func post(url, body string) error {
	resp, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

func misfortunes() []misfortune {
	const stopped, killed = syscall.SIGTERM, syscall.SIGKILL
	return []misfortune{
		{"database cut in half", stopped, exitDamaged, cutTo(database, 50)},
		{"database empty", stopped, exitDamaged, cutTo(database, 0)},
		{"database missing", stopped, exitDamaged, removed(database)},
		{"database missing after a kill", killed, exitDamaged, removed(database)},
		{"database not a database", stopped, exitDamaged, scribbled(database)},
		{"database of another broker", stopped, exitDamaged, ofAnother(database)},
		{"database older than its log", killed, exitDamaged, older(database)},
		{"database and log older than their mark", killed, exitDamaged, older(database, logFile)},
		{"log missing", killed, exitDamaged, removed(logFile)},
		{"log cut in half", killed, exitDamaged, cutTo(logFile, 50)},
		{"log empty", killed, exitDamaged, cutTo(logFile, 0)},
		{"log not a log", killed, exitDamaged, scribbled(logFile)},
		{"log of another broker", killed, exitDamaged, ofAnother(logFile)},
		{"log of another broker after a stop", stopped, 0, ofAnother(logFile)},
		{"index missing", killed, 0, removed(index)},
		{"index not an index", killed, 0, scribbled(index)},
		{"index of another broker", killed, 0, ofAnother(index)},
		{"mark missing", killed, 0, removed(mark)},
		{"mark empty", killed, 0, cutTo(mark, 0)},
		{"lock and ballast missing", killed, 0, removed("lock", "ballast")},
		{"owner is another", stopped, exitPermission, foreignOwner},
		{"directory is a file", stopped, exitIO, func(t *testing.T, p *process) {
			p.dir = filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(p.dir, []byte("no directory"), 0o600))
		}},
	}
}

// foreignOwner has the broker run as nobody, who may use the binary and not the directory.
func foreignOwner(t *testing.T, p *process) {
	for dir := filepath.Dir(os.Getenv(binaryVariable)); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		must(t, err)
		if info.Mode()&1 == 0 {
			must(t, os.Chmod(dir, info.Mode()|1))
			t.Cleanup(func() { _ = os.Chmod(dir, info.Mode()) })
		}
	}
	plain := p.command
	p.command = func() *exec.Cmd {
		cmd := plain()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd
	}
}

func TestMisfortunesOfFiles(t *testing.T) {
	_ = faultreport.Scale(t, 1, 1)
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: files that are missing or wrong: another owner needs root")
	}
	r := faultreport.Record{
		Test: "files", Fault: "files of the data directory are missing, cut, overwritten, older, another broker's or another user's",
		Promise: "the start is refused with the right exit code and changes nothing, or all that was answered is there",
	}
	refused := 0
	for _, m := range misfortunes() {
		r.Runs++
		if !t.Run(m.name, func(t *testing.T) { m.check(t) }) {
			r.Broken++
		}
		if m.code != 0 {
			refused++
		}
	}
	r.Add("refused", refused)
	r.Add("recovered", r.Runs-refused)
	r.Save(t)
}

func (m *misfortune) check(t *testing.T) {
	p, held := filled(t, m.end, 1)
	m.does(t, p)
	if m.code == 0 {
		p.start()
		if got := p.messagesOf(topic); got != held {
			t.Errorf("%d bytes of messages are there, want %d", len(got), len(held))
		}
		return
	}
	before := contents(t, p.dir)
	code, said := p.fails()
	if code != m.code || !strings.Contains(said, p.dir) {
		t.Errorf("exit code %d, want %d: %s", code, m.code, said)
	}
	after := contents(t, p.dir)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			t.Errorf("%s was changed by a start that was refused", name)
		}
	}
}
