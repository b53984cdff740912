//go:build !noui

package webui

import (
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/rushmore/zbus-go/internal/packed"
)

// prefix is where the console lives. Its own links are relative, so that it works
// behind a proxy that puts something before it.
const prefix = "/ui/"

// setupPage is the console as it is opened to set the first administrator: the secret follows
// the # of its address.
const setupPage = "setup"

// signOnPage is the console as an issuer sends a browser back to it.
const signOnPage = "sso"

// policy lets a page run the scripts and styles of this directory and talk to this
// server; nothing that is in a message can become markup or code. A worker is a script,
// too, and zbus-worker gives the one address there is of it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html zbus-worker"

// site holds the files, by path within dist. It does not change.
type site map[string]*packed.File

// suffix is that of all files in dist: npm run build compresses them.
const suffix = ".gz"

// newSite reads all files.
func newSite(files fs.FS) (site, error) {
	s := make(site)
	err := fs.WalkDir(files, ".", func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, at)
		if err != nil {
			return err
		}
		name, compressed := strings.CutSuffix(at, suffix)
		if !compressed {
			return fmt.Errorf("%s is not compressed", at)
		}
		kind, err := contentType(name)
		if err != nil {
			return err
		}
		s[name] = packed.New(kind, content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files of the console: %w", err)
	}
	if s["index.html"] == nil {
		return nil, fmt.Errorf("files of the console: %w: index.html", fs.ErrNotExist)
	}
	return s, nil
}

// contentType does not ask the system, whose tables differ.
func contentType(name string) (string, error) {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	case ".txt":
		return "text/plain; charset=utf-8", nil
	default:
		return "", fmt.Errorf("file %s: no content type for %q", name, ext)
	}
}

// ServeHTTP answers GET and HEAD of a file.
func (s site) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name, below := strings.CutPrefix(req.URL.Path, prefix)
	if !below {
		// The page's links are relative to the slash.
		h.Set("Location", strings.TrimPrefix(prefix, "/"))
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	if name == "" || name == setupPage || name == signOnPage {
		name = "index.html"
	}
	f := s[name]
	if f == nil {
		http.Error(w, "the console has no such file", http.StatusNotFound)
		return
	}
	f.ServeHTTP(w, req)
}
