package cli

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// placeHelp says what a place in a topic's log may be written as.
const placeHelp = `A PLACE is earliest, latest, an offset, group:NAME (where another group is),
id:ID (the newest message with that id), or a time: 2026-02-01T15:04:05Z,
2026-02-01T15:04 or 15:04 (today) in local time, or 90m or 2d, so long ago.`

// place is a place in a topic's log. At most one of its members is set.
type place struct {
	word   string // earliest or latest
	offset *int64
	shift  *int64
	time   time.Time
	group  string
	id     string
}

var (
	offsetPattern = regexp.MustCompile(`^[0-9]+$`)
	shiftPattern  = regexp.MustCompile(`^[+-][0-9]+$`)
)

// timeLayouts are those of a place, the ones without a zone in local time.
var timeLayouts = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// parsePlace reads a place. A shift, such as -100, is one only for a group that is
// somewhere already.
func parsePlace(flag, text string, shifts bool, now time.Time) (p place, err error) {
	digits := strings.NewReplacer(",", "", "_", "").Replace(text)
	switch {
	case strings.EqualFold(text, "earliest"), strings.EqualFold(text, "latest"):
		p.word = strings.ToLower(text)
		return p, nil
	case strings.HasPrefix(text, "group:") && len(text) > len("group:"):
		p.group = text[len("group:"):]
		return p, nil
	case strings.HasPrefix(text, "id:") && len(text) > len("id:"):
		p.id = text[len("id:"):]
		return p, nil
	case offsetPattern.MatchString(digits), shifts && shiftPattern.MatchString(digits):
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return p, usage("--%s %q: is too large", flag, text)
		}
		if digits[0] == '+' || digits[0] == '-' {
			p.shift = &n
		} else {
			p.offset = &n
		}
		return p, nil
	}
	if p.time, err = parseTime(text, now); err == nil {
		return p, nil
	}
	words := "earliest, latest, an offset, group:NAME, id:ID or a time such as 2026-02-01T15:04, 15:04 or 90m (ago)"
	if shifts {
		words = "earliest, latest, an offset, +N or -N messages, group:NAME, id:ID or a time such as 2026-02-01T15:04, 15:04 or 90m (ago)"
	}
	if text == "" {
		return p, usage("--%s is missing: %s", flag, words)
	}
	return p, usage("--%s %q: must be %s", flag, text, words)
}

// parseTime reads a time, or a duration before now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, usage("%q is not a time", text)
}

// api is the place as the API takes it.
func (p place) api() (out apimodel.Position, err error) {
	var v any = p.word
	switch {
	case p.offset != nil:
		v = map[string]string{"offset": format(*p.offset)}
	case p.shift != nil:
		v = map[string]string{"shift": strconv.FormatInt(*p.shift, 10)}
	case p.group != "":
		v = map[string]string{"group": p.group}
	case p.id != "":
		v = map[string]string{"messageId": p.id}
	case p.word == "":
		v = map[string]string{"time": p.time.UTC().Format(time.RFC3339Nano)}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return out, err
	}
	return out, out.UnmarshalJSON(text)
}

// native is the place as the native protocol takes it.
func (p place) native() zbus.Position {
	switch {
	case p.word == "earliest":
		return zbus.Earliest()
	case p.word == "latest":
		return zbus.Latest()
	case p.offset != nil:
		return zbus.AtOffset(*p.offset)
	case p.group != "":
		return zbus.AtGroup(p.group)
	case p.id != "":
		return zbus.AtMessage(p.id)
	}
	return zbus.AtTime(p.time)
}
