package wire

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the golden frames are parsed to into their files")

// TestGolden parses what the clients of each family send and are sent. A golden
// file holds the bytes as quoted strings, a line of dashes, and the messages.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) < 11 {
		t.Fatalf("golden files: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			quoted, input, want := readGolden(t, file)
			var got strings.Builder
			for _, m := range parseAll(t, bytes.NewReader(input)) {
				render(&got, m)
			}
			if *update {
				if err := os.WriteFile(file, []byte(quoted+"----\n"+got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != want {
				t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
			}
		})
	}
}

func readGolden(tb testing.TB, file string) (quoted string, input []byte, want string) {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	quoted, want, _ = strings.Cut(string(data), "----\n")
	for line := range strings.Lines(quoted) {
		if line == "\n" {
			continue
		}
		s, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			tb.Fatalf("%s: %s: %v", file, line, err)
		}
		input = append(input, s...)
	}
	return quoted, input, want
}

// parseAll reads to the clean end of the stream.
func parseAll(tb testing.TB, src io.Reader) []*Message {
	tb.Helper()
	r := NewReader(src, Limits{})
	var all []*Message
	for {
		m, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, m)
	}
}

// render writes a message in full, one line a field.
func render(w *strings.Builder, m *Message) {
	if m.Status != 0 {
		fmt.Fprintf(w, "response 1.%d %d %q", m.Minor, m.Status, m.Reason)
	} else {
		fmt.Fprintf(w, "request 1.%d %q %q", m.Minor, m.Method, m.URL)
	}
	if m.Malformed {
		w.WriteString(" malformed")
	}
	w.WriteByte('\n')
	for _, f := range m.Fields {
		fmt.Fprintf(w, "  %s: %q\n", f.Name, f.Value)
	}
	if m.Body != nil {
		fmt.Fprintf(w, "  body %q\n", m.Body)
	}
}
