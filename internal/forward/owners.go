package forward

import (
	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
)

// Owners are the servers that have a topic which this one does not have, in the order in which a
// request is passed on to them: for messages and calls as [cluster.Cluster.Choose] sorts them,
// otherwise by address, those that are being drained last. There are none when the request is for
// this server. The error says that the client may not do with the topic, or a group of it ("" for
// none), what it needs to: it is the same as of a topic that is here, or nowhere.
func Owners(b *broker.Broker, c *cluster.Cluster, who broker.Caller, need access.Verb, topic, group string) ([]cluster.Owner, error) {
	if c.Alone() {
		return nil, nil
	}
	if _, err := b.System().Topic(topic); err == nil {
		return nil, nil // seen by the client or not
	}
	owners := c.Owners(topic)
	if len(owners) == 0 {
		return nil, nil
	}
	if need == access.Nothing {
		need = access.See // an answer from there would say that there is such a topic
	}
	if err := b.As(who, need).CheckElsewhere(topic, group, owners[0].Calls()); err != nil {
		return nil, err
	}
	return c.Choose(owners, need == access.Publish || need == access.Call), nil
}
