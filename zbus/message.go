package zbus

import (
	"strconv"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Limits of what a server takes besides the body.
const (
	maxMessageID = 128 // bytes
	maxTag       = 127 // bytes
	maxKey       = 256 // bytes
)

// Message is a message to publish. Neither it nor what it refers to may be changed
// while it is being published.
type Message struct {
	// ID identifies the message, in at most 128 bytes. A topic stores one message of an ID
	// within the server's --dedup-window, 10 minutes unless it is set otherwise: who publishes
	// it again, after ErrUnknownOutcome or after a restart, gets the [Receipt] of the first one.
	// A server that keeps no IDs refuses it (ErrInvalid). Empty: the client makes one. A call
	// has none.
	ID string
	// AllowDuplicate has the message stored also where the topic knows its ID, as for one that
	// is published again on purpose.
	AllowDuplicate bool
	// Key says what the message is about, in at most 256 bytes, for consumers: it arrives as
	// the header key. Of several servers, messages of one key go to one.
	Key string
	// Tag is what filters of groups look at, such as stock.hk.600; at most 127 bytes.
	Tag string
	// Headers go with the message: names of at most 64 letters, digits, - and _, in
	// any case (they arrive in lower case), values without control characters. All of
	// the message but its body has to fit in 32 KiB and 64 headers, unless the server
	// is set otherwise. Those of the protocol, such as topic, can't be set here.
	Headers map[string]string
	// Body is the content, at most 16 MiB unless the server is set otherwise.
	Body []byte
}

// headerKey is the header of a message's key.
const headerKey = "key"

// check refuses what would not arrive as it is.
func (m *Message) check(op, topic string) error {
	switch {
	case topic == "" || !wire.ValidValue(topic):
		return invalid(op, topic, "bad name of a topic: %q", topic)
	case len(m.ID) > maxMessageID || !wire.ValidValue(m.ID):
		return invalid(op, topic, "bad message id: must be at most %d bytes without control characters", maxMessageID)
	case len(m.Key) > maxKey || !wire.ValidValue(m.Key):
		return invalid(op, topic, "bad key: must be at most %d bytes without control characters", maxKey)
	case len(m.Tag) > maxTag || !wire.ValidValue(m.Tag):
		return invalid(op, topic, "bad tag: must be at most %d bytes without control characters", maxTag)
	}
	switch {
	case m.ID != "" && op != "publish":
		return invalid(op, topic, "an ID is for messages that are published, not for calls")
	}
	for name, value := range m.Headers {
		switch {
		case !wire.ValidName(name) || !wire.ValidValue(value):
			return invalid(op, topic, "bad header %q: a name is a token of at most 64 bytes, a value has no control characters", name)
		case m.Key != "" && lower(name) == headerKey:
			return invalid(op, topic, "the header key is given twice, by Headers and by Key")
		case wire.Private(lower(name)) || name == wire.HeaderContentLength:
			return invalid(op, topic, "header %q belongs to the protocol or to a connection, and is not stored", name)
		}
	}
	return nil
}

// lower is strings.ToLower for header names, without allocation where there is
// nothing to do.
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			b := []byte(name)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

// field is a header of a request.
type field = wire.Field

// frameWriter encodes one request. It is used with the client's mutex held.
type frameWriter struct {
	dst   []byte
	token string
	alone bool // servers are not to pass on what is asked of them, but for publishes and calls
}

func (w *frameWriter) start(cmd string) {
	w.dst = append(w.dst, "GET / HTTP/1.1\r\ncmd: "...)
	w.dst = append(w.dst, cmd...)
	w.dst = append(w.dst, '\r', '\n')
	if w.token != "" {
		w.dst = wire.AppendField(w.dst, wire.HeaderToken, w.token)
	}
	if w.alone && cmd != wire.CmdProduce && cmd != wire.CmdRPC {
		w.dst = wire.AppendField(w.dst, wire.HeaderHop, "client")
	}
}

func (w *frameWriter) field(name, value string) { w.dst = wire.AppendField(w.dst, name, value) }

func (w *frameWriter) int(name string, v int64) { w.dst = wire.AppendInt(w.dst, name, v) }

// id writes the id of a request: what the client calls itself, the class of the
// request, its number.
func (w *frameWriter) id(prefix string, class byte, n uint64) {
	w.dst = append(w.dst, "id: "...)
	w.dst = append(w.dst, prefix...)
	w.dst = append(w.dst, class)
	w.dst = strconv.AppendUint(w.dst, n, 36)
	w.dst = append(w.dst, '\r', '\n')
}

func (w *frameWriter) body(b []byte) { w.dst = wire.AppendBody(w.dst, b) }

// publish writes a message to be stored. Where it may be sent again, it is stored once.
func (w *frameWriter) publish(topic string, m *Message, again bool) {
	if m.ID != "" {
		w.field(wire.HeaderMessageID, m.ID)
	}
	if m.ID != "" && !m.AllowDuplicate || again {
		w.dst = append(w.dst, "dedup: true\r\n"...) // and is answered with the offset
	} else {
		w.dst = append(w.dst, "zbus-receipt: true\r\n"...)
	}
	w.message(topic, m)
	w.body(m.Body)
}

// message writes what a publish is made of.
func (w *frameWriter) message(topic string, m *Message) {
	w.field(wire.HeaderTopic, topic)
	if m.Tag != "" {
		w.field(wire.HeaderTag, m.Tag)
	}
	if m.Key != "" {
		w.field(headerKey, m.Key)
	}
	for name, value := range m.Headers {
		w.field(name, value)
	}
}

// parseID reads the number in the id of a reply, if it is one that this client has
// made.
func parseID[T string | []byte](id T, prefix string) (class byte, n uint64, ok bool) {
	if len(id) < len(prefix)+2 || string(id[:len(prefix)]) != prefix {
		return 0, 0, false
	}
	for _, c := range []byte(id[len(prefix)+1:]) {
		switch {
		case c >= '0' && c <= '9':
			n = n*36 + uint64(c-'0')
		case c >= 'a' && c <= 'z':
			n = n*36 + uint64(c-'a') + 10
		default:
			return 0, 0, false
		}
	}
	return id[len(prefix)], n, true
}
