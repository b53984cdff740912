package packed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// pack compresses a text.
func pack(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ask makes one request to a server with the file alone. The body is as it came.
func ask(t *testing.T, f *File, method, encoding string) (*http.Response, []byte, error) {
	t.Helper()
	s := httptest.NewServer(f)
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestEveryClientGetsTheContentAndItsLength(t *testing.T) {
	text := strings.Repeat("plain words, ", 10_000)
	gz := pack(t, text)
	f := New("text/plain; charset=utf-8", gz)
	tags := map[string]bool{}
	for encoding, want := range map[string]string{"": text, "identity": text, "br": text, "gzip": string(gz), "br, gzip": string(gz)} {
		get, body, err := ask(t, f, http.MethodGet, encoding)
		if err != nil || string(body) != want || get.ContentLength != int64(len(want)) {
			t.Errorf("%q: %d bytes, Content-Length %d, want %d; %v", encoding, len(body), get.ContentLength, len(want), err)
		}
		head, body, err := ask(t, f, http.MethodHead, encoding)
		if err != nil || len(body) != 0 || head.ContentLength != get.ContentLength || head.Header.Get("ETag") != get.Header.Get("ETag") {
			t.Errorf("%q: HEAD has %d bytes, Content-Length %d, ETag %q; %v", encoding, len(body), head.ContentLength, head.Header.Get("ETag"), err)
		}
		if get.Header.Get("Content-Type") != "text/plain; charset=utf-8" || get.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", encoding, get.Header)
		}
		tags[get.Header.Get("ETag")] = true
	}
	if len(tags) != 2 {
		t.Errorf("%d ETags of two representations: %v", len(tags), tags)
	}
}

func TestDamagedFileIsNotTakenForAShortOne(t *testing.T) {
	gz := pack(t, strings.Repeat("plain words, ", 10_000))
	for name, damage := range map[string]func([]byte){
		"head": func(b []byte) { b[0] ^= 1 },
		"body": func(b []byte) { b[len(b)/2] ^= 0xff },
	} {
		damaged := bytes.Clone(gz)
		damage(damaged)
		if _, body, err := ask(t, New("text/plain", damaged), http.MethodGet, ""); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
	}
}
