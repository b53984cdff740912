package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/wire"
)

// maxTrackers is how many trackers a server may join.
const maxTrackers = 16

// maxRevision is the largest infoVersion: JavaScript has no larger integers.
const maxRevision = 1<<53 - 1

// Info is what a server has said of itself. It does not change.
type Info struct {
	Address  Address
	Version  string
	Phase    Phase
	Trackers []Address   // that it joins
	Revision int64       // its infoVersion
	Number   int64       // of what members have told: what is the same as before has the same one
	Body     []byte      // all of it, as JSON
	head     []byte      // of the JSON: what is before the first topic
	topics   []topicText // by name, without regard to case
	shape    uint64      // a sum of what is more than a count that moves all the time
}

// Topic is what a server says of one of its topics.
type Topic struct {
	Name      string
	Mask      int64
	Depth     int64
	Lag       int64 // of the group that is furthest behind
	Consumers int
}

// The bits of a mask that say what a topic carries.
const (
	maskMemory = 1
	maskRPC    = 2
	maskProxy  = 4
)

// Kind is what the topic carries, in the words of the API.
func (t *Topic) Kind() string {
	switch {
	case t.Mask&maskProxy != 0:
		return "proxy"
	case t.Mask&maskRPC != 0:
		return "rpc"
	case t.Mask&maskMemory != 0:
		return "memory"
	}
	return "log"
}

// Calls reports whether the topic is for calls and requests, which a provider answers.
func (t *Topic) Calls() bool { return t.Mask&(maskRPC|maskProxy) != 0 }

// topicText is a topic in a table.
type topicText struct {
	Topic
	lower string // topics are found without regard to case; tables are sorted by it
	text  []byte // its key and its object
}

// Topics is how many topics the server has.
func (i *Info) Topics() int { return len(i.topics) }

// Append appends the JSON of the server with those of its topics that are to be seen.
func (i *Info) Append(dst []byte, visible func(topic string) bool) []byte {
	dst = append(dst, i.head...)
	first := true
	for _, t := range i.topics {
		if !visible(t.Name) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		dst, first = append(dst, t.text...), false
	}
	return append(dst, "}}"...)
}

// event is what a server tells a tracker.
type event struct {
	info        Info
	live        bool
	knows       []Address // the servers that the tracker had listed before it was started
	certificate string    // PEM; "" without TLS
}

var errTooLarge = errors.New("too large")

// decoder reads an event piece by piece, and writes what it has understood: what others
// have sent reaches no client as it is, and a body that is small takes little memory.
type decoder struct {
	*json.Decoder
	limit int    // bytes of what is written
	out   []byte // the topics
	marks []int  // in out: where each topic begins
	group []byte // the groups of one topic
	lag   int64  // the largest one of these
	event event

	known map[edition]*Info // what was read before, and is not read again
	same  *Info             // the server at hand, if it was read before
	shape hash.Hash64       // of what is at hand: a topic, and at last the server besides
	sum   uint64            // of the shapes of its topics: the same in any order
}

// decode reads the body of a track_pub. What it returns has at most limit bytes.
func decode(body []byte, limit int) (*event, error) {
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(body)), limit: limit, shape: fnv.New64a()}
	err := d.object(func(name string) error {
		switch name {
		case "live":
			return d.Decode(&d.event.live)
		case "certificate":
			return d.Decode(&d.event.certificate)
		case "knows":
			return d.addresses(&d.event.knows, name, maxMembers)
		case "serverInfo":
			return d.server()
		}
		return d.skip()
	})
	if errors.Is(err, errTooLarge) {
		return nil, refusal(true, "the table of this server is larger than what can be kept here: %d bytes", limit)
	}
	if err != nil {
		return nil, refusal(false, "the body is not an event of a server: %v", err)
	}
	return &d.event, d.finish()
}

// object reads an object, or null.
func (d *decoder) object(field func(name string) error) error {
	begin, err := d.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("%v: must be an object", begin)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string) // a decoder takes no other for a name
		if err := field(text); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func (d *decoder) skip() error {
	var any json.RawMessage
	return d.Decode(&any)
}

func (d *decoder) server() error {
	info := &d.event.info
	d.shape.Reset()
	d.sum = 0
	return d.object(func(name string) error {
		switch name {
		case "serverAddress":
			return d.Decode(&info.Address)
		case "serverVersion":
			return d.Decode(&info.Version)
		case "infoVersion":
			return d.Decode(&info.Revision)
		case "drain":
			return d.Decode(&info.Phase)
		case "trackerList":
			return d.addresses(&info.Trackers, name, maxTrackers)
		case "topicTable":
			if info.Address.Address == "" {
				return errors.New("serverAddress: must come before topicTable")
			}
			if d.same = d.known[edition{info.Address, info.Revision}]; d.same != nil {
				return d.skip()
			}
			return d.object(d.topic)
		}
		return d.skip()
	})
}

// addresses reads which servers the server joins, or knows.
func (d *decoder) addresses(to *[]Address, name string, most int) error {
	begin, err := d.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('[') {
		return fmt.Errorf("%s %v: must be a list", name, begin)
	}
	for d.More() {
		var a Address
		if err := d.Decode(&a); err != nil {
			return err
		}
		if err := a.check(); err != nil {
			return err
		}
		if len(*to) == most {
			return fmt.Errorf("%s: must have at most %d", name, most)
		}
		*to = append(*to, a)
	}
	_, err = d.Token()
	return err
}

// topic reads one topic of the table.
func (d *decoder) topic(name string) error {
	// The list of groups is text, so that there is one group at a time.
	t := struct {
		TopicInfo
		ConsumeGroupList json.RawMessage `json:"consumeGroupList"`
	}{}
	d.group, d.lag = append(d.group[:0], '['), 0
	err := d.object(func(field string) error {
		switch field {
		case "mask":
			return d.Decode(&t.Mask)
		case "messageDepth":
			return d.Decode(&t.MessageDepth)
		case "consumerCount":
			return d.Decode(&t.ConsumerCount)
		case "createdTime":
			return d.Decode(&t.CreatedTime)
		case "lastUpdatedTime":
			return d.Decode(&t.LastUpdatedTime)
		case "consumeGroupList":
			return d.groups(name)
		}
		return d.skip()
	})
	if err != nil {
		return err
	}
	// What owns a topic is the server that tells of it: clients publish there.
	t.TopicName, t.ServerAddress, t.ServerVersion = name, d.event.info.Address, d.event.info.Version
	t.ConsumeGroupList = append(d.group, ']')
	fmt.Fprintf(d.shape, "%q %d %d\n", name, t.Mask, t.ConsumerCount)
	d.sum += d.shape.Sum64()
	d.shape.Reset()
	if len(d.marks) > 0 {
		d.out = append(d.out, ',')
	}
	d.marks = append(d.marks, len(d.out))
	d.event.info.topics = append(d.event.info.topics, topicText{
		Topic: Topic{name, t.Mask, t.MessageDepth, d.lag, t.ConsumerCount}, lower: strings.ToLower(name),
	})
	if d.out, err = appendJSON(d.out, name); err != nil {
		return err
	}
	if d.out, err = appendJSON(append(d.out, ':'), t); err != nil {
		return err
	}
	return d.room(0)
}

// groups reads a list of groups, or null.
func (d *decoder) groups(topic string) error {
	begin, err := d.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('[') {
		return fmt.Errorf("consumeGroupList %v: must be a list", begin)
	}
	for d.More() {
		var g GroupInfo
		if err := d.Decode(&g); err != nil {
			return err
		}
		d.lag = max(d.lag, g.MessageCount)
		fmt.Fprintf(d.shape, "%q %d %q %d\n", g.GroupName, g.Mask, g.Filter, g.ConsumerCount)
		if g.TopicName = topic; g.ConsumerList == nil {
			g.ConsumerList = []string{}
		}
		if len(d.group) > 1 {
			d.group = append(d.group, ',')
		}
		if d.group, err = appendJSON(d.group, g); err != nil {
			return err
		}
		if err := d.room(len(d.group)); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// room says that there is no room for what was written, with some more.
func (d *decoder) room(more int) error {
	if len(d.out)+more > d.limit {
		return errTooLarge
	}
	return nil
}

// finish puts the table together.
func (d *decoder) finish() error {
	info := &d.event.info
	if err := info.Address.check(); err != nil {
		return refusal(false, "%v", err)
	}
	if info.Revision < 0 || info.Revision > maxRevision {
		return refusal(false, "infoVersion %d: must be from 0 to %d", info.Revision, int64(maxRevision))
	}
	if !wire.ValidValue(info.Version) || len(info.Version) > maxHost {
		return refusal(false, "serverVersion: must be a short text")
	}
	head, err := appendJSON(nil, ServerInfo{
		ServerAddress: info.Address, ServerVersion: info.Version, InfoVersion: info.Revision,
		Drain: info.Phase, TrackerList: append([]Address{}, info.Trackers...), TopicTable: map[string]TopicInfo{},
	})
	if err != nil {
		return err
	}
	head = bytes.TrimSuffix(head, []byte("}}"))
	for i, from := range d.marks {
		to := len(d.out)
		if i+1 < len(d.marks) {
			to = d.marks[i+1] - 1 // the comma
		}
		info.topics[i].text = d.out[from:to]
	}
	sort.SliceStable(info.topics, func(i, j int) bool { return info.topics[i].lower < info.topics[j].lower })
	body := append(make([]byte, 0, len(head)+len(d.out)+2), head...) // never grows: topics are parts of it
	info.head = body[:len(head):len(head)]
	for i := range info.topics {
		if i > 0 {
			body = append(body, ',')
		}
		from := len(body)
		body = append(body, info.topics[i].text...)
		info.topics[i].text = body[from:len(body):len(body)]
	}
	info.Body = append(body, "}}"...)
	fmt.Fprintf(d.shape, "%q %q %v", info.Phase, info.Version, info.Trackers)
	info.shape = d.sum + d.shape.Sum64()
	return nil
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(dst, text...), err
}
