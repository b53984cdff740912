package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is text in columns, for people.
type table struct {
	head  []string
	right []bool
	rows  [][]string
}

// newTable begins a table. A title that begins with > is that of a column of numbers.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func newTable(head ...string) *table {
	t := &table{}
	for _, title := range head {
		name, right := strings.CutPrefix(title, ">")
		t.head, t.right = append(t.head, name), append(t.right, right)
	}
	return t
}

func (t *table) add(cells ...string) {
	for n, cell := range cells { // a row is a line, whatever is in it
		cells[n] = strings.ReplaceAll(cell, "\n", " ")
	}
	t.rows = append(t.rows, cells)
}

// write writes the table: columns as wide as they need to be, two spaces between.
// Those that have nothing in them are left out.
func (t *table) write(w io.Writer) {
	width := make([]int, len(t.head))
	for _, cells := range t.rows {
		for n, cell := range cells {
			width[n] = max(width[n], utf8.RuneCountInString(cell))
		}
	}
	for n, title := range t.head {
		if width[n] > 0 {
			width[n] = max(width[n], utf8.RuneCountInString(title))
		}
	}
	lines := append([][]string{t.head}, t.rows...)
	for _, cells := range lines {
		var b strings.Builder
		for n, cell := range cells {
			if width[n] == 0 {
				continue
			}
			space := strings.Repeat(" ", width[n]-utf8.RuneCountInString(cell))
			if t.right[n] {
				cell, space = space, cell
			}
			b.WriteString(cell + space + "  ")
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// printTable prints a table, or says that it would be empty.
func (i *invocation) printTable(t *table, empty string) error {
	if len(t.rows) == 0 {
		i.say("%s", empty)
		return nil
	}
	t.write(i.out)
	return nil
}

// printPages prints what the API lists: each as it came with --json, or else a table, to which rows
// adds what one takes.
func printPages[T any](i *invocation, all iter.Seq2[decoded[T], error], t *table, empty string, rows func(*T)) error {
	for d, err := range all {
		if err != nil {
			return err
		}
		if !i.json {
			rows(&d.value)
		} else if err := i.printJSON(d.raw); err != nil {
			return err
		}
	}
	if i.json {
		return nil
	}
	return i.printTable(t, empty)
}

// printFields prints names and values, each in a line; those without a value are left out.
func (i *invocation) printFields(pairs ...string) error {
	width := 0
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			width = max(width, len(pairs[n]))
		}
	}
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			fmt.Fprintf(i.out, "%-*s  %s\n", width, pairs[n], strings.ReplaceAll(pairs[n+1], "\n", " "))
		}
	}
	return nil
}

// printJSON prints a value as one line of JSON.
func (i *invocation) printJSON(v any) error {
	raw, ok := v.(json.RawMessage)
	var line bytes.Buffer
	if ok {
		if err := json.Compact(&line, raw); err != nil {
			return err
		}
		line.WriteByte('\n')
	} else {
		e := json.NewEncoder(&line)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	_, err := i.out.Write(line.Bytes())
	return err
}

// say writes a line that is not part of the result.
func (i *invocation) say(format string, args ...any) {
	_, _ = i.err.Write(Visible(fmt.Appendf(nil, format+"\n", args...)))
}

// oneLine is text that stays within its cell: without control characters, and no
// longer than most runes.
func oneLine(text string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > most {
			return b.String() + "…"
		}
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '·'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mark is text if it holds.
func mark(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
