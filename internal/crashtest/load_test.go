package crashtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/wire"
)

const (
	topic         = "log"
	autoGroup     = "auto"
	explicitGroup = "explicit"
	verifyGroup   = "verify"

	nativeProducers   = 4
	httpProducers     = 2
	explicitConsumers = 2
	pipeline          = 512 // unanswered publishes of a native producer
)

// lane is one connection that publishes: messages 0, 1, 2, … in this order. Its
// producer owns it until the round is over, then the checker.
type lane struct {
	name     string
	topics   int   // more than one: it publishes to so many in turn
	sent     int   // messages that the broker may have got
	answered []int // messages whose answer was 200
	refused  int   // messages that were answered otherwise
}

func (l *lane) id(n int) string { return l.name + "/" + strconv.Itoa(n) }

// body is what message n of a lane carries: its name, a hash and some filling,
// so that wrong, mixed or cut bytes cannot look right.
func (l *lane) body(n int) []byte {
	sum := sha256.Sum256([]byte(l.id(n)))
	text := l.id(n) + " " + hex.EncodeToString(sum[:]) + " "
	filling := n % 8
	if l.topics > 1 && n%101 == 0 {
		filling = 200 // more than the store keeps together with other topics' messages
	}
	return append([]byte(text), bytes.Repeat(sum[:], filling)...)
}

// topic is where message n goes.
func (l *lane) topic(n int) string {
	if l.topics > 1 {
		return manyName(n % l.topics)
	}
	return topic
}

// parseID is the opposite of lane.id.
func parseID(id string) (name string, n int, ok bool) {
	name, digits, ok := strings.Cut(id, "/")
	n, err := strconv.Atoi(digits)
	return name, n, ok && err == nil
}

// produce publishes through a connection of the broker's own protocol, many
// messages ahead of their answers, until the connection breaks.
func (l *lane) produce(c *conn) {
	slots := make(chan struct{}, pipeline)
	var writer sync.WaitGroup
	broken := make(chan struct{})
	writer.Go(func() { l.write(c, slots, broken) })
	for {
		m, err := c.r.Read()
		if err != nil {
			break
		}
		_, n, ok := parseID(m.Get(wire.HeaderID))
		if ok && m.Status == http.StatusOK {
			l.answered = append(l.answered, n)
		} else {
			l.refused++
		}
		<-slots
	}
	close(broken)
	_ = c.Close()
	writer.Wait()
}

func (l *lane) write(c *conn, slots chan<- struct{}, broken <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case slots <- struct{}{}:
		default: // as many as may be under way: now they have to leave
			if c.w.Flush() != nil {
				return
			}
			select {
			case slots <- struct{}{}:
			case <-broken:
				return
			}
		}
		l.sent = n + 1
		c.put(l.body(n), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, l.topic(n)),
			field(wire.HeaderAck, "true"), field(wire.HeaderID, l.id(n)))
	}
}

// post publishes over HTTP, one message after the other, until that fails.
func (l *lane) post(address string) {
	var transport http.Transport
	defer transport.CloseIdleConnections()
	for n := 0; ; n++ {
		l.sent = n + 1
		req, err := http.NewRequest(http.MethodPost, "http://"+address+"/produce/"+topic, bytes.NewReader(l.body(n)))
		if err != nil {
			return
		}
		req.Header.Set(wire.HeaderID, l.id(n))
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return
		case resp.StatusCode == http.StatusOK:
			l.answered = append(l.answered, n)
		default:
			l.refused++
		}
	}
}

// taken is what one consumer got and answered in one round.
type taken struct {
	offsets []int64
	asked   map[int64]bool // acks sent
	acked   []int64        // acks whose answer was 200
	refused int            // acks that were answered otherwise
}

// follow consumes an auto group until the connection breaks.
func follow(c *conn) (t taken) {
	defer c.Close()
	if c.consume(autoGroup) != nil {
		return t
	}
	for {
		m, offset, err := c.next(autoGroup, nil)
		if m != nil {
			t.offsets = append(t.offsets, offset)
		}
		if err != nil {
			return t
		}
	}
}

// work consumes an explicit group until the connection breaks and acks all
// messages but those that keep names. It calls begun for every answer to an ack.
func work(c *conn, keep func(offset int64) bool, begun func()) taken {
	t := taken{asked: map[int64]bool{}}
	defer c.Close()
	if c.consume(explicitGroup) != nil {
		return t
	}
	for {
		m, offset, err := c.next(explicitGroup, func(m *wire.Message) { t.answer(m); begun() })
		if m != nil {
			t.offsets = append(t.offsets, offset)
		}
		if err != nil {
			return t
		}
		if keep(offset) {
			continue
		}
		t.asked[offset] = true
		c.ack(offset, m.Get(wire.HeaderHandle))
		if c.w.Flush() != nil {
			return t
		}
	}
}

func (c *conn) ack(offset int64, handle string) {
	at := strconv.FormatInt(offset, 10)
	c.put(nil, field(wire.HeaderCmd, wire.CmdAck), field(wire.HeaderTopic, topic),
		field(wire.HeaderConsumeGroup, explicitGroup), field(wire.HeaderOffset, at),
		field(wire.HeaderHandle, handle), field(wire.HeaderID, "ack/"+at))
}

func (t *taken) answer(m *wire.Message) {
	_, n, ok := parseID(m.Get(wire.HeaderID))
	if ok && m.Status == http.StatusOK {
		t.acked = append(t.acked, int64(n))
	} else {
		t.refused++
	}
}

// round is what the clients of one life of the broker saw.
type round struct {
	lanes []*lane
	auto  taken
	works []taken

	// begun is closed when an ack was answered, so that all kinds of clients are
	// at work, or when all have ended.
	begun chan struct{}
	ended sync.WaitGroup // the clients
}

// load starts all clients. They end when the broker is gone; only then may the
// round be looked at.
func (p *process) load(number int) *round {
	r := &round{works: make([]taken, explicitConsumers), begun: make(chan struct{})}
	clients := &r.ended
	begun := sync.OnceFunc(func() { close(r.begun) })
	add := func(kind string, i int) *lane {
		l := &lane{name: fmt.Sprintf("r%d%s%d", number, kind, i)}
		r.lanes = append(r.lanes, l)
		return l
	}
	for i := range nativeProducers {
		l, c := add("n", i), p.dial()
		clients.Go(func() { l.produce(c) })
	}
	for i := range httpProducers {
		l := add("h", i)
		clients.Go(func() { l.post(p.address) })
	}
	c := p.dial()
	clients.Go(func() { r.auto = follow(c) })
	for i := range r.works {
		c := p.dial()
		keep := func(offset int64) bool { return offset%32 == int64(number%32) }
		clients.Go(func() { r.works[i] = work(c, keep, begun) })
	}
	go func() {
		clients.Wait()
		begun()
	}()
	return r
}
