package faultreport

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRecordsComeBackAndTheLastOneOfANameCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	t.Setenv(FileVariable, path)
	for _, runs := range []int{1, 2} {
		r := Record{Test: "kill", Fault: "SIGKILL | under load", Promise: "nothing is lost", Runs: runs}
		r.Add("answered", 10*runs)
		r.Save(t)
	}
	(&Record{Test: "cut", Fault: "power cut", Promise: "nothing is lost", Runs: 3}).Save(t)
	all, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Test != "cut" || all[1].Runs != 2 {
		t.Fatalf("read %+v", all)
	}
	want := "| `kill` | SIGKILL \\| under load | nothing is lost | 2 | 0 | answered 20 |\n"
	if table := Table(all); !strings.Contains(table, want) {
		t.Errorf("table:\n%swant the line\n%s", table, want)
	}
}

func TestUnreadableLineIsNamed(t *testing.T) {
	if _, err := Read(strings.NewReader("{}\nnothing\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want the number of the line", err)
	}
}

// complaints counts what a record reports as errors.
type complaints struct {
	testing.TB
	errors int
}

func (c *complaints) Errorf(string, ...any) { c.errors++ }

func TestABrokenPromiseFailsTheTest(t *testing.T) {
	for _, r := range []Record{{Test: "x", Runs: 1, Broken: 1}, {Test: "x"}} {
		c := &complaints{TB: t}
		r.Save(c)
		if c.errors != 1 {
			t.Errorf("%+v: %d errors, want 1", r, c.errors)
		}
	}
}
