package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenOfATracker(t *testing.T) {
	for _, x := range []struct{ file, tracker, token, err string }{
		{"all\n", "a:1", "all", ""},
		{"# servers\n\na:1 first\r\n[SSL]b:2 second\nall", "a:1", "first", ""},
		{"a:1 first\n[SSL]b:2 second\nall", "[SSL]b:2", "second", ""},
		{"a:1 first\nall", "b:2", "all", ""},
		{"all\na:1 first", "a:1", "first", ""},
		{"a:1 first", "b:2", "", "no token for b:2"},
		{"", "b:2", "", "no token for b:2"},
		{"all\na:1 first second", "b:2", "", "line 2"},
		{"a\x00b", "b:2", "", "line 1"},
	} {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(x.file), 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := ParseAddress(x.tracker)
		if err != nil {
			t.Fatal(err)
		}
		token, err := readToken(path, at)
		if token != x.token || (err == nil) != (x.err == "") || err != nil && !strings.Contains(err.Error(), x.err) {
			t.Errorf("%q for %s: %q, %v, want %q, %q", x.file, x.tracker, token, err, x.token, x.err)
		}
	}
	if _, err := readToken(filepath.Join(t.TempDir(), "missing"), Address{}); err == nil {
		t.Error("a file that is missing is no error")
	}
	if token, err := readToken("", Address{}); token != "" || err != nil {
		t.Errorf("without a file: %q, %v", token, err)
	}
}
