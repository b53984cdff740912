package cluster

import "fmt"

// Refusal is why a tracker does not take what a server says of itself.
type Refusal struct {
	Busy bool // it may take it later
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func refusal(busy bool, format string, args ...any) error {
	return &Refusal{Busy: busy, Text: fmt.Sprintf(format, args...)}
}

// refused is an answer that is an error.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return fmt.Sprintf("%s (%d)", r.text, r.status) }
