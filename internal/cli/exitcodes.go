package cli

import "github.com/rushmore/zbus-go/zbus"

// ExitCode is one row of the table of exit codes, for those that errors of this
// package and of package zbus have.
type ExitCode struct {
	Code  int
	Name  string // in errors as JSON
	Kinds []error
	Means string
}

// ExitCodes is the table. The first row that knows an error decides.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{130, "interrupted", []error{ErrInterrupted}, "interrupted before the command's own end"},
		{64, "usage", []error{ErrUsage, zbus.ErrInvalid, zbus.ErrTooLarge}, "wrong command line, or the broker says that the request can never be right"},
		{65, "input", []error{ErrData}, "the input is not what it should be"},
		{66, "not_found", []error{ErrNoInput, zbus.ErrNotFound}, "no such file, topic, group, message, session or context"},
		{75, "incomplete", []error{ErrIncomplete, zbus.ErrTimeout}, "not in time, or less than was asked for"},
		{76, "unknown", []error{zbus.ErrUnknownOutcome}, "no answer came, or the broker says that the outcome is unknown: it may be done or not"},
		{69, "unavailable", []error{zbus.ErrUnavailable, zbus.ErrClosed}, "the broker can't be reached or can't do it now; nothing was done"},
		{73, "conflict", []error{zbus.ErrExists, zbus.ErrConflict}, "it exists already, or is no longer what it was"},
		{74, "full", []error{zbus.ErrFull}, "the broker's disk is full; nothing was stored"},
		{77, "denied", []error{zbus.ErrUnauthorized, zbus.ErrForbidden, zbus.ErrQuota}, "the credential is refused, a grant is missing (the message names it), or a quota is reached"},
		{1, "answered_no", []error{ErrAnswer, ErrDeclined}, "the answer is no: of a service to a call, of zbus can, or yours to a question"},
	}
}
