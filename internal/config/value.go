package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/bytesize"
)

// value is the place of one setting in a Config: how its text is read, judged
// and written.
type value interface {
	set(text string) bool // false: the text does not have this form
	valid() bool          // what is there is acceptable by itself
	want() string         // completes "must be …"
	String() string
}

// text is a string that check accepts.
type text struct {
	p     *string
	check func(string) bool
	must  string
}

func (v text) set(s string) bool { *v.p = s; return true }
func (v text) valid() bool       { return v.check(*v.p) }
func (v text) want() string      { return v.must }
func (v text) String() string    { return *v.p }

// secret is a text that may have a password in it, and is not repeated.
type secret struct{ text }

// list is one or more different strings that check accepts, commas between.
type list struct {
	p     *[]string
	check func(string) bool
	must  string
	none  bool // the list may be empty
}

func (v list) set(s string) bool {
	if *v.p = strings.Split(s, ","); s == "" && v.none {
		*v.p = nil
	}
	return true
}

func (v list) want() string   { return v.must }
func (v list) String() string { return strings.Join(*v.p, ",") }

func (v list) valid() bool {
	for i, s := range *v.p {
		if !v.check(s) {
			return false
		}
		if !strings.HasSuffix(s, ":0") && slices.Contains((*v.p)[:i], s) {
			return false
		}
	}
	return v.none || len(*v.p) > 0
}

// trackers is a list as clients write it, too: with semicolons or spaces between.
type trackers struct{ list }

// maxTrackers is the most servers that one joins.
const maxTrackers = 16

func (v trackers) set(s string) bool {
	return v.list.set(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(";, ", r) }), ","))
}

func (v trackers) valid() bool { return v.list.valid() && len(*v.p) <= maxTrackers }

// several reports whether a setting has more than one value.
func several(v value) bool {
	switch v.(type) {
	case list, trackers:
		return true
	}
	return false
}

// choice is one of a few words.
type choice[T ~string] struct {
	p  *T
	of []T
}

func (v choice[T]) set(s string) bool { *v.p = T(s); return v.valid() }
func (v choice[T]) valid() bool       { return slices.Contains(v.of, *v.p) }
func (v choice[T]) String() string    { return string(*v.p) }

func (v choice[T]) want() string {
	words := make([]string, len(v.of))
	for i, w := range v.of {
		words[i] = string(w)
	}
	return strings.Join(words, " or ")
}

// level is a log level by its name.
type level struct{ p *slog.Level }

func (v level) set(s string) bool {
	err := v.p.UnmarshalText([]byte(s))
	return err == nil && v.valid() && s == v.String()
}

func (v level) valid() bool {
	return slices.Contains([]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}, *v.p)
}
func (v level) want() string   { return "debug, info, warn or error" }
func (v level) String() string { return strings.ToLower(v.p.String()) }

// toggle is yes or no.
type toggle struct{ p *bool }

func (v toggle) set(s string) bool {
	b, err := strconv.ParseBool(s)
	*v.p = b
	return err == nil
}
func (v toggle) valid() bool    { return true }
func (v toggle) want() string   { return "true or false" }
func (v toggle) String() string { return strconv.FormatBool(*v.p) }

// number counts something. A zero text says what 0 means and allows it.
type number struct {
	p        *int
	min, max int
	zero     string
}

func (v number) set(s string) bool {
	n, err := strconv.Atoi(s)
	*v.p = n
	return err == nil
}

func (v number) valid() bool {
	return *v.p >= v.min && *v.p <= v.max || *v.p == 0 && v.zero != ""
}

func (v number) want() string {
	return fmt.Sprintf("a number from %d to %d", v.min, v.max) + orZero(v.zero)
}
func (v number) String() string { return strconv.Itoa(*v.p) }

// duration is a time span. A zero text says what 0 means and allows it.
type duration struct {
	p        *time.Duration
	min, max time.Duration
	zero     string
}

func (v duration) set(s string) bool {
	d, err := time.ParseDuration(s)
	*v.p = d
	return err == nil
}

func (v duration) valid() bool {
	return *v.p >= v.min && *v.p <= v.max || *v.p == 0 && v.zero != ""
}

func (v duration) want() string {
	return fmt.Sprintf("a duration from %s to %s", formatDuration(v.min), formatDuration(v.max)) + orZero(v.zero)
}
func (v duration) String() string { return formatDuration(*v.p) }

func orZero(meaning string) string {
	if meaning == "" {
		return ""
	}
	return ", or 0 for " + meaning
}

// formatDuration writes 3m where time.Duration writes 3m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// size is a number of bytes.
type size struct {
	p        *int64
	min, max int64
}

func (v size) set(s string) bool {
	n, ok := bytesize.Parse(s)
	*v.p = n
	return ok
}
func (v size) valid() bool { return *v.p >= v.min && *v.p <= v.max }
func (v size) want() string {
	return fmt.Sprintf("a size from %s to %s, such as 16MiB, 64KB or 1073741824", bytesize.Format(v.min), bytesize.Format(v.max))
}
func (v size) String() string { return bytesize.Format(*v.p) }

// sizeOrDefault is a size of which 0 says that the broker chooses.
type sizeOrDefault struct {
	size
	zero string
}

func (v sizeOrDefault) valid() bool { return *v.p == 0 || v.size.valid() }
func (v sizeOrDefault) want() string {
	return v.size.want() + orZero(v.zero)
}
