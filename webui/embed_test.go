//go:build !noui

package webui

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// serve starts a server with the console and gives its address.
func serve(t *testing.T) string {
	t.Helper()
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// fetch makes one request and reads its answer as it came over the wire.
func fetch(t *testing.T, method, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func TestEveryFileThatThePageNamesIsServedWithItsType(t *testing.T) {
	base := serve(t)
	res, page := fetch(t, http.MethodGet, base+"/ui/")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("page: %s %s", res.Status, res.Header.Get("Content-Type"))
	}
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	names := regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(string(page), -1)
	if len(names) < 4 {
		t.Fatalf("the page names %d files:\n%s", len(names), page)
	}
	for _, n := range names {
		res, body := fetch(t, http.MethodGet, base+"/ui/"+n[1])
		if want := types[filepath.Ext(n[1])]; res.StatusCode != http.StatusOK || len(body) == 0 || res.Header.Get("Content-Type") != want {
			t.Errorf("%s: %s, %d bytes, type %q, want %q", n[1], res.Status, len(body), res.Header.Get("Content-Type"), want)
		}
	}
}

func TestPageRunsNothingInline(t *testing.T) {
	_, page := fetch(t, http.MethodGet, serve(t)+"/ui/")
	for _, rule := range []string{`<script>`, `<style`, `style="`, `\son\w+=`, `https?://`} {
		if found := regexp.MustCompile(rule).Find(page); found != nil {
			t.Errorf("the page has %q", found)
		}
	}
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	base := serve(t)
	for _, path := range []string{"/ui/", "/ui/theme.js", "/ui/no-such-file", "/ui"} {
		res, _ := fetch(t, http.MethodGet, base+path)
		csp := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q has no %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestFileIsAskedForAgainAndNotSentAgain(t *testing.T) {
	url := serve(t) + "/ui/theme.js"
	for _, encoding := range []string{"identity", "gzip"} {
		res, body := fetch(t, http.MethodGet, url, "Accept-Encoding", encoding)
		tag := res.Header.Get("ETag")
		if tag == "" || res.Header.Get("Cache-Control") != "no-cache" || len(body) == 0 {
			t.Fatalf("%s: ETag %q, Cache-Control %q, %d bytes", encoding, tag, res.Header.Get("Cache-Control"), len(body))
		}
		res, body = fetch(t, http.MethodGet, url, "Accept-Encoding", encoding, "If-None-Match", `"other", W/`+tag)
		if res.StatusCode != http.StatusNotModified || len(body) != 0 || res.Header.Get("ETag") != tag {
			t.Errorf("%s: %s with %d bytes, ETag %q", encoding, res.Status, len(body), res.Header.Get("ETag"))
		}
		if res, _ = fetch(t, http.MethodGet, url, "If-None-Match", `"other"`); res.StatusCode != http.StatusOK {
			t.Errorf("another ETag: %s", res.Status)
		}
	}
}

func TestCompressedFileIsTheSame(t *testing.T) {
	base := serve(t)
	_, plain := fetch(t, http.MethodGet, base+"/ui/assets/index.js")
	for header, want := range map[string]bool{
		"gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "br": false, "": false, "x-gzip": false,
	} {
		res, body := fetch(t, http.MethodGet, base+"/ui/assets/index.js", "Accept-Encoding", header)
		if got := res.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("Accept-Encoding %q: compressed %t, want %t", header, got, want)
			continue
		}
		if res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: Vary %q", header, res.Header.Get("Vary"))
		}
		if want {
			if len(body) >= len(plain) {
				t.Errorf("compressed to %d bytes of %d", len(body), len(plain))
			}
			r, err := gzip.NewReader(strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(body, plain) {
			t.Errorf("Accept-Encoding %q: another content", header)
		}
	}
}

func TestNothingButReadingIsAnswered(t *testing.T) {
	base := serve(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if res, _ := fetch(t, method, base+"/ui/"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, res.Status, res.Header.Get("Allow"))
		}
	}
	res, body := fetch(t, http.MethodHead, base+"/ui/")
	if res.StatusCode != http.StatusOK || len(body) != 0 || res.ContentLength <= 0 {
		t.Errorf("HEAD: %s, %d bytes, length %d", res.Status, len(body), res.ContentLength)
	}
	for _, path := range []string{"/ui/assets", "/ui/../embed.go", "/ui/%2e%2e/embed.go", "/ui/index.html/"} {
		if res, _ := fetch(t, http.MethodGet, base+path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if res, _ := fetch(t, http.MethodGet, base+"/ui"); res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != "ui/" {
		t.Errorf("/ui: %s to %q", res.Status, res.Header.Get("Location"))
	}
}

func TestSiteWithoutItsPageOrWithAnUnknownOrPlainFileIsRefused(t *testing.T) {
	if _, err := newSite(fstest.MapFS{"a.js.gz": {}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no page: %v", err)
	}
	for _, name := range []string{"a.exe.gz", "a.js"} {
		if _, err := newSite(fstest.MapFS{"index.html.gz": {}, name: {}}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// What is committed has to be what the sources make. Without Node this is known by
// the sum of the sources that the last build wrote down.
func TestBuildIsOfTheseSources(t *testing.T) {
	want, err := os.ReadFile("dist.sum")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"index.html", "package.json", "package-lock.json", "svelte.config.js", "tsconfig.json", "vite.config.ts"}
	for _, dir := range []string{"src", "public", "scripts"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, filepath.ToSlash(path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	sum := sha256.New()
	for _, name := range files {
		content, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		one := sha256.Sum256(content)
		_, _ = io.WriteString(sum, name+"\n"+hex.EncodeToString(one[:])+"\n")
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Error("webui/dist is not of these sources: cd webui && npm ci --ignore-scripts && npm run build")
	}
}
