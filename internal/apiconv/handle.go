package apiconv

import (
	"strconv"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// ParseHandle takes a handle of this API apart. It begins with the offset, so that
// it alone names a delivery of its group.
func ParseHandle(handle string) (broker.DeliveryHandle, error) {
	for i := range len(handle) {
		if handle[i] != '.' {
			continue
		}
		if offset, err := strconv.ParseInt(handle[:i], 10, 64); err == nil && offset >= 0 {
			return broker.DeliveryHandle{Offset: offset, Handle: handle[i+1:]}, nil
		}
		break
	}
	return broker.DeliveryHandle{}, problem.Invalid("malformed handle %q: give one that a delivery carried", broker.Excerpt(handle))
}

// ParseHandles takes the handles of a request apart.
func ParseHandles(handles []string) ([]broker.DeliveryHandle, error) {
	if len(handles) == 0 || len(handles) > MaxBatch {
		return nil, problem.Invalid("handles: need 1 to %d", MaxBatch)
	}
	parsed := make([]broker.DeliveryHandle, len(handles))
	for i, text := range handles {
		var err error
		if parsed[i], err = ParseHandle(text); err != nil {
			return nil, err
		}
	}
	return parsed, nil
}

// maxReason is the longest text for the journal, in characters.
const maxReason = 500

// ParseReason reads such a text.
func ParseReason(text *string) (string, error) {
	reason := Or(text, "")
	if utf8.RuneCountInString(reason) > maxReason {
		return "", problem.Invalid("reason: at most %d characters", maxReason)
	}
	return reason, nil
}

// MaxBatch is the most messages of one request that is not newline-delimited.
const MaxBatch = 10_000

// MaxDelay is the longest delay of a nack, in milliseconds: a week.
const MaxDelay = 7 * 24 * 3600 * 1000
