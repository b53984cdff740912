package crashtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// patch replaces a text in a source file of the broker. A file without the text is not as
// the test knows it, which fails the test.
type patch struct{ file, before, after string }

// buildPatched builds the broker from sources of which some are patched, and some are
// added, by their paths. The sources themselves stay as they are.
func buildPatched(t *testing.T, patches []patch, added map[string]string) (binary string) {
	t.Helper()
	texts := map[string]string{}
	for path, text := range added {
		texts[absolute(t, path)] = text
	}
	for _, p := range patches {
		path := absolute(t, p.file)
		if _, ok := texts[path]; !ok {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(text)
		}
		if !strings.Contains(texts[path], p.before) {
			t.Fatalf("%s is not as this test knows it, it has no %q", p.file, p.before)
		}
		texts[path] = strings.ReplaceAll(texts[path], p.before, p.after)
	}
	dir := t.TempDir()
	replaced := map[string]string{}
	for path, text := range texts {
		replaced[path] = filepath.Join(dir, strconv.Itoa(len(replaced))+".go")
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "zbus")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "../../cmd/zbus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
