package zbus

import (
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// handled is an error of a handler that says what is to become of its message.
type handled struct {
	text  string // for the dead letter; "": that of err
	err   error
	delay time.Duration
	dead  bool
}

// Dead creates an error with which a handler says that no attempt can succeed: the message goes to the
// dead letters of its group at once, with the reason, or the text of err if that is empty. The group
// needs a limit of deliveries ([GroupSpec].MaxDeliver); without, the message comes again after its
// ack timeout.
func Dead(err error, reason string) error { return &handled{text: reason, err: err, dead: true} }

// RetryAfter creates an error with which a handler says when its message is to be delivered again, in
// place of SubscribeOptions.Backoff. A delay of nothing leaves it at that.
func RetryAfter(err error, delay time.Duration) error { return &handled{err: err, delay: delay} }

// Error is the reason that a dead letter gets.
func (h *handled) Error() string {
	if h.text == "" && h.err != nil {
		return h.err.Error()
	}
	return h.text
}

// LogValue is part of slog.LogValuer: what the dead letter is not told as well.
func (h *handled) LogValue() slog.Value {
	if h.err == nil || h.text == "" {
		return slog.StringValue(h.Error())
	}
	return slog.StringValue(h.text + ": " + h.err.Error())
}

// Unwrap is for errors.Is and errors.As.
func (h *handled) Unwrap() error { return h.err }

// maxReason is the most bytes of a reason that are sent.
const maxReason = 500

// oneLine is a text as the value of a header.
func oneLine(text string) string {
	if len(text) > maxReason {
		end := maxReason
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
