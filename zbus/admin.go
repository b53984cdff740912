package zbus

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// TopicSpec says what a topic should be. What is zero is left as it is, or as usual
// for a new topic, unless Exact is set.
type TopicSpec struct {
	Name   string // 1 to 200 letters, digits, . _ ~ : and -
	Memory bool   // keeps its messages in memory only
	RPC    bool   // carries calls: see Service
	Proxy  bool   // carries HTTP requests to a server behind it, which zbus proxy connects
	// The oldest messages are removed beyond any of these limits. All three are set
	// if one is; 0 is no limit.
	MaxAge   time.Duration
	MaxCount int64
	MaxBytes int64
	// Exact changes also what is zero here: to a topic without limits that stores messages.
	Exact bool
}

func (t *TopicSpec) fields() []field {
	all := []field{{Name: wire.HeaderTopic, Value: t.Name}}
	mask := int64(0)
	if t.Memory {
		mask |= maskMemory
	}
	if t.RPC {
		mask |= maskMemory | maskRPC
	}
	if t.Proxy {
		mask |= maskMemory | maskProxy
	}
	all = appendInt(all, t.Exact, wire.HeaderTopicMask, mask)
	all = appendInt(all, t.Exact, wire.HeaderTopicMaxAge, t.MaxAge.Milliseconds())
	all = appendInt(all, t.Exact, wire.HeaderTopicMaxCount, t.MaxCount)
	return appendInt(all, t.Exact, wire.HeaderTopicMaxBytes, t.MaxBytes)
}

// GroupSpec says what a consume group should be. What is zero is left as it is, or
// as usual for a new group, unless Exact is set.
type GroupSpec struct {
	Name string // "" is the default group, named like the topic
	// Filter selects messages by their tags, part by part: + is one part, * at the end
	// one or more, # any number; ; separates alternatives, ! excludes. At most 127 bytes.
	Filter string
	// ClearFilter takes the filter of a group away.
	ClearFilter bool
	// Explicit makes it a group whose messages have to be acked. What is not acked in
	// time, or nacked, is delivered again.
	Explicit bool
	// AckTimeout is how long a consumer has for a message, up to a day. Default: 10s.
	AckTimeout time.Duration
	// AckWindow is how many messages may be unacked in the group, up to 10,000.
	AckWindow int
	// MaxDeliver is after how many deliveries a message goes to the topic <topic>.dead.
	MaxDeliver int
	Exclusive  bool // for one connection at a time
	Temporary  bool // removed when its last consumer leaves
	// Start is where a new group begins. The zero Position is where the most advanced
	// group of the topic is, or the earliest message if there is none.
	Start Position
	// Topic is what the topic should be. Its Name is not used.
	Topic TopicSpec
	// Exact changes also what is zero here: an existing group loses its filter, acks and
	// the like, and its limits become the usual ones. Start and Topic are not concerned.
	Exact bool
}

func (g *GroupSpec) fields(topic, name string) []field {
	spec := g.Topic
	spec.Name = topic
	all := append(spec.fields(), field{Name: wire.HeaderConsumeGroup, Value: name})
	if g.Filter != "" || g.ClearFilter || g.Exact {
		all = append(all, field{Name: wire.HeaderGroupFilter, Value: g.Filter})
	}
	mask := int64(0)
	for bit, set := range map[int64]bool{maskExplicit: g.Explicit, maskExclusive: g.Exclusive, maskTemporary: g.Temporary} {
		if set {
			mask |= bit
		}
	}
	all = appendInt(all, g.Exact, wire.HeaderGroupMask, mask)
	all = appendInt(all, g.Exact, wire.HeaderGroupAckTimeout, g.AckTimeout.Milliseconds())
	all = appendInt(all, g.Exact, wire.HeaderGroupAckWindow, int64(g.AckWindow))
	all = appendInt(all, g.Exact, wire.HeaderMaxDeliver, int64(g.MaxDeliver))
	return append(all, g.Start.start...)
}

// appendInt adds a number; a zero only where the specification is exact.
func appendInt(all []field, exact bool, name string, v int64) []field {
	if v == 0 && !exact {
		return all
	}
	return append(all, field{Name: name, Value: strconv.FormatInt(v, 10)})
}

// Position is a position in a topic's log. The zero Position is none.
type Position struct {
	start []field // as the start of a new group
	move  []field // as where to move a group
}

func position(start, move, value string) Position {
	return Position{start: []field{{Name: start, Value: value}}, move: []field{{Name: move, Value: value}}}
}

// Earliest is the oldest message.
func Earliest() Position {
	p := AtOffset(0)
	p.move = []field{{Name: "to", Value: "earliest"}}
	return p
}

// Latest is behind the newest message.
func Latest() Position {
	p := AtOffset(math.MaxInt64)
	p.move = []field{{Name: "to", Value: "latest"}}
	return p
}

// AtOffset is the message with an offset, or the end of the log nearest to it.
func AtOffset(offset int64) Position {
	return position(wire.HeaderGroupStartOffset, wire.HeaderOffset, strconv.FormatInt(offset, 10))
}

// AtTime is the first message that is not older.
func AtTime(t time.Time) Position {
	return position(wire.HeaderGroupStartTime, wire.HeaderTimestamp, strconv.FormatInt(max(t.UnixMilli(), 0), 10))
}

// AtMessage is the newest message with an ID.
func AtMessage(id string) Position { return position(wire.HeaderGroupStartMsgID, moveToMessage, id) }

// moveToMessage is how a request names the message that a group is moved to.
const moveToMessage = "msgid"

// AtGroup is where another group of the topic is.
func AtGroup(name string) Position { return position(wire.HeaderGroupStartCopy, "from_group", name) }

// DeclareTopic makes sure of a topic and its default group, and changes the topic to
// what the specification says. It may be called for a topic that exists: ErrExists
// says that it can't become that. Of several servers it is made on all that are connected.
func (c *Client) DeclareTopic(ctx context.Context, t TopicSpec) (TopicInfo, error) {
	return c.topic(ctx, "declare", t.Name, wire.CmdDeclare, t.fields()...)
}

// topic makes a request that is answered with a topic.
func (c *Client) topic(ctx context.Context, op, topic, cmd string, fields ...field) (TopicInfo, error) {
	if c.set != nil {
		return c.set.topic(ctx, op, topic, cmd, fields)
	}
	reply, err := c.ask(ctx, lossResend, op, topic, cmd, fields...)
	if err != nil {
		return TopicInfo{}, err
	}
	j, err := decode[topicJSON](op, topic, reply.Body)
	if err != nil {
		return TopicInfo{}, err
	}
	return j.info(), nil
}

// DeclareGroup makes sure of a topic and a group of it, and changes the group to what
// the specification says. Start has no effect on a group that exists: see Relocate. Of several servers
// it is made on all that are connected.
func (c *Client) DeclareGroup(ctx context.Context, topic string, g GroupSpec) (GroupInfo, error) {
	if g.Name == "" {
		g.Name = topic
	}
	target := topic + "/" + g.Name
	return c.group(ctx, lossResend, "declare", target, wire.CmdDeclare, g.fields(topic, g.Name)...)
}

// group makes a request that is answered with a group.
func (c *Client) group(ctx context.Context, l loss, op, target, cmd string, fields ...field) (GroupInfo, error) {
	if c.set != nil {
		return c.set.group(ctx, l, op, target, cmd, fields)
	}
	reply, err := c.ask(ctx, l, op, target, cmd, fields...)
	if err != nil {
		return GroupInfo{}, err
	}
	j, err := decode[groupJSON](op, target, reply.Body)
	if err != nil {
		return GroupInfo{}, err
	}
	return j.info(), nil
}

// QueryTopic describes a topic and its groups. Of several servers it gives the sums of those that are
// connected and have it.
func (c *Client) QueryTopic(ctx context.Context, topic string) (TopicInfo, error) {
	return c.topic(ctx, "query", topic, wire.CmdQuery, named(topic, "")...)
}

// QueryGroup describes a group; "" is the topic's default group. Of several servers it gives the sums of
// those that are connected and have it, and no Cursor.
func (c *Client) QueryGroup(ctx context.Context, topic, group string) (GroupInfo, error) {
	if group == "" {
		group = topic
	}
	return c.group(ctx, lossResend, "query", topic+"/"+group, wire.CmdQuery, named(topic, group)...)
}

// QueryServer describes the server and all its topics. The lags of filtered groups
// are estimates in it. Of several servers it has to be one of them (ErrInvalid): see [Client.Server].
func (c *Client) QueryServer(ctx context.Context) (ServerInfo, error) {
	if c.set != nil {
		return ServerInfo{}, invalid("query", "", "there are several servers; ask one of them, by Client.Server")
	}
	reply, err := c.ask(ctx, lossResend, "query", "", wire.CmdServer)
	if err != nil {
		return ServerInfo{}, err
	}
	j, err := decode[serverJSON]("query", "", reply.Body)
	if err != nil {
		return ServerInfo{}, err
	}
	return j.info(), nil
}

// RemoveTopic removes a topic with its messages and groups. Of several servers all that are connected
// remove it, and so it is with RemoveGroup, EmptyTopic and EmptyGroup; it has to be on one of them.
func (c *Client) RemoveTopic(ctx context.Context, topic string) error {
	return c.command(ctx, "remove", topic, wire.CmdRemove, named(topic, ""))
}

// RemoveGroup removes a group; "" is the topic's default group.
func (c *Client) RemoveGroup(ctx context.Context, topic, group string) error {
	return c.groupCommand(ctx, "remove", wire.CmdRemove, topic, group)
}

// EmptyTopic removes all messages of a topic.
func (c *Client) EmptyTopic(ctx context.Context, topic string) error {
	return c.command(ctx, "empty", topic, wire.CmdEmpty, named(topic, ""))
}

// EmptyGroup moves a group behind the newest message.
func (c *Client) EmptyGroup(ctx context.Context, topic, group string) error {
	return c.groupCommand(ctx, "empty", wire.CmdEmpty, topic, group)
}

func (c *Client) groupCommand(ctx context.Context, op, cmd, topic, group string) error {
	if group == "" {
		group = topic
	}
	return c.command(ctx, op, topic+"/"+group, cmd, named(topic, group))
}

// command makes a request that is answered with no more than that it was done.
func (c *Client) command(ctx context.Context, op, target, cmd string, fields []field) error {
	if c.set != nil {
		return c.set.command(ctx, op, target, cmd, fields)
	}
	_, err := c.ask(ctx, lossUnknown, op, target, cmd, fields...)
	return err
}

// Relocate moves a group, while its consumers stay connected and continue from there.
// What they hold unsettled is no longer theirs. The reason, which may be empty,
// goes to the server's journal. Of several servers all that have the group move it; a place by offset or
// message is one of a single server, and refused (ErrInvalid) where there are more.
func (c *Client) Relocate(ctx context.Context, topic, group string, to Position, reason string) (GroupInfo, error) {
	if group == "" {
		group = topic
	}
	target := topic + "/" + group
	if to.move == nil {
		return GroupInfo{}, invalid("relocate", target, "no place to move to")
	}
	fields := append(named(topic, group), to.move...)
	if reason != "" {
		fields = append(fields, field{Name: "reason", Value: reason})
	}
	return c.group(ctx, lossUnknown, "relocate", target, wire.CmdRelocate, fields...)
}

// named is how a request names a topic and a group of it.
func named(topic, group string) []field {
	all := []field{{Name: wire.HeaderTopic, Value: topic}}
	if group != "" {
		all = append(all, field{Name: wire.HeaderConsumeGroup, Value: group})
	}
	return all
}

// Ping returns when the server has answered everything that it was asked before on
// this connection; of several servers, when all have that are connected, which has to be one (ErrUnavailable).
func (c *Client) Ping(ctx context.Context) error { return c.barrier(ctx) }
