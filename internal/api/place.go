package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// placeJSON is a Place as an object. Numbers may be strings or not.
type placeJSON struct {
	Offset    *json.RawMessage `json:"offset"`
	Time      *json.RawMessage `json:"time"`
	MessageID *string          `json:"messageId"`
	Group     *string          `json:"group"`
	Earliest  *bool            `json:"earliest"`
	Latest    *bool            `json:"latest"`
	Shift     *json.RawMessage `json:"shift"`
}

// PlaceOf reads a place in a log: "earliest", "latest", or an object with one
// member. name is the member it is from.
func PlaceOf(name string, p Place) (broker.Place, error) {
	raw, err := p.MarshalJSON()
	if err != nil {
		return broker.Place{}, err
	}
	return parsePlace(name, raw)
}

const placeHelp = `must be "earliest", "latest", or an object with one of offset, time, messageId, group, shift`

func parsePlace(name string, raw []byte) (broker.Place, error) {
	var none broker.Place
	var word string
	if json.Unmarshal(raw, &word) == nil {
		switch word {
		case "earliest":
			return broker.Place{At: broker.AtEarliest}, nil
		case "latest":
			return broker.Place{At: broker.AtLatest}, nil
		}
		return none, invalid("%s %q: %s", name, broker.Excerpt(word), placeHelp)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || len(members) != 1 {
		return none, invalid("%s: %s", name, placeHelp)
	}
	var o placeJSON
	if err := decode(raw, &o); err != nil {
		return none, explain(err)
	}
	return o.place(name)
}

// place is the broker's form. One member is set.
func (o *placeJSON) place(name string) (p broker.Place, err error) {
	switch {
	case o.Offset != nil:
		p.At = broker.AtOffset
		if p.Offset, err = integer(*o.Offset); err == nil && p.Offset < 0 {
			err = strconv.ErrRange
		}
	case o.Shift != nil:
		p.At = broker.AtShift
		p.Offset, err = integer(*o.Shift)
	case o.Time != nil:
		p.At = broker.AtTime
		p.Time, err = parseTime(strings.Trim(string(*o.Time), `"`))
	case o.MessageID != nil:
		p.At, p.ID = broker.AtMessage, *o.MessageID
	case o.Group != nil:
		p.At, p.Group = broker.AtGroup, *o.Group
	case or(o.Earliest, false):
		p.At = broker.AtEarliest
	case or(o.Latest, false):
		p.At = broker.AtLatest
	default:
		return p, invalid("%s: %s", name, placeHelp)
	}
	if err != nil {
		return p, invalid("%s: offset is a number of digits, shift one that may be negative, time RFC 3339 or Unix milliseconds", name)
	}
	return p, nil
}

// integer reads a JSON number or string of digits.
func integer(raw json.RawMessage) (int64, error) {
	text := strings.Trim(string(raw), `"`)
	if strings.HasPrefix(text, "+") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(text, 10, 64)
}

// parseTime reads RFC 3339 or Unix milliseconds, and gives the latter.
func parseTime(text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UnixMilli(), err
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func lower(s string) string { return strings.ToLower(s) }
