package crashtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// A broker whose disk others fill to the last byte, or that fills it itself as far as
// it does, loses nothing, does everything but publishing, and takes messages again
// within five seconds.
func TestFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) {
			dir := smallDisk(t, kind, 64<<20)
			p := realBroker(t, "fsync")
			p.dir = filepath.Join(dir, "data")
			p.start()
			f := &filling{process: p, other: filepath.Join(dir, "other")}
			p.declare() // its explicit group is what is acked and relocated while the disk is full
			rounds := faultreport.ScaleAlways(t, 2, 20)
			for n := range rounds {
				f.round(n)
			}
			r := faultreport.Record{
				Test: "full-disk-" + kind, Fault: "the disk is filled to the last byte, and freed again",
				Promise: "nothing answered is lost, nothing refused is stored, all but publishing continues, publishing resumes within 5 s",
				Runs:    rounds, Broken: f.broken,
			}
			r.Add("stored", f.stored)
			r.Add("refused with 507", f.refused)
			r.Add("acks and other changes on a full disk", f.changes)
			r.Add("longest until publishing resumed", f.longest.Round(time.Millisecond))
			r.Save(t)
			if f.stored == 0 || f.refused == 0 || f.changes == 0 {
				t.Error("too little happened to prove something")
			}
		})
	}
}

// smallDisk is a small file system.
func smallDisk(t *testing.T, kind string, size int64) string {
	t.Helper()
	dir := t.TempDir()
	mount := []string{"mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", size), "none", dir}
	if kind == "ext4" {
		image := filepath.Join(t.TempDir(), "image")
		if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
			t.Skipf("NOT TESTED: a full disk: mkfs.ext4: %v: %s", err, out)
		}
		mount = []string{"mount", "-o", "loop", image, dir}
	}
	if out, err := exec.Command(mount[0], mount[1:]...).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: a full disk: %v: %s", err, out)
	}
	t.Cleanup(func() { // the broker may still be ending
		_ = syscall.Unmount(dir, syscall.MNT_DETACH)
	})
	return dir
}

// filling is a broker on a small disk and what was seen of it.
type filling struct {
	*process
	other string // a file that takes what the broker has not

	stored, refused, changes, broken int
	longest                          time.Duration
}

func (f *filling) fault(format string, args ...any) {
	f.broken++
	f.t.Errorf(format, args...)
}

// othersLeave is what others leave of the disk when they fill it, too.
const othersLeave = 20 << 20

// round fills the disk with messages of a topic of its own, every other time while
// something else fills it, too.
func (f *filling) round(n int) {
	name := fmt.Sprint("full", n)
	f.must("POST", "topics", `{"name": "`+name+`"}`)
	f.must("POST", "topics/"+topic+"/messages", `{"body": "to be acked"}`)
	if n%2 == 0 {
		f.fill(othersLeave)
	}
	a := &answers{yes: map[string]bool{}, no: map[string]string{}}
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { f.publish(name, i, a) })
	}
	clients.Wait()
	f.fill(0)
	f.whileFull(name)
	f.check(name, a)
	if n%2 == 1 { // room within the file alone, then from outside
		f.do("DELETE", "topics/"+name, "")
	}
	if err := os.Remove(f.other); err != nil {
		f.t.Fatal(err)
	}
	f.resume()
	if n%2 == 0 {
		f.kill()
		f.start()
		f.check(name, a)
		f.do("DELETE", "topics/"+name, "")
	}
}

// fill leaves n bytes of the disk, and takes as many at least: it waits until the file
// system has got back what earlier rounds left unused in the database.
func (f *filling) fill(n int64) {
	file, err := os.OpenFile(f.other, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); f.left() < 2*n; <-tick.C {
		if time.Since(began) > patience {
			f.fault("what is unused in the database is not given back: %d bytes are left of the disk", f.left())
			return
		}
	}
	for left := f.left() - n; left > 0; left = f.left() - n {
		if _, err := file.Write(make([]byte, min(left, 1<<20))); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			f.t.Fatal(err)
		}
	}
}

// left is what is left of the disk, with what only root may have.
func (f *filling) left() int64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &st); err != nil {
		f.t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// publish publishes until some messages were refused.
func (f *filling) publish(to string, client int, a *answers) {
	body := strings.Repeat("x", 50_000)
	for n, refused := 0, 0; refused < 5; n++ {
		id := fmt.Sprintf("%d/%d", client, n)
		status, _ := f.ask("POST", "topics/"+to+"/messages", fmt.Sprintf(`{"id": %q, "body": %q}`, id, body))
		a.is(id, status, "")
		if status != http.StatusInsufficientStorage && status/100 != 2 {
			f.t.Errorf("publish: %d", status)
			return
		}
		if status == http.StatusInsufficientStorage {
			refused++
		}
	}
}

// whileFull does everything that a full disk must not keep anybody from.
func (f *filling) whileFull(name string) {
	if status, _ := f.ask("POST", "topics/"+name+"/messages", `{"body": "x"}`); status != http.StatusInsufficientStorage {
		f.fault("a publish on a full disk: %d", status)
	}
	resp, err := http.Get("http://" + f.address + "/readyz")
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(text, []byte("disk")) {
		f.fault("readyz on a full disk: %s, %s, %v", resp.Status, text, err)
	}
	var got struct{ Deliveries []struct{ Handle string } }
	group := "topics/" + topic + "/groups/" + explicitGroup
	if err := json.Unmarshal(f.must("POST", group+":pull", `{"max": 1}`), &got); err != nil {
		f.t.Fatal(err)
	}
	for _, d := range got.Deliveries {
		f.do("POST", group+":ack", fmt.Sprintf(`{"handles": [%q]}`, d.Handle))
	}
	for range 20 {
		f.do("POST", "messages:transaction", fmt.Sprintf(`{"relocations": [{"topic": %q, "group": %q, "to": "latest", "reason": "a full disk"}]}`, topic, verifyGroup))
	}
	f.do("PATCH", "topics/"+topic, `{"retention": {"maxCount": "1000"}}`)
	f.do("POST", "topics/"+topic+":empty", "{}")
}

// do is a change that must work on a full disk.
func (f *filling) do(method, path, body string) {
	began := time.Now()
	status, text := f.ask(method, path, body)
	if f.changes++; status/100 != 2 {
		f.fault("%s %s on a full disk: %d %s", method, path, status, text)
	}
	if took := time.Since(began); took > allowed(f.t, 10*time.Second) {
		f.fault("%s %s on a full disk took %v", method, path, took)
	}
}

// must is a request that has to work.
func (f *filling) must(method, path, body string) []byte {
	f.t.Helper()
	status, text := f.ask(method, path, body)
	if status/100 != 2 {
		f.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// ask makes a request, and returns its answer.
func (f *filling) ask(method, path, body string) (int, []byte) {
	req, err := http.NewRequest(method, "http://"+f.address+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return 0, nil
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Errorf("%s %s: %v", method, path, err)
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Error(err)
	}
	return resp.StatusCode, text
}

// check compares what is stored with what was answered.
func (f *filling) check(name string, a *answers) {
	there := map[string]bool{}
	for from, more := 0, true; more; {
		var page struct {
			Messages []struct{ ID string }
			More     bool
		}
		f.get(fmt.Sprintf("topics/%s/messages?limit=1000&from=%d", name, from), &page)
		for _, m := range page.Messages {
			there[m.ID] = true
		}
		from, more = from+len(page.Messages), page.More
	}
	for id := range a.yes {
		if !there[id] {
			f.fault("%s was answered and is not there", id)
		}
	}
	for id, with := range a.no {
		if there[id] {
			f.fault("%s was refused (%s) and is stored", id, with)
		}
	}
	f.stored, f.refused = f.stored+len(a.yes), f.refused+len(a.no)
}

// resume waits until messages are taken.
func (f *filling) resume() {
	for began := time.Now(); ; {
		status, text := f.ask("POST", "topics/"+topic+"/messages", `{"body": "x"}`)
		took := time.Since(began)
		if f.longest = max(f.longest, took); status/100 == 2 && took < allowed(f.t, 5*time.Second) {
			return
		}
		if status/100 == 2 || took > patience {
			f.fault("after %v with room: %d %s", took, status, text)
			return
		}
	}
}

// A write that finds no room although there is some: of the log, of the database, and
// of whatever else.
func TestWritesThatFindNoRoom(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: writes that find no room: strace: %v: %s", err, out)
	}
	for _, errno := range []string{"ENOSPC", "EDQUOT"} { // EDQUOT: the quota of a user is used up
		t.Run(errno, func(t *testing.T) { writesFindNoRoom(t, errno) })
	}
}

func writesFindNoRoom(t *testing.T, errno string) {
	p := &process{t: t, dir: t.TempDir()}
	p.command = func() *exec.Cmd {
		cmd := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
			"-e", "trace=pwrite64", "-e", "inject=pwrite64:error="+errno+":when=600+23",
			os.Getenv(binaryVariable), "--listen=127.0.0.1:0", "--data="+p.dir)
		cmd.Env = []string{"HOME=/"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		t.Cleanup(func() { // strace alone would leave the broker behind
			if cmd.Process != nil {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			}
		})
		return cmd
	}
	p.start()
	f := &filling{process: p}
	f.must("POST", "topics", `{"name": "t"}`)
	a := &answers{yes: map[string]bool{}, no: map[string]string{}}
	for began := time.Now(); time.Since(began) < patience && (len(a.yes) < 200 || len(a.no) < 20); {
		id := fmt.Sprint(len(a.yes) + len(a.no))
		status, _ := f.ask("POST", "topics/t/messages", fmt.Sprintf(`{"id": %q, "body": "x"}`, id))
		if a.is(id, status, ""); status/100 != 2 && status != http.StatusInsufficientStorage {
			t.Fatalf("publish: %d: %s", status, &p.stderr)
		}
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
	p.command = realBrokerIn(p.dir)
	p.start()
	f.check("t", a)
	r := faultreport.Record{
		Test: "write-" + errno, Fault: "every 23rd write fails with " + errno, Promise: "yes is stored, 507 is not, the broker continues",
		Runs: f.refused, Broken: f.broken,
	}
	r.Add("stored", f.stored)
	r.Add("refused with 507", f.refused)
	r.Save(t)
	if f.stored == 0 || f.refused == 0 {
		t.Error("too little happened to prove something")
	}
}
