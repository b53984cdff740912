package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestManualPagesAreWrittenForEverything(t *testing.T) {
	dir := t.TempDir()
	if said, err := exec.CommandContext(t.Context(), "go", "run", "-tags=man", ".", "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for page, want := range map[string]string{
		"zbus.1": `message queue`, "zbus-produce.1": `zbus produce orders --ndjson`, "zbus-topic-create.1": `Create a topic`, "zbus-group-filter.1": `.`,
		"zbus-exit-codes.1": `(?m)^ *75  `,
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !regexp.MustCompile(want).Match(text) {
			t.Errorf("%s: no %q in %s, %v", page, want, text, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "zbus-man.1")); err == nil {
		t.Error("there is a page for what writes the pages")
	}
}
