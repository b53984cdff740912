//go:build !noui

package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// prefix is where the console lives. Its own links are relative, so that it works
// behind a proxy that puts something before it.
const prefix = "/ui/"

// setupPage is the console as it is opened to set the first administrator: the secret follows
// the # of its address.
const setupPage = "setup"

// policy lets a page run the scripts and styles of this directory and talk to this
// server; nothing that is in a message can become markup or code. A worker is a script,
// too, and zbus-worker gives the one address there is of it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html zbus-worker"

// site holds the files in memory. It does not change once it is made, but for the
// compressed copies.
type site struct {
	files map[string]*file // by path within dist
}

// file is one of them.
type file struct {
	plain  []byte
	kind   string // its content type
	etag   string // of the plain content; the compressed one has "-gz" in it
	gzETag string
	packed func() []byte // compressed at the first call; nil when that is not smaller
}

// newSite reads all files. Their ETags are sums of their content, because embedded
// files have no time of change.
func newSite(files fs.FS) (*site, error) {
	s := &site{files: make(map[string]*file)}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		kind, err := contentType(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		tag := hex.EncodeToString(sum[:16])
		s.files[name] = &file{
			plain: content, kind: kind, etag: `"` + tag + `"`, gzETag: `"` + tag + `-gz"`,
			packed: sync.OnceValue(func() []byte { return pack(content) }),
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files of the console: %w", err)
	}
	if s.files["index.html"] == nil {
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

// pack compresses content, or gives nil when that gains nothing.
func pack(content []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := w.Write(content); err != nil {
		return nil
	}
	if err := w.Close(); err != nil || out.Len() >= len(content) {
		return nil
	}
	return out.Bytes()
}

// ServeHTTP answers GET and HEAD of a file.
func (s *site) ServeHTTP(w http.ResponseWriter, req *http.Request) {
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
	if name == "" || name == setupPage {
		name = "index.html"
	}
	f := s.files[name]
	if f == nil {
		http.Error(w, "the console has no such file", http.StatusNotFound)
		return
	}
	f.serve(w, req)
}

func (f *file) serve(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	content, tag := f.plain, f.etag
	h.Set("Vary", "Accept-Encoding")
	if acceptsGzip(req.Header.Get("Accept-Encoding")) {
		if packed := f.packed(); packed != nil {
			content, tag = packed, f.gzETag
			h.Set("Content-Encoding", "gzip")
		}
	}
	// The names stay the same from version to version, so each use asks.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", tag)
	if matches(req.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(content)))
	if req.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content) // the reader is gone: nobody is left to tell
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, parameters, _ := strings.Cut(part, ";")
		if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "gzip") && coding != "*" {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		if !found {
			return true
		}
		weight, err := strconv.ParseFloat(q, 64)
		return err == nil && weight > 0
	}
	return false
}

// matches reports whether an If-None-Match header names a tag.
func matches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == tag {
			return true
		}
	}
	return false
}
