package broker

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Code is the kind of an error, the same on every transport.
type Code int

// The vocabulary. Each transport has one table from these to its own status.
const (
	Internal     Code = iota // a fault of the broker; details are only logged
	Invalid                  // the request can never succeed as it stands
	NotFound                 // no such topic, group or message
	Exists                   // the name is taken
	Conflict                 // the thing is not as the request needs it
	Stale                    // it changed since the caller looked
	Unauthorized             // not allowed without (other) credentials
	Forbidden                // not allowed at all
	TooLarge                 // over a size limit
	Quota                    // over a count or rate limit
	Unavailable              // not now; nothing was done
	Unknown                  // done or not: a commit or sync failed, or nobody waited for it
	Timeout                  // not in time; of a call: it may have run
	ProviderGone             // the provider of the call went away before it answered
	Full                     // no room on disk; nothing was stored
)

// ErrExclusive is the cause of the Conflict when another session consumes an exclusive
// group. Clients of the original know it by a status of its own.
var ErrExclusive = errors.New("another session consumes it")

// Error is an error with a Code and a text meant for the client.
type Error struct {
	Code Code
	Text string
	Err  error // the cause, for errors.Is and the log; may be nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Text: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf classifies any error that this package or the storage layer returns.
func CodeOf(err error) Code {
	var e *Error
	var denied *access.Denied
	var refused *access.Refused
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, new(*filter.SyntaxError)):
		return Invalid
	case errors.As(err, &denied):
		if denied.Account == "" {
			return Unauthorized
		}
		return Forbidden
	case errors.As(err, &refused):
		if refused.RetryAfter > 0 {
			return Quota
		}
		return Unauthorized
	case errors.As(err, new(*access.Limited)):
		return Quota
	case errors.Is(err, storage.ErrUnknown): // it wraps others
		return Unknown
	case errors.Is(err, storage.ErrNotFound):
		return NotFound
	case errors.Is(err, storage.ErrExists):
		return Exists
	case errors.Is(err, storage.ErrConflict):
		return Conflict
	case errors.Is(err, storage.ErrInvalid):
		return Invalid
	case errors.Is(err, storage.ErrFull):
		return Full
	case errors.Is(err, storage.ErrOverloaded), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrNotStored), errors.Is(err, storage.ErrFenced):
		return Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Unavailable
	}
	return Internal
}

// TextOf is what a client gets to read of an error: the text of our own ones, and nothing
// of what is inside for the others.
func TextOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != Internal {
		return e.Text
	}
	if own := interface{ ClientText() string }(nil); errors.As(err, &own) {
		return own.ClientText()
	}
	switch CodeOf(err) {
	case NotFound:
		return "not found"
	case Unavailable:
		return "not stored: the broker is overloaded or shutting down, try again later"
	case Full:
		return "not stored: no room on the broker's disk"
	case Unknown:
		return "unknown outcome: it may be done or not; send it again, messages with the same ids"
	case Timeout:
		return "timed out"
	case Conflict, Exists, Stale:
		return "it has changed since: read it again"
	case Invalid:
		return "bad request"
	}
	return "internal error: the broker's log says more"
}

// Excerpt shortens what a client sent, to be quoted in a text.
func Excerpt(s string) string { return clipped(s, 64) }

// clipped is at most so many bytes of what a client has sent, and an ellipsis.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// abandoned is the error of a change that is under way when the caller's context ends.
func abandoned(ctx context.Context) error {
	return fmt.Errorf("%w: %w", storage.ErrUnknown, context.Cause(ctx))
}

func topicNotFound(name string) *Error {
	return errorf(NotFound, "Topic(%s) not found", name)
}

func groupNotFound(name string) *Error {
	return errorf(NotFound, "ConsumeGroup(%s) not found", name)
}
