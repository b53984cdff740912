package apiconv

import (
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/stats"
)

// Drain is the time until a lag is worked off, in milliseconds, or nil when it never
// will be at these rates.
func Drain(lag int64, flow stats.Flow) *int64 {
	net := flow.Out - flow.In
	switch {
	case lag == 0:
		return new(int64)
	case net <= 0:
		return nil
	}
	ms := int64(float64(lag) / net * 1000)
	return &ms
}

// TopicKind names what a topic carries.
func TopicKind(t *broker.Topic) apimodel.TopicKind { return apimodel.TopicKind(t.Kind().String()) }
