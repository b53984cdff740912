// Command page puts the table of fault tests into a page: between the two marks that the
// page has, from the file of records.
//
//	go run ./internal/faultreport/page docs/reliability-report.json docs/reliability.md
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

const (
	begin = "<!-- begin of the table -->\n"
	end   = "<!-- end of the table -->"
)

func main() {
	if err := render(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func render(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("got %d arguments; want the file of records and the page", len(args))
	}
	all, err := faultreport.ReadFile(args[0])
	if err != nil {
		return err
	}
	page, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no place for the table: want the lines %q and %q", args[1], strings.TrimSpace(begin), end)
	}
	return os.WriteFile(args[1], []byte(head+begin+faultreport.Table(all)+end+tail), 0o644)
}
