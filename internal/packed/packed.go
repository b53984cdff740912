// Package packed serves files that the binary contains compressed, which nearly all clients
// take as they are.
package packed

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// File is one of them. It does not change, and any number of goroutines may use it.
type File struct {
	packed []byte
	kind   string // its content type
	size   uint32 // bytes when it is not compressed
	tag    string // of its content: embedded files have no time of change
}

// New creates a file of a content type from what gzip made of its content.
func New(kind string, packed []byte) *File {
	sum := sha256.Sum256(packed)
	f := &File{packed: packed, kind: kind, tag: hex.EncodeToString(sum[:16])}
	if n := len(packed); n >= 4 {
		f.size = binary.LittleEndian.Uint32(packed[n-4:]) // RFC 1952, section 2.3.1
	}
	return f
}

// ServeHTTP answers GET and HEAD.
func (f *File) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	packed := acceptsGzip(req.Header.Get("Accept-Encoding"))
	tag := `"` + f.tag + `"`
	if packed {
		tag = `"` + f.tag + `-gz"`
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	// Its address stays the same from version to version, so each use asks.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", tag)
	if matches(req.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	if packed {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(f.packed)))
	} else {
		h.Set("Content-Length", strconv.FormatUint(uint64(f.size), 10))
	}
	switch {
	case req.Method == http.MethodHead:
	case packed:
		_, _ = w.Write(f.packed) // the reader is gone: no client is left to tell
	default:
		f.unpack(w)
	}
}

// unpack writes the content. Were it damaged, clients would miss the rest of its length.
func (f *File) unpack(w io.Writer) {
	if r, err := gzip.NewReader(bytes.NewReader(f.packed)); err == nil {
		_, _ = io.Copy(w, r)
	}
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
