package server

import (
	"errors"
	"strings"

	"github.com/rushmore/zbus-go/internal/broker"
)

// statusOf is the table from error codes to the statuses of this protocol.
func statusOf(err error) int {
	if errors.Is(err, broker.ErrExclusive) {
		return 401 // as in the original, whose clients know no other
	}
	switch broker.CodeOf(err) {
	case broker.Invalid:
		return 400
	case broker.NotFound:
		return 404
	case broker.Exists, broker.Conflict, broker.Stale:
		return 409
	case broker.Unauthorized:
		return 401
	case broker.Forbidden:
		return 403
	case broker.TooLarge:
		return 413
	case broker.Quota:
		return 429
	case broker.Unavailable:
		return 503
	case broker.Timeout:
		return 504
	case broker.ProviderGone:
		return 502
	case broker.Full:
		return 507
	}
	return 500 // Unknown is not answered: see session.hangUp
}

// movedTo is where clients are sent by an error, for the header servers; "": nowhere.
func movedTo(err error) string {
	var m *broker.Moved
	if errors.As(err, &m) {
		return strings.Join(m.Servers, ";")
	}
	return ""
}
