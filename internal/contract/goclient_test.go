package contract

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The client is generated when it is tried, and compiled as if it were a package of the tree.
func TestGeneratedGoClientGetsThroughAWholeStory(t *testing.T) {
	dir := t.TempDir()
	client, config, overlay := filepath.Join(dir, "client.go"), filepath.Join(dir, "oapi.yaml"), filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(config, []byte("package: goclient\noutput: "+client+"\ngenerate: { client: true, models: true }\n"), 0o600))
	here, err := os.Getwd()
	must(t, err)
	files, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "goclient", "client.go"): client}})
	must(t, err)
	must(t, os.WriteFile(overlay, files, 0o600))
	b := start(t)
	proxy := httptest.NewServer(b.proxy(t))
	t.Cleanup(proxy.Close)
	for _, line := range [][]string{
		{"tool", "-modfile=../../tools/go.mod", "oapi-codegen", "-config", config, "../../openapi.yaml"},
		{"run", "-overlay=" + overlay, "./testdata/gostory", proxy.URL + base},
	} {
		if said, err := exec.CommandContext(t.Context(), "go", line...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(line, " "), err, said)
		}
	}
	b.client(t).get("/topics/go:orders/groups/billing/journal").is("entries.0.kind", "revert", "entries.1.reason", "once more")
}

// The command line names operations as the contract does.
func TestTheCommandLineAsksForWhatTheContractHas(t *testing.T) {
	known := map[string]bool{}
	for _, o := range theContract().operations {
		known[o.method+" "+o.template] = true
	}
	files, err := filepath.Glob("../cli/*.go")
	must(t, err)
	asked, literal := 0, regexp.MustCompile(`"((?:GET|POST|PUT|PATCH|DELETE) /[^"?]*)[^"]*"`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(t, err)
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			if asked++; !known[m[1]] {
				t.Errorf("%s: %q is not in the contract", name, m[1])
			}
		}
	}
	if asked < 30 {
		t.Errorf("%d operations are asked for: are they named otherwise now?", asked)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
