package access

import (
	"errors"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Error is an error meant for the client. Err classifies it: one of the errors of package
// storage.
type Error struct {
	Text string
	Err  error
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Err }

// ClientText is what a client may read.
func (e *Error) ClientText() string { return e.Text }

// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func invalid(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), storage.ErrInvalid}
}

func missing(what, name string) error {
	return &Error{fmt.Sprintf("%s %q not found", what, clip(name)), storage.ErrNotFound}
}

func conflict(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), storage.ErrConflict}
}

// Refused is why a credential was not accepted. It never says which part was wrong.
type Refused struct {
	Text string
	// RetryAfter is how long to wait before another try, because there were too many: the
	// credential was not looked at. 0: it was, and is wrong.
	RetryAfter time.Duration
}

func (e *Refused) Error() string { return e.Text }

// ClientText is what a client may read.
func (e *Refused) ClientText() string { return e.Text }

// RetryAfter is how long an error says that one has to wait before another try; 0: it does not.
func RetryAfter(err error) time.Duration {
	var refused *Refused
	var limited *Limited
	switch {
	case errors.As(err, &refused):
		return refused.RetryAfter
	case errors.As(err, &limited):
		return limited.RetryAfter
	}
	return 0
}

// Denied is why something is not allowed.
type Denied struct {
	Account string // "" for who has not said who it is
	Missing string // the grant that would allow it; "" for what who has said who it is may do
}

func (e *Denied) Error() string {
	if e.Account == "" {
		if e.Missing == "" {
			return "a token or a login is needed"
		}
		return "a token or a login is needed; to do this takes the grant " + e.Missing
	}
	return fmt.Sprintf("account %s lacks the grant %s", e.Account, e.Missing)
}

// ClientText is what a client may read.
func (e *Denied) ClientText() string { return e.Error() }
