package crashtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// clockVariable, when set, has brokers run whose wall clock is set. They are built with
// a standard library of their own, and SQLite with them, which takes a while.
const clockVariable = "ZBUS_CLOCK_STEPS"

// What is put into the broker: time.Now adds what a file says, which is mapped into
// memory. So all of the broker sees the step, at once, in every goroutine.
const (
	stepVariable = "TEST_CLOCK_FILE" // not ZBUS_…, which would be a setting

	nowBefore = "\tsec, nsec, mono := runtimeNow()\n"
	nowAfter  = nowBefore + `	if wallStep != nil {
		total := int64(nsec) + atomic.LoadInt64(wallStep)
		s := total / 1e9
		if total -= s * 1e9; total < 0 {
			s, total = s-1, total+1e9
		}
		sec, nsec = sec+s, int32(total)
	}
`
	nowSetter = `
var wallStep *int64

// SetWallStep names the place of the nanoseconds that are added to the wall clock.
func SetWallStep(at *int64) { wallStep = at }
`
	stepper = `package main

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	f, err := os.Open(os.Getenv("` + stepVariable + `"))
	if err != nil {
		panic(err)
	}
	page, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	time.SetWallStep((*int64)(unsafe.Pointer(&page[0])))
}
`
)

// steppedBinary builds the broker whose wall clock can be set.
func steppedBinary(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("SKIPPED: no clock was set: %v", err)
	}
	patches, added := steps(t)
	return buildPatched(t, patches, added)
}

// steps is what is patched in the broker, and added to it, so that its wall clock can be set.
func steps(t *testing.T) (patches []patch, added map[string]string) {
	t.Helper()
	if os.Getenv(clockVariable) == "" {
		t.Skipf("SKIPPED: no clock was set: %s is not set", clockVariable)
	}
	library := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // the one that builds this test
	src, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	return []patch{
		{library, nowBefore, nowAfter},
		{library, "import (\n", "import (\n\t\"sync/atomic\"\n"},
	}, map[string]string{library: string(src) + nowSetter, "../../cmd/zbus/step.go": stepper}
}

// stepped is a broker whose wall clock can be set, under strace.
type stepped struct {
	*process
	clock *os.File
	trace string // where strace writes the syncs
}

func startStepped(t *testing.T, binary string) *stepped {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &stepped{process: &process{t: t, dir: filepath.Join(dir, "data")}, trace: filepath.Join(dir, "trace")}
	if s.clock, err = os.Create(filepath.Join(dir, "clock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.clock.Close() })
	s.set(0)
	s.command = func() *exec.Cmd {
		// -D: the process that is started is the broker, so a kill kills that.
		cmd := exec.Command(strace, "-D", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-e", "signal=none", "-o", s.trace,
			binary, "--listen=127.0.0.1:0", "--data="+s.dir, "--durability=fsync")
		cmd.Env = []string{"HOME=/", stepVariable + "=" + s.clock.Name()}
		return cmd
	}
	s.start()
	return s
}

// set sets the wall clock.
func (s *stepped) set(step time.Duration) {
	s.t.Helper()
	if _, err := s.clock.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(step)), 0); err != nil {
		s.t.Fatal(err)
	}
}

// syncs is how often a file was synced, in all.
func (s *stepped) syncs() int {
	s.t.Helper()
	text, err := os.ReadFile(s.trace)
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes.Count(text, []byte("sync("))
}

// ask makes a request of the API, and puts the answer into answer.
func (s *stepped) ask(method, path string, body, answer any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+s.address+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, got, err)
	}
	if answer != nil {
		if err := json.Unmarshal(got, answer); err != nil {
			s.t.Fatalf("%s %s: %s: %v", method, path, got, err)
		}
	}
}

// depth is how many messages a topic has.
func (s *stepped) depth(topic string) string {
	s.t.Helper()
	var d struct{ Depth string }
	s.ask("GET", "/topics/"+topic, nil, &d)
	return d.Depth
}

// doubt is what the broker tells of its clock.
func (s *stepped) doubt() (text string) {
	s.t.Helper()
	var d struct {
		Conditions []struct{ Kind, Text string }
	}
	s.ask("GET", "/server", nil, &d)
	for _, c := range d.Conditions {
		if c.Kind == "clock" {
			text = c.Text
		}
	}
	return text
}

// await waits until something holds, and says what if it never does.
func (p *process) await(what string, holds func() bool) {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("never: %s", what)
		}
	}
}

// pass waits until retention has looked at all topics twice more: so often it drops what
// is beyond a count.
func (s *stepped) pass() {
	s.t.Helper()
	for i := range 2 {
		name := fmt.Sprintf("probe-%d-%d", i, time.Now().UnixNano())
		s.ask("POST", "/topics", object{"name": name, "retention": object{"maxCount": "1"}}, nil)
		s.ask("POST", "/topics/"+name+"/messages", make([]struct{}, 2), nil)
		s.await("retention by count works", func() bool { return s.depth(name) == "1" })
	}
}

func TestStepsOfTheClock(t *testing.T) {
	binary := steppedBinary(t)
	r := faultreport.Record{
		Test: "clock-steps", Fault: "the wall clock is set, by 1 ms back up to 12 years ahead, and a SIGKILL after it",
		Promise: "every answer is synced, and nothing is dropped by age until the jump is confirmed",
	}
	until2038 := time.Until(time.Date(2038, 1, 19, 3, 14, 0, 0, time.UTC))
	for _, step := range []time.Duration{
		-time.Millisecond, -30 * time.Second, -time.Hour, time.Hour, 48 * time.Hour, -30 * 24 * time.Hour, 30 * 24 * time.Hour, until2038,
	} {
		r.Runs++
		if !t.Run(step.Truncate(time.Millisecond).String(), func(t *testing.T) { setClock(t, startStepped(t, binary), step) }) {
			r.Broken++
		}
	}
	r.Save(t)
}

func setClock(t *testing.T, s *stepped, step time.Duration) {
	const before, after = 500, 40
	s.ask("POST", "/topics", object{"name": "log", "retention": object{"maxAge": 30 * 60 * 1000}}, nil)
	s.ask("POST", "/topics/log/messages", make([]struct{}, before), nil)
	s.pass()
	s.set(step)
	syncs := s.syncs()
	for range after {
		s.ask("POST", "/topics/log/messages", object{"body": "x"}, nil)
	}
	if n := s.syncs() - syncs; n < after {
		t.Errorf("%d syncs for %d answers, one after the other", n, after)
	}
	s.pass()
	if got, want := s.depth("log"), fmt.Sprint(before+after); got != want {
		t.Errorf("%s messages are left of %s", got, want)
	}
	jump := step > 5*time.Minute || step < -5*time.Minute
	if text := s.doubt(); jump != (text != "") {
		t.Errorf("told of the clock: %q", text)
	}
	s.kill()
	s.start()
	s.pass()
	if got, want := s.depth("log"), fmt.Sprint(before+after); got != want {
		t.Errorf("after a restart %s messages are left of %s", got, want)
	}
	if !jump {
		return
	}
	if out, err := exec.Command(os.Getenv(binaryVariable), "server", "confirm-clock", "--server="+s.address).CombinedOutput(); err != nil {
		t.Fatalf("confirm-clock: %v\n%s", err, out)
	}
	if text := s.doubt(); text != "" {
		t.Errorf("told of the clock that was confirmed: %q", text)
	}
	s.pass()
	want := fmt.Sprint(before + after)
	if step > 0 {
		want = fmt.Sprint(after)
	}
	if got := s.depth("log"); got != want {
		t.Errorf("when the clock is confirmed %s messages are left, want %s", got, want)
	}
}

func TestADelayOutlivesAStepOfTheClock(t *testing.T) {
	binary := steppedBinary(t)
	r := faultreport.Record{
		Test: "clock-delay", Fault: "SIGKILL while a returned message waits, and the wall clock is set by an hour before the next start",
		Promise: "the message comes back when its delay is over",
	}
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		r.Runs++
		ok := t.Run(step.String(), func(t *testing.T) {
			s := startStepped(t, binary)
			s.ask("POST", "/topics", object{"name": "jobs"}, nil)
			s.ask("POST", "/topics/jobs/groups", object{"name": "g", "settle": "explicit"}, nil)
			s.ask("POST", "/topics/jobs/messages", object{"body": "x"}, nil)
			s.pass() // the clock is saved by then
			type deliveries struct {
				Deliveries []struct{ Handle string }
			}
			var d deliveries
			s.ask("POST", "/topics/jobs/groups/g:pull", object{"timeout": 10_000}, &d)
			if len(d.Deliveries) != 1 {
				t.Fatalf("%d deliveries", len(d.Deliveries))
			}
			const delay = 5 * time.Second
			back := time.Now()
			s.ask("POST", "/topics/jobs/groups/g:nack", object{"handles": []string{d.Deliveries[0].Handle}, "delay": delay.Milliseconds()}, nil)
			s.kill()
			s.set(step)
			s.start()
			if s.doubt() == "" {
				t.Error("the broker says nothing of its clock")
			}
			var again deliveries
			s.ask("POST", "/topics/jobs/groups/g:pull", object{"timeout": 30_000}, &again)
			if took := time.Since(back); len(again.Deliveries) != 1 || took < delay-50*time.Millisecond || took > delay+15*time.Second {
				t.Errorf("%d deliveries after %s, want one after %s", len(again.Deliveries), took, delay)
			}
		})
		if !ok {
			r.Broken++
		}
	}
	r.Save(t)
}
