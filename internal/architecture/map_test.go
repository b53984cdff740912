package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// layout is the column of names in CONTRIBUTING's map.
func layout(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Layout\n")
	section, _, _ = strings.Cut(section, "A request goes down")
	for _, line := range regexp.MustCompile(`(?m)^ {4,10}[a-z].*$`).FindAllString(section, -1) {
		column, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
		for _, path := range strings.Fields(column) {
			names = append(names, strings.Split(strings.Trim(path, "/"), "/")...)
		}
	}
	if len(names) < 20 {
		t.Fatalf("CONTRIBUTING's layout names %q", names)
	}
	return names
}

// Each folder with code has its line in the map, and each line its folder.
func TestTheMapShowsEveryFolder(t *testing.T) {
	mapped := layout(t)
	var there []string
	for _, pattern := range []string{"../../[a-z]*", "../../internal/*", "../../internal/storage/*", "../../internal/storage/postgres/*", "../../internal/storage/sqlite/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				there = append(there, filepath.Base(path))
			}
		}
	}
	unmapped := []string{"bench", "bin", "testdata"} // what is built or measured here, and what tests read
	for _, name := range there {
		if !slices.Contains(append(mapped, unmapped...), name) {
			t.Errorf("%s: CONTRIBUTING's layout has no line for it", name)
		}
	}
	for _, name := range mapped {
		_, err := os.Stat(filepath.Join("../..", name)) // a file, or a folder below one that was looked into
		if err != nil && !slices.Contains(there, name) && name != "adr" {
			t.Errorf("CONTRIBUTING's layout names %s, which does not exist", name)
		}
	}
}
