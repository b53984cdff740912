package datadir

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// holderVariable turns the test binary into a process that opens the directory
// of that name, says so, and stays until it is killed.
const holderVariable = "DATADIR_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderVariable); path != "" {
		d, err := Open(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		weight := holderWeight()
		fmt.Println("held")
		time.Sleep(time.Hour)
		runtime.KeepAlive(weight)
		runtime.KeepAlive(d) // a file that is collected is closed
	}
	os.Exit(m.Run())
}

// holderBytes is the name of the variable that says how much memory the holder has in
// use: the more, the longer a killed one keeps its lock.
const holderBytes = "DATADIR_TEST_BYTES"

// holderWeight is that memory, with every page of it touched.
func holderWeight() []byte {
	n, _ := strconv.Atoi(os.Getenv(holderBytes))
	weight := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		weight[i] = 1
	}
	return weight
}

// hold starts a process that has the directory open.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("holder said %q, %v", line, err)
	}
	return cmd
}

func mustOpen(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestOpenRefusesADirectoryForEverybody(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "every user may write there") {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestOpenCreatesParents(t *testing.T) {
	mustOpen(t, filepath.Join(t.TempDir(), "a", "b", "data"))
}

func TestSecondOpenIsRefusedAndNamesTheFirst(t *testing.T) {
	path := t.TempDir()
	holder := hold(t, path)
	_, err := Open(path)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if want := fmt.Sprintf("pid %d,", holder.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want it to name %q", err, want)
	}
}

func TestSecondOpenInTheSameProcessIsRefused(t *testing.T) {
	path := t.TempDir()
	mustOpen(t, path)
	if _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
}

func TestRefusedOpenLeavesTheFirstOnesMarkAlone(t *testing.T) {
	path := t.TempDir()
	first := mustOpen(t, path)
	if err := first.MarkClean(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if _, err := os.Stat(first.Path(cleanName)); err != nil {
		t.Errorf("the mark is gone: %v", err)
	}
}

func TestKilledHolderIsNoObstacle(t *testing.T) {
	path := t.TempDir()
	holder := hold(t, path)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // reports the kill
	mustOpen(t, path)
	text, err := os.ReadFile(filepath.Join(path, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("pid %d\n", os.Getpid()); !strings.HasPrefix(string(text), want) {
		t.Errorf("lock says %q, want %q first", text, want)
	}
}

func TestOpenWaitsForALockThatADyingProcessStillHas(t *testing.T) {
	t.Setenv(holderBytes, strconv.Itoa(512<<20))
	path := t.TempDir()
	holder := hold(t, path)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path) // at once: freeing the memory takes the kernel tens of milliseconds
}

func TestUnreadableLockTextIsNoObstacle(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, lockName), []byte("pid 4711 but it broke\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestDatabaseIsKnownUntilItIsForgotten(t *testing.T) {
	path := t.TempDir()
	first := mustOpen(t, path)
	if id := first.Database(); id != "" {
		t.Errorf("a new directory had %q", id)
	}
	if err := errors.Join(first.SetDatabase("0123abcd"), first.Close()); err != nil {
		t.Fatal(err)
	}
	holder := hold(t, path) // writes the lock anew
	if _, err := Open(path); !strings.Contains(fmt.Sprint(err), fmt.Sprintf("pid %d,", holder.Process.Pid)) {
		t.Errorf("%v does not name the holder", err)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait() // reports the kill
	next := mustOpen(t, path)
	if id := next.Database(); id != "0123abcd" {
		t.Errorf("the directory had %q", id)
	}
	if err := errors.Join(next.SetDatabase(""), next.Close()); err != nil {
		t.Fatal(err)
	}
	if id := mustOpen(t, path).Database(); id != "" {
		t.Errorf("%q was not forgotten", id)
	}
}

func TestCloseLetsTheNextOneIn(t *testing.T) {
	path := t.TempDir()
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestCleanIsTrueOnlyAfterAnOrderlyStop(t *testing.T) {
	path := t.TempDir()
	if err := os.Mkdir(filepath.Join(path, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	stop := func(mark bool) bool {
		d := mustOpen(t, path)
		if err := os.WriteFile(d.Path("messages"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if mark {
			if err := d.MarkClean(); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		return d.Clean()
	}
	steps := []struct {
		name  string
		clean bool // what this start finds
		mark  bool // how it stops
	}{
		{"new directory", true, false},
		{"after a crash", false, false},
		{"after another crash", false, true},
		{"after an orderly stop", true, true},
		{"after another orderly stop", true, false},
		{"after a crash again", false, false},
	}
	for _, s := range steps {
		if got := stop(s.mark); got != s.clean {
			t.Errorf("%s: Clean() = %t, want %t", s.name, got, s.clean)
		}
	}
}

func TestOpenReportsAFileInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
}

func TestMarkThatIsPutBackIsFoundAgain(t *testing.T) {
	path := t.TempDir()
	d := mustOpen(t, path)
	if err := errors.Join(d.PutBack(), d.Close()); err != nil || d.Used() {
		t.Fatalf("new directory: %v, used: %v", err, d.Used())
	}
	d = mustOpen(t, path)
	if err := errors.Join(d.MarkClean(), d.Close()); err != nil || d.Used() {
		t.Fatalf("after nobody has stopped: %v, used: %v", err, d.Used())
	}
	for range 2 {
		d = mustOpen(t, path)
		if err := errors.Join(d.PutBack(), d.Close()); err != nil || !d.Used() || !d.Clean() {
			t.Fatalf("after an orderly stop: %v, used: %v", err, d.Used())
		}
	}
	if d = mustOpen(t, path); !d.Used() {
		t.Error("the mark was not put back")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d = mustOpen(t, path); d.Used() {
		t.Error("the mark is there after a crash")
	}
}
