package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that was killed and does not get to run holds its lock as long, however long that is.
func TestOpenWaitsLongerForAHolderThatWasKilled(t *testing.T) {
	group := fmt.Sprintf("/sys/fs/cgroup/freezer/zbus-test-%d", os.Getpid())
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Skipf("NOT TESTED: a process that was killed and does not end: %v", err)
	}
	set := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	path := t.TempDir()
	holder := hold(t, path)
	t.Cleanup(func() {
		set("freezer.state", "THAWED")
		_ = holder.Wait()
		_ = os.Remove(group)
	})
	set("cgroup.procs", fmt.Sprint(holder.Process.Pid))
	set("freezer.state", "FROZEN")
	for state := ""; state != "FROZEN"; {
		text, err := os.ReadFile(filepath.Join(group, "freezer.state"))
		if err != nil {
			t.Fatal(err)
		}
		state = strings.TrimSpace(string(text))
	}
	if dying(holder.Process.Pid) {
		t.Error("a process that lives is said to be dying")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// That Open waits beyond its usual patience is what the test is about.
	thaw := time.AfterFunc(lockPatience+lockPatience/2, func() { set("freezer.state", "THAWED") })
	defer thaw.Stop()
	mustOpen(t, path)
}
