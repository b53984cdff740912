package crashtest

import (
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// schemas are databases of older builds, one a schema.
func schemas(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../storage/sqlite/testdata/schema*.db.gz")
	must(t, err)
	if len(all) < 2 {
		t.Fatalf("%d databases of older builds", len(all))
	}
	return all
}

// left is a broker, not yet started, on a database of an older build.
func left(t *testing.T, name string) *process {
	t.Helper()
	p := realBroker(t, "fsync")
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, err)
	must(t, os.WriteFile(p.file(database), data, 0o600))
	return p
}

// state is what a broker holds, in words.
func (p *process) state() string {
	p.t.Helper()
	names := slices.DeleteFunc(p.topics(), func(name string) bool { return name == "calls" }) // which holds none
	var b strings.Builder
	for _, name := range names {
		var list struct {
			Groups []struct{ Name, Filter, Settle, Cursor string }
		}
		p.get("topics/"+name+"/groups", &list)
		fmt.Fprintln(&b, name, list)
	}
	for _, name := range names {
		b.WriteString(p.messagesOf(name))
	}
	return b.String()
}

var migrating = []point{
	{"migration-written", resuming, "pwrite64", logFile, 40},
	{"migration-copied", resuming, "pwrite64", database, 20},
	{"migration-synced", resuming, "fsync", logFile, 3},
	{"migration-marked", resuming, "renameat", mark + ".new", 1},
	{"migration-mark-written", resuming, "pwrite64", mark, 2},
}

// TestKilledWhileTheSchemaChanges kills the first start of a new build on an old database.
func TestKilledWhileTheSchemaChanges(t *testing.T) {
	kills := faultreport.Scale(t, 10, 100)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("NOT TESTED: kills while the schema changes: %v", err)
	}
	r := faultreport.Record{
		Test: "migration-kill", Fault: "SIGKILL at a write or sync of the start that changes the schema, for each schema there was",
		Promise: "the next start opens the database, and all is there",
	}
	old := schemas(t)
	want := map[string]string{}
	for _, name := range old {
		p := left(t, name)
		p.start()
		want[name] = p.state()
		p.kill()
	}
	reached := 0
	for n := range kills {
		name := old[n/len(migrating)%(len(old)-1)] // not the newest, which does not change
		x := migrating[n%len(migrating)]
		p := left(t, name)
		if p.dieAt(x) {
			reached++
		}
		p.start()
		if got := p.state(); got != want[name] {
			r.Broken++
			t.Errorf("%s after a kill at %v:\n%.500s\nwant\n%.500s", filepath.Base(name), x, got, want[name])
		}
		p.kill()
		r.Runs++
	}
	r.Add("killed during the change", reached)
	r.Add("schemas", len(old))
	r.Save(t)
	if reached == 0 {
		t.Error("no start was killed")
	}
}

// TestStartsThatAreRefused is about directories that the broker must not use.
func TestStartsThatAreRefused(t *testing.T) {
	_ = faultreport.Scale(t, 1, 1)
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: refused starts: mounting needs root")
	}
	r := faultreport.Record{
		Test: "refused-starts", Fault: "a second broker, a newer schema, a read-only file system",
		Promise: "the start is refused within 3 s with the right exit code, and changes nothing",
	}
	for _, c := range []struct {
		name, says string
		code       int
		does       func(t *testing.T, p *process) (first *process) // that runs on
	}{
		{"second broker", "in use by another broker", exitInUse, second},
		{"second broker, lock file removed", "in use by another broker", exitInUse, func(t *testing.T, p *process) *process {
			first := second(t, p)
			must(t, os.Remove(p.file("lock")))
			return first
		}},
		{"newer schema", "newer than this zbus knows", exitDamaged, func(t *testing.T, p *process) *process {
			p.sql(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
			return nil
		}},
		{"read-only file system", "read-only file system", exitPermission, readOnly},
	} {
		r.Runs++
		if !t.Run(c.name, func(t *testing.T) {
			p, _ := filled(t, syscall.SIGTERM, 1)
			first := c.does(t, p)
			before := contents(t, p.dir)
			// Other work on the machine comes and goes; what a start needs, each needs.
			took := time.Hour
			for n := 0; n < 3 && took > allowed(t, 3*time.Second); n++ {
				began := time.Now()
				code, said := p.fails()
				if took = min(took, time.Since(began)); code != c.code || !strings.Contains(said, c.says) {
					t.Errorf("exit code %d, want %d: %s", code, c.code, said)
				}
			}
			if took > allowed(t, 3*time.Second) {
				t.Errorf("the start was refused after %v", took)
			}
			if first != nil {
				must(t, post("http://"+first.address+"/produce/"+topic, "after that"))
				return // what it writes is its own
			}
			for name, sum := range contents(t, p.dir) {
				if before[name] != sum {
					t.Errorf("%s was changed", name)
				}
			}
		}) {
			r.Broken++
		}
	}
	r.Save(t)
}

// second has a broker run on the directory.
func second(t *testing.T, p *process) *process {
	first := &process{t: t, dir: p.dir, command: p.command}
	first.start()
	return first
}

func readOnly(t *testing.T, p *process) *process {
	if err := syscall.Mount(p.dir, p.dir, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("NOT TESTED: this process cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(p.dir, syscall.MNT_DETACH) })
	if err := syscall.Mount("", p.dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("NOT TESTED: this process cannot remount: %v", err)
	}
	return nil
}

// TestFileSystemThatTurnsReadOnly has all writes of a broker fail from some moment on, as
// they do when the system finds the file system damaged.
func TestFileSystemThatTurnsReadOnly(t *testing.T) {
	rounds := faultreport.Scale(t, 2, 20)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skipf("NOT TESTED: a file system that turns read-only: %v", err)
	}
	r := faultreport.Record{
		Test: "read-only", Fault: "the file system turns read-only under load (EROFS)",
		Promise: "the broker exits with 74 and says why, and all that was answered is there", Runs: rounds,
	}
	answered, longest := 0, time.Duration(0)
	for n := range rounds {
		p := realBroker(t, "fsync")
		p.start()
		p.declare()
		a := &answers{yes: map[string]bool{}, no: map[string]string{}}
		asked := make(chan struct{})
		go func() { p.ask(n, a); close(asked) }()
		p.await("there is something at stake", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.yes) > 200
		})
		cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,ftruncate,fallocate",
			"-e", "inject=pwrite64,ftruncate,fallocate:error=EROFS", "-p", strconv.Itoa(p.cmd.Process.Pid))
		began := time.Now()
		must(t, cmd.Start())
		late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // the code says it
		late.Stop()
		longest = max(longest, time.Since(began))
		_ = cmd.Wait()
		<-asked
		if code := p.cmd.ProcessState.ExitCode(); code != exitIO || !strings.Contains(p.stderr.String(), "read-only file system") {
			r.Broken++
			t.Errorf("exit code %d, want 74: %s", code, &p.stderr)
		}
		p.start()
		there := p.everything()
		p.kill()
		for name := range a.yes {
			if !there[name] {
				r.Broken++
				t.Errorf("%s was answered and is not there", name)
			}
		}
		for name := range a.no {
			if there[name] {
				r.Broken++
				t.Errorf("%s was refused and is there", name)
			}
		}
		answered += len(a.yes)
	}
	r.Add("answered before", answered)
	r.Add("longest until the broker had exited ms", longest.Milliseconds())
	r.Save(t)
	if answered == 0 {
		t.Error("nothing was at stake")
	}
}

// sql changes the database of a broker that does not run.
func (p *process) sql(t *testing.T, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", p.file(database))
	must(t, err)
	_, err = db.Exec(text)
	must(t, errors.Join(err, db.Close()))
}
