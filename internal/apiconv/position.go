package apiconv

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/strictjson"
)

// position is a Position as an object. Numbers may be strings or not.
type position struct {
	Offset    *json.RawMessage `json:"offset"`
	Time      *json.RawMessage `json:"time"`
	MessageID *string          `json:"messageId"`
	Group     *string          `json:"group"`
	Earliest  *bool            `json:"earliest"`
	Latest    *bool            `json:"latest"`
	Shift     *json.RawMessage `json:"shift"`
}

// ParsePosition reads a position in a log: "earliest", "latest", or an object with one
// member. name is the member it is from.
func ParsePosition(name string, p apimodel.Position) (broker.Position, error) {
	raw, err := p.MarshalJSON()
	if err != nil {
		return broker.Position{}, err
	}
	return parsePosition(name, raw)
}

const positionHelp = `must be "earliest", "latest", or an object with one of offset, time, messageId, group, shift`

func parsePosition(name string, raw []byte) (broker.Position, error) {
	var none broker.Position
	var word string
	if json.Unmarshal(raw, &word) == nil {
		switch word {
		case "earliest":
			return broker.Position{At: broker.AtEarliest}, nil
		case "latest":
			return broker.Position{At: broker.AtLatest}, nil
		}
		return none, problem.Invalid("%s %q: %s", name, broker.Excerpt(word), positionHelp)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || len(members) != 1 {
		return none, problem.Invalid("%s: %s", name, positionHelp)
	}
	var o position
	if err := strictjson.Unmarshal(raw, &o); err != nil {
		return none, strictjson.Explain("the body", err)
	}
	return o.broker(name)
}

// position is the broker's form. One member is set.
func (o *position) broker(name string) (p broker.Position, err error) {
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
		p.Time, err = ParseTime(strings.Trim(string(*o.Time), `"`))
	case o.MessageID != nil:
		p.At, p.ID = broker.AtMessage, *o.MessageID
	case o.Group != nil:
		p.At, p.Group = broker.AtGroup, *o.Group
	case Or(o.Earliest, false):
		p.At = broker.AtEarliest
	case Or(o.Latest, false):
		p.At = broker.AtLatest
	default:
		return p, problem.Invalid("%s: %s", name, positionHelp)
	}
	if err != nil {
		return p, problem.Invalid("%s: offset is a number of digits, shift one that may be negative, time RFC 3339 or Unix milliseconds", name)
	}
	return p, nil
}
