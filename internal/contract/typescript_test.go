package contract

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// typescriptTime is how long installing, compiling and running may take together.
const typescriptTime = 5 * time.Minute

func TestGeneratedTypeScriptClientGetsThroughAWholeStory(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") != "" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip("NOT TESTED: the TypeScript client, as there is no", program)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json", "story.ts"} {
		text, err := os.ReadFile(filepath.Join("ts", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "openapi.yaml"), []byte(openAPI()), 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t)
	proxy := httptest.NewServer(b.proxy(t))
	t.Cleanup(proxy.Close)
	ctx, cancel := context.WithTimeout(t.Context(), typescriptTime)
	defer cancel()
	for _, line := range [][]string{
		{"npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"},
		{"npm", "run", "--silent", "generate"},
		{"npm", "run", "--silent", "check"},
		{"node", "built/story.js"},
	} {
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ZBUS_URL="+proxy.URL)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", line, err, out)
		}
	}
	b.client(t).get("/topics/ts:orders/groups/billing/journal").is("entries.0.kind", "revert", "entries.1.reason", "once more")
}

// proxy stands before a broker and holds what passes against the contract. What is
// not allowed it answers with 502 and says why.
func (b *instance) proxy(t *testing.T) http.Handler {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: b.addr})
	p.Transport = b.http(t).Transport
	p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		t.Error(err)
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	return p
}
