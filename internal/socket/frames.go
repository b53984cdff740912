package socket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"time"
)

// FrameConn is the receiving end of a connection below a WebSocket. It follows the frames
// that a client sends, so that the head of a frame has a deadline from its first byte, and a
// message has one that its sender earns; see [Pace]. Between messages it may be idle for a while.
type FrameConn struct {
	net.Conn
	idle time.Duration // silence between messages after which reading fails; 0: none

	// Owned by the reader: a WebSocket has its readers take turns.
	buf   []byte // what is read into while more comes than is asked for; else nil
	ahead []byte // what of buf was not asked for yet
	err   error  // that came with ahead
	full  bool   // the last read was as long as it could be
	head  []byte // of a frame, as far as it is there
	left  uint64 // bytes of the frame at hand that are still to come
	open  bool   // the message at hand has more frames
	read  int64  // bytes of it
	pace  Pace
	timed bool      // a deadline is set, and not that for silence
	quiet time.Time // when the deadline for silence was set; zero when another one is, or none
}

// A WebSocket keeps its buffers while it is silent, so they are short. While more comes than the one for
// reading holds, a longer one stands before it; what does not fit into the one for writing is written as it is.
const (
	readBuffer  = 512
	aheadBuffer = 4 << 10
	writeBuffer = 1 << 10
)

// Frames wraps a connection that was taken over from net/http, and replaces its buffers. idle is after
// how much silence between messages reading fails; 0: never.
func Frames(conn net.Conn, rw *bufio.ReadWriter, idle time.Duration) (*FrameConn, *bufio.ReadWriter) {
	c := &FrameConn{Conn: conn, idle: idle, head: make([]byte, 0, mostFrameHead), timed: true}
	there, _ := rw.Peek(rw.Reader.Buffered()) // which can't fail
	c.follow(there)
	reader := bufio.NewReaderSize(bytes.NewReader(there), max(len(there), readBuffer))
	_, _ = reader.Peek(len(there))
	return c, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, writeBuffer))
}

// mostFrameHead is how long the head of a frame gets: two bytes, a length and a mask.
const mostFrameHead = 2 + 8 + 4

// Read reads from the connection.
func (c *FrameConn) Read(p []byte) (n int, err error) {
	switch {
	case len(c.ahead) > 0 || c.err != nil:
	case !c.full || len(p) >= aheadBuffer:
		n, err = c.receive(p)
		c.buf, c.full = nil, n == len(p)
		return n, err
	default:
		if c.buf == nil {
			c.buf = make([]byte, aheadBuffer)
		}
		n, c.err = c.receive(c.buf)
		c.ahead, c.full = c.buf[:n], n > len(p)
	}
	if len(c.ahead) == 0 {
		return 0, c.err
	}
	n = copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// receive reads from the socket.
func (c *FrameConn) receive(p []byte) (int, error) {
	began := time.Now()
	switch {
	case c.read > 0 || c.left > 0 || c.open:
		c.timed, c.quiet = true, time.Time{}
		_ = c.SetReadDeadline(began.Add(c.pace.Body(c.read)))
	case len(c.head) > 0:
		c.timed, c.quiet = true, time.Time{}
		_ = c.SetReadDeadline(began.Add(c.pace.Head()))
	default:
		c.mayIdle(began)
	}
	n, err := c.Conn.Read(p)
	if c.timed {
		c.pace.Waited(time.Since(began))
	}
	c.follow(p[:n])
	return n, err
}

// mayIdle sets the deadline for what comes between messages. It is not renewed for every message:
// some time more is added to it instead.
func (c *FrameConn) mayIdle(now time.Time) {
	switch {
	case c.idle == 0 && c.timed:
		_ = c.SetReadDeadline(time.Time{})
	case c.idle > 0 && (c.quiet.IsZero() || now.Sub(c.quiet) >= c.idle/16):
		c.quiet = now
		_ = c.SetReadDeadline(now.Add(c.idle + c.idle/16))
	}
	c.timed = false
}

// follow finds out where in a frame the bytes end.
func (c *FrameConn) follow(p []byte) {
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, uint64(len(p)))
			c.left -= n
			c.read += int64(n)
			p = p[n:]
		} else {
			n := min(c.missing(), len(p))
			c.head = append(c.head, p[:n]...)
			p = p[n:]
			if c.missing() > 0 {
				continue
			}
			c.begin()
		}
		if c.left == 0 && !c.open {
			c.read, c.pace = 0, Pace{}
		}
	}
}

// missing is how many bytes of the head are still to come, as far as it is known.
func (c *FrameConn) missing() int {
	size := 2
	if len(c.head) >= 2 {
		switch c.head[1] & 0x7f {
		case 126:
			size += 2
		case 127:
			size += 8
		}
		if c.head[1]&0x80 != 0 {
			size += 4
		}
	}
	return size - len(c.head)
}

// begin is called when a head is there. Control frames come between those of a message.
func (c *FrameConn) begin() {
	const last, control = 0x80, 0x08
	if c.head[0]&control == 0 {
		c.open = c.head[0]&last == 0
	}
	switch n := c.head[1] & 0x7f; n {
	case 126:
		c.left = uint64(binary.BigEndian.Uint16(c.head[2:]))
	case 127:
		c.left = binary.BigEndian.Uint64(c.head[2:])
	default:
		c.left = uint64(n)
	}
	c.head = c.head[:0]
}
