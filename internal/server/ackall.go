package server

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// maxAcked is how many deliveries one ack may settle: as many as a group may have unacked.
const maxAcked = 10_000

// ackAll settles deliveries of several messages that have one handle. Of those that can't be
// settled the answer says which; the others are.
func (s *session) ackAll(m *wire.Message) {
	g := s.groupOf(m)
	if g == nil {
		return
	}
	id, ack := strings.Clone(m.Get(wire.HeaderID)), isAck(m)
	offsets, ok := wire.ParseOffsets(m.Get(wire.HeaderOffset), maxAcked)
	handle := strings.Clone(m.Get(wire.HeaderHandle))
	switch {
	case !ok:
		s.send(http.StatusBadRequest, id, "Bad offset: "+strconv.Quote(broker.Excerpt(m.Get(wire.HeaderOffset)))+" must be offsets and ranges of them in rising order, such as 3,5-9, and at most "+strconv.Itoa(maxAcked)+" of them")
		return
	case handle == "":
		s.send(http.StatusBadRequest, id, "Missing handle: deliveries that are acked together have one handle")
		return
	}
	s.inflight.add(1)
	g.AckAll(offsets, handle, func(refused []int64, err error) {
		switch {
		case refused != nil:
			s.out.push(item{raw: refusedAcks(id, refused, err, s.http10.Load() && s.stopAt.Load() == nil), id: id})
		case err != nil:
			s.fail(id, err)
		case ack:
			s.send(http.StatusOK, id, now())
		}
		s.inflight.add(-1)
	})
}

// refusedAcks is the answer to an ack of which not all could be settled.
func refusedAcks(id string, offsets []int64, err error, keepAlive bool) []byte {
	dst := wire.AppendStatus(nil, statusOf(err))
	dst = wire.AppendField(dst, wire.HeaderID, id)
	dst = append(dst, wire.HeaderOffset+": "...)
	dst = append(wire.AppendOffsets(dst, offsets), '\r', '\n')
	if keepAlive {
		dst = append(dst, "connection: keep-alive\r\n"...)
	}
	return wire.AppendBody(dst, []byte(broker.TextOf(err)))
}
