package crashtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/wire"
)

// A disk may write what was not synced in any order, and some of it not at all. A broker
// runs under strace, which records its writes, its syncs and its answers. From that,
// images of the data directory are made as a power cut could have left it at some
// moment: all that was synced, and of the rest a random choice of sectors. A store is
// opened on each image, and has to hold all that had been answered by then, in one piece.

const (
	imagesVariable = "ZBUS_TEST_IMAGES" // how many images the process below looks at
	// imagesRole, when set, makes the test binary the process that looks at the images of
	// a recording, in a mount namespace where the machine seems to have been booted anew.
	imagesRole   = "ZBUS_TEST_IMAGES_OF"
	imagesTopics = 3
	perRecording = 500 // images of one recording
)

// imageBody is what message n carries. Most are small; some have pages of their own.
func imageBody(n int) []byte {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	size := 1
	switch {
	case n%97 == 0:
		size = 1200
	case n%17 == 0:
		size = 150
	}
	return append([]byte(strconv.Itoa(n)+" "), bytes.Repeat(sum[:], size)...)
}

func imageTopic(n int) string { return "t" + strconv.Itoa(n%imagesTopics) }

func TestTornAndReorderedWritesLoseNothingThatWasAnswered(t *testing.T) {
	if dir := os.Getenv(imagesRole); dir != "" {
		lookAtImages(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: torn writes: a mount namespace needs root")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("NOT TESTED: torn writes: %v", err)
	}
	want := faultreport.Scale(t, 300, 10_000)
	r := faultreport.Record{
		Test: "torn-writes", Fault: "power cut that leaves any choice of the sectors not synced",
		Promise: "all that was answered is there, and the messages are the beginning of those sent",
	}
	total := findings{}
	for total.Images < want {
		dir := t.TempDir()
		record(t, dir, 12*time.Second)
		found := runImages(t, dir, min(perRecording, want-total.Images))
		total.add(found)
	}
	r.Runs, r.Broken = total.Images, total.Unreadable+total.Lost+total.Holes+total.Wrong
	r.Add("messages answered before the cuts", total.Answered)
	r.Add("stored beyond these", total.Beyond)
	r.Add("not readable", total.Unreadable)
	r.Add("lost", total.Lost)
	r.Add("holes", total.Holes)
	r.Add("wrong bytes", total.Wrong)
	r.Add("lost or not readable, had syncs done nothing (control)", total.Deaf)
	r.Save(t)
	if total.Answered == 0 || total.Deaf == 0 {
		t.Error("nothing was at stake")
	}
}

// record runs a broker under strace and publishes until enough was written, or for a time.
func record(t *testing.T, dir string, most time.Duration) {
	p := realBroker(t, "fsync")
	p.dir = filepath.Join(dir, "data")
	plain := p.command
	p.command = func() *exec.Cmd {
		cmd := plain()
		cmd.Args = append(append([]string{"strace"}, traceArgs(filepath.Join(dir, "trace"))...), cmd.Args...)
		cmd.Path, _ = exec.LookPath("strace")
		// The broker dies with strace, which is killed.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	p.start()
	c := p.dial()
	defer c.Close()
	for i := range imagesTopics {
		c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, imageTopic(i)))
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for n, begun := 0, time.Now(); n < 1500 && time.Since(begun) < most; {
		batch := 1 + rng.IntN(24)
		for range batch {
			c.put(imageBody(n), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, imageTopic(n)),
				field(wire.HeaderAck, "true"), field(wire.HeaderID, strconv.Itoa(n)))
			n++
		}
		c.wait()
		if err := c.w.Flush(); err != nil {
			t.Fatal(err)
		}
		for range batch {
			if m, err := c.r.Read(); err != nil || m.Status != 200 {
				t.Fatalf("publish: %v, %v", m, err)
			}
		}
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// findings are what images showed.
type findings struct {
	Images, Answered, Beyond, Unreadable, Lost, Holes, Wrong int
	// Deaf is what was lost on a disk that does nothing when told to sync: were it 0, the
	// images would be harmless.
	Deaf int
}

func (f *findings) add(g findings) {
	f.Images += g.Images
	f.Answered += g.Answered
	f.Beyond += g.Beyond
	f.Unreadable += g.Unreadable
	f.Lost += g.Lost
	f.Holes += g.Holes
	f.Wrong += g.Wrong
	f.Deaf += g.Deaf
}

const findingsMark = "findings: "

// runImages looks at images in a process for which the machine was booted anew.
func runImages(t *testing.T, dir string, images int) (found findings) {
	boot := filepath.Join(dir, "boot_id")
	if err := os.WriteFile(boot, []byte("00000000-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	memory := filepath.Join(dir, "images") // where syncs cost nothing
	if err := os.Mkdir(memory, 0o700); err != nil {
		t.Fatal(err)
	}
	script := `mount --make-rprivate / && mount --bind "$1" /proc/sys/kernel/random/boot_id && mount -t tmpfs tmpfs "$2" && shift 2 && exec "$@"`
	c := exec.Command("sh", "-c", script, "sh", boot, memory, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), imagesRole+"="+dir, imagesVariable+"="+strconv.Itoa(images), "TMPDIR="+memory)
	runtime.LockOSThread() // the process dies with the thread that started it
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("NOT TESTED: torn writes: a mount namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, line, ok := bytes.Cut(out, []byte(findingsMark))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	if err := json.Unmarshal(line, &found); err != nil || !ok {
		t.Fatalf("%v\n%s", err, out)
	}
	if bad := bytes.Count(out, []byte("image: ")); bad > 0 {
		t.Logf("%s", out)
	}
	return found
}

// lookAtImages makes images of a recording at random moments and opens them.
func lookAtImages(t *testing.T, dir string) {
	calls := readCalls(t, filepath.Join(dir, "trace"))
	d := newDisk(filepath.Join(dir, "data"))
	var moments []int // at which something is not synced, after the first answer
	for i, e := range calls {
		must(t, d.apply(e))
		if len(d.answered) > 0 && d.atStake() {
			moments = append(moments, i)
		}
	}
	if len(moments) == 0 {
		t.Fatal("nothing was at stake in the recording")
	}
	images := int(number(t, imagesVariable, 0))
	found := replay(t, newDisk(filepath.Join(dir, "data")), calls, moments, images)
	liar := newDisk(filepath.Join(dir, "data"))
	liar.deaf = true
	quiet := os.Stdout
	os.Stdout, _ = os.Open(os.DevNull)
	deaf := replay(t, liar, calls, moments, 30)
	os.Stdout = quiet
	found.Deaf = deaf.Lost + deaf.Unreadable
	text, err := json.Marshal(found)
	must(t, err)
	fmt.Println(findingsMark + string(text))
}

// replay makes images of a disk at random ones of the moments.
func replay(t *testing.T, d *disk, calls []event, moments []int, images int) (found findings) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	chosen := make([]int, images)
	for i := range chosen {
		chosen[i] = moments[rng.IntN(len(moments))]
	}
	slices.Sort(chosen)
	at := 0
	for _, moment := range chosen {
		for ; at <= moment; at++ {
			must(t, d.apply(calls[at]))
		}
		found.look(t, d, rng)
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readCalls(t *testing.T, path string) (all []event) {
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	r := newCallReader(f)
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, e)
	}
}

// look makes one image of the disk and compares it with what was answered.
func (f *findings) look(t *testing.T, d *disk, rng *rand.Rand) {
	share := []float64{0, 0.5, 0.9, 1}[rng.IntN(4)]
	files := d.image(func() bool { return rng.Float64() < share }, rng.IntN(len(d.pending)+1))
	dir, err := os.MkdirTemp("", "image-")
	must(t, err)
	defer os.RemoveAll(dir)
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	f.Images++
	there, err := readImage(dir)
	if err != nil {
		f.Unreadable++
		fmt.Printf("image: %v\n", err)
		return
	}
	f.compare(d, there)
}

// atStake reports whether anything is not synced.
func (d *disk) atStake() bool {
	for name, f := range d.names {
		if len(f.pending) > 0 && strings.HasPrefix(name, storeFile) && !strings.HasSuffix(name, "-shm") {
			return true
		}
	}
	return false
}

// readImage opens a store on an image and reads all messages, by topic.
func readImage(dir string) (map[string][]storage.Record, error) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, storeFile)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	state, err := s.Load(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string][]storage.Record{}
	for _, topic := range state.Topics {
		recs, err := s.Read(ctx, topic.ID, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil {
			return nil, err
		}
		there[topic.Name] = recs
	}
	return there, nil
}

// compare checks that an image holds a beginning of what was sent, one with all that
// was answered.
func (f *findings) compare(d *disk, there map[string][]storage.Record) {
	stored := map[int]bool{}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		for i, r := range there[name] {
			n, err := strconv.Atoi(r.ID)
			switch {
			case err != nil || r.Damaged() || r.Offset != int64(i) || imageTopic(n) != name || n/imagesTopics != i || !bytes.Equal(r.Body, imageBody(n)):
				f.Wrong++
				fmt.Printf("image: offset %d of %s is %d, message %q, damaged %v\n", i, name, r.Offset, r.ID, r.Damaged())
			default:
				stored[n] = true
			}
		}
	}
	for n := range len(stored) {
		if !stored[n] {
			f.Holes++
			fmt.Printf("image: message %d is not there, of %d\n", n, len(stored))
			break
		}
	}
	answered := 0
	for id := range d.answered {
		if n, err := strconv.Atoi(id); err == nil {
			answered++
			if !stored[n] {
				f.Lost++
				fmt.Printf("image: message %d was answered and is not there\n", n)
			}
		}
	}
	f.Answered += answered
	f.Beyond += len(stored) - answered
}
