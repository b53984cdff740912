// Command testreport makes a report of what go test -json writes: a line for each package,
// what failing tests wrote, and at the end which tests were skipped and why. It ends with 1
// when something failed.
//
//	go test -json ./... | go run ./internal/testreport
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if !report(os.Stdin, os.Stdout) {
		os.Exit(1)
	}
}

// event is one line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test is what a test, or a package when there is none, has written so far.
type test struct{ pkg, name string }

// report reads events until there are no more, and reports whether nothing failed. A line
// that is no event, such as an error of the go command, is printed as it is.
func report(r io.Reader, w io.Writer) bool {
	written := map[test][]string{}
	skipped := map[string][]string{} // by the reason
	passed := true
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20) // a test may write a long line
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text())
			continue
		}
		t := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			if e.Test == "" && summary(e.Output) {
				fmt.Fprint(w, e.Output)
			}
			written[t] = append(written[t], e.Output)
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "build-fail":
			passed = false
		case "fail":
			passed = false
			for _, line := range written[t] {
				if e.Test != "" || !summary(line) {
					fmt.Fprint(w, line)
				}
			}
			delete(written, t)
		case "skip":
			if e.Test != "" {
				why := reason(written[t])
				skipped[why] = append(skipped[why], e.Test)
			}
			delete(written, t)
		case "pass":
			delete(written, t)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(w, "the output of go test ended:", err)
		passed = false
	}
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(w, "skipped: %s: %s\n", why, strings.Join(skipped[why], ", "))
	}
	return passed
}

// summary reports whether a line is what go test says of a package by default.
func summary(line string) bool {
	return strings.HasPrefix(line, "ok  ") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "?  ")
}

// reason is why a test was skipped, from what it wrote.
func reason(written []string) string {
	for _, line := range written {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "===") || strings.HasPrefix(text, "---") || text == "" {
			continue
		}
		if _, why, ok := strings.Cut(text, ".go:"); ok { // file.go:12: why
			if _, why, ok = strings.Cut(why, ": "); ok {
				return why
			}
		}
		return text
	}
	return "it does not say why"
}
