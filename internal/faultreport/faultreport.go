// Package faultreport keeps the figures of fault tests. A test that breaks something on
// purpose records what it did and what was found; a long run collects these records in
// a file, one JSON object a line, and the page that people read is rendered from it.
package faultreport

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// FileVariable names the file that records go to. Where it is not set, and in short runs,
// nothing is written.
const FileVariable = "ZBUS_FAULT_REPORT"

// ScaleVariable says how much fault tests do: "quick" or "full". Those that take long do
// nothing where it is not set.
const ScaleVariable = "ZBUS_FAULTS"

// Scale is how often a test does what it does, in a quick and in a full run. In any other
// run it skips the test.
func Scale(t testing.TB, quick, full int) int {
	t.Helper()
	switch scale := os.Getenv(ScaleVariable); scale {
	case "quick":
		return quick
	case "full":
		return full
	case "":
		t.Skipf("a fault test that takes long: make faults, or %s=quick", ScaleVariable)
	default:
		t.Fatalf("%s is %q: want quick or full", ScaleVariable, scale)
	}
	return 0
}

// ScaleAlways is Scale for a test that is part of every run: without a scale it is quick.
func ScaleAlways(t testing.TB, quick, full int) int {
	t.Helper()
	if os.Getenv(ScaleVariable) == "" {
		return quick
	}
	return Scale(t, quick, full)
}

// Figure is one number of a record, with the words for it.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Record is the outcome of one fault test.
type Record struct {
	Test    string   `json:"test"`           // a short name, such as "power-cut-ext4"; a later record replaces an earlier one
	Fault   string   `json:"fault"`          // what was done to the broker, in words
	Promise string   `json:"promise"`        // what has to hold
	Runs    int      `json:"runs"`           // how often it was done
	Broken  int      `json:"broken"`         // how often the promise did not hold
	Figures []Figure `json:"figures"`        // what else was counted
	Seed    string   `json:"seed,omitempty"` // what repeats the run
}

// Add appends a figure.
func (r *Record) Add(name string, value any) {
	r.Figures = append(r.Figures, Figure{name, fmt.Sprint(value)})
}

// Save writes the record to the log of the test and, where FileVariable is set, to that
// file, and fails the test if the promise was broken.
func (r *Record) Save(t testing.TB) {
	t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", line)
	if r.Broken > 0 {
		t.Errorf("%s: the promise was broken %d times: %s", r.Test, r.Broken, r.Promise)
	}
	if r.Runs == 0 {
		t.Errorf("%s: nothing was tried", r.Test)
	}
	path := os.Getenv(FileVariable)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Read reads records, sorted by name; of several with one name the last one counts.
func Read(src io.Reader) ([]Record, error) {
	byName := map[string]Record{}
	lines := bufio.NewScanner(src)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		byName[r.Test] = r
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	all := make([]Record, 0, len(byName))
	for _, r := range byName {
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y Record) int { return strings.Compare(x.Test, y.Test) })
	return all, nil
}

// ReadFile reads the records of a file.
func ReadFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := Read(f)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return all, nil
}

// Table renders records as a Markdown table.
func Table(all []Record) string {
	var b strings.Builder
	b.WriteString("| test | what is done | what has to hold | runs | broken | figures |\n|---|---|---|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, r := range all {
		figures := make([]string, len(r.Figures))
		for i, f := range r.Figures {
			figures[i] = f.Name + " " + f.Value
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d | %d | %s |\n", r.Test, cell.Replace(r.Fault), cell.Replace(r.Promise),
			r.Runs, r.Broken, cell.Replace(strings.Join(figures, "; ")))
	}
	return b.String()
}
