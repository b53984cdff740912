package apiconv

import (
	"strconv"

	"github.com/rushmore/zbus-go/internal/broker"
)

// nothingYet is the resume id in front of the first message.
const nothingYet = "-1"

// ResumeID is what a reader whose next message would have this offset comes back with, if it
// is interrupted before one comes: the offset before that.
func ResumeID(next int64) string { return strconv.FormatInt(next-1, 10) }

// ParseResume is the position behind the message with a resume id. Beyond the log, which has become
// another one then, it is the beginning, and reset is true. name is what the id is called.
func ParseResume(t *broker.Topic, name, id string) (start broker.Position, reset bool, err error) {
	last := int64(-1)
	if id != nothingYet {
		if last, err = ParseCount(name, id); err != nil {
			return start, false, err
		}
	}
	if last >= t.Next() {
		return broker.Position{At: broker.AtEarliest}, true, nil
	}
	return broker.Position{At: broker.AtOffset, Offset: last + 1}, false, nil
}
