package apiconv

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// Count writes a number of messages or bytes, or an offset.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func Count[T ~int | ~int64 | ~uint64](n T) apimodel.Count { return strconv.FormatInt(int64(n), 10) }

// ParseCount reads one; name is the member or parameter it is from.
func ParseCount(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) && n > 0 {
		return 0, problem.Invalid("%s %q: must be at most %d", name, broker.Excerpt(text), int64(math.MaxInt64))
	}
	if err != nil || n < 0 || text[0] < '0' || len(text) > 19 {
		return 0, problem.Invalid("%s %q: must be a number of decimal digits", name, broker.Excerpt(text))
	}
	return n, nil
}

// Time is a time of the broker's, which are Unix milliseconds.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Optional is a value that is left out when it is the zero one.
func Optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Or is a value that may have been left out, with its default.
func Or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// integer reads a JSON number or string of digits.
func integer(raw json.RawMessage) (int64, error) {
	text := strings.Trim(string(raw), `"`)
	if strings.HasPrefix(text, "+") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(text, 10, 64)
}

// ParseTime reads RFC 3339 or Unix milliseconds, and gives the latter.
func ParseTime(text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UnixMilli(), err
}

// OptionalList is a list that is left out when it is empty.
func OptionalList[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}
