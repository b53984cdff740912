package zbus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The errors of this package, for errors.Is. What a server answers is one of them,
// whatever its generation, inside an [*Error] that has the text.
var (
	ErrInvalid      = errors.New("invalid request")       // can never succeed as it stands
	ErrNotFound     = errors.New("not found")             // no such topic, group or message
	ErrExists       = errors.New("already exists")        // and is different from what was declared
	ErrConflict     = errors.New("conflict")              // the thing is not as the request needs it, such as a delivery that is no longer yours
	ErrUnauthorized = errors.New("unauthorized")          // not without (other) credentials, or an exclusive group is taken
	ErrForbidden    = errors.New("forbidden")             // not with these credentials; the text names the grant that is missing
	ErrTooLarge     = errors.New("too large")             // over a size limit
	ErrQuota        = errors.New("over quota")            // over a count or rate limit
	ErrUnavailable  = errors.New("unavailable")           // not now, and nothing was done; try again later
	ErrTimeout      = errors.New("timeout")               // not in time
	ErrFull         = errors.New("no room on the server") // its disk is full; nothing was stored
	ErrInternal     = errors.New("internal server error") // a fault of the server
	ErrClosed       = errors.New("closed")                // the client, or the subscription, was closed

	// ErrUnknownOutcome is that of a request which was sent and not answered: the
	// connection was lost, or the caller's context ended, or the server's disk failed
	// and it closed the connection. It may have been done, or may yet be. A message
	// with a [Message.ID] can be published again, and is stored once; [Options.Retry] does
	// so by itself, with messages that have none, too.
	ErrUnknownOutcome = errors.New("unknown outcome")
)

// Error is why a request failed. errors.Is tells which of the errors of this package
// it is, and whether a context was the reason.
type Error struct {
	Op     string // what was asked for: "publish", "declare", …
	Target string // the topic, or topic/group
	Status int    // that the server answered; 0 if the client did
	Text   string // for people: the server's words, or the client's

	kinds []error // of the errors above; may be empty
	cause error   // may be nil
}

// Error returns what was asked for and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("zbus: ")
	b.WriteString(e.Op)
	if e.Target != "" {
		b.WriteString(" " + e.Target)
	}
	b.WriteString(": ")
	if e.Status != 0 {
		b.WriteString(strconv.Itoa(e.Status) + " ")
	}
	b.WriteString(e.Text)
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Unwrap returns the errors that this one is.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return e.kinds
	}
	return append([]error{e.cause}, e.kinds...)
}

// failure is an outcome that the client decided on. It becomes an *Error where the
// request is known.
type failure struct {
	text  string
	kinds []error
	cause error
}

func (f *failure) error(op, target string) *Error {
	return &Error{Op: op, Target: target, Text: f.text, kinds: f.kinds, cause: f.cause}
}

// kindOf is the table from the statuses of the protocol to the errors of this
// package.
func kindOf(status int) error {
	switch status {
	case 400, 405, 415, 421, 431, 501, 505:
		return ErrInvalid
	case 401:
		return ErrUnauthorized
	case 403:
		return ErrForbidden
	case 404:
		return ErrNotFound
	case 408, 504:
		return ErrTimeout
	case 409:
		return ErrConflict
	case 413:
		return ErrTooLarge
	case 429:
		return ErrQuota
	case 502: // a call's provider went away after it took the call
		return ErrUnknownOutcome
	case 503:
		return ErrUnavailable
	case 507:
		return ErrFull
	}
	return ErrInternal
}

// answered makes an error of a reply that is not a 200.
func answered(op, target string, status int, text string) error {
	e := &Error{Op: op, Target: target, Status: status, Text: text, kinds: []error{kindOf(status)}}
	if status == 409 && op == "declare" {
		e.kinds = append(e.kinds, ErrExists)
	}
	if e.Text == "" {
		e.Text = e.kinds[0].Error()
	}
	return e
}

// stopped is the outcome of a request whose context ended.
func stopped(ctx context.Context, sent bool) *failure {
	f := &failure{text: "the context ended before the request was sent", cause: context.Cause(ctx)}
	if sent {
		f.text, f.kinds = "the context ended before the answer came", append(f.kinds, ErrUnknownOutcome)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.kinds = append(f.kinds, ErrTimeout)
	}
	return f
}

// closed is the outcome of what was asked of a client that is closed.
func closed() *failure { return &failure{text: "the client is closed", kinds: []error{ErrClosed}} }

// invalid refuses a request that was not sent.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func invalid(op, target, format string, args ...any) error {
	return &Error{Op: op, Target: target, Text: fmt.Sprintf(format, args...), kinds: []error{ErrInvalid}}
}

// BatchError says which messages of a batch were not stored, or may not have been.
// errors.Is asks all of them.
type BatchError struct {
	// Errs has an entry for each message of the batch, in order: nil if it is stored.
	Errs []error
}

// Error counts the failures and shows the first one.
func (e *BatchError) Error() string {
	failed := e.Unwrap()
	return fmt.Sprintf("%d of %d messages failed, the first with: %v", len(failed), len(e.Errs), failed[0])
}

// Unwrap returns the errors of the messages that failed.
func (e *BatchError) Unwrap() []error {
	var failed []error
	for _, err := range e.Errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}
