package socket

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The head of a frame of 100,000 bytes, of one with a body of 2 bytes, and whole control
// frames.
const (
	longHead  = "\x82\xff\x00\x00\x00\x00\x00\x01\x86\xa0\x00\x00\x00\x00"
	shortHead = "\x82\x82\x00\x00\x00\x00"
	ping      = "\x89\x82\x00\x00\x00\x00pi"
)

// Between messages a client may be silent, in the middle of one it may not.
func TestAFrameThatHasBegunHasADeadline(t *testing.T) {
	for _, c := range []struct {
		name, ahead, sent string
		closed            time.Duration // 0: never
	}{
		{"nothing", "", "", 0},
		{"a whole message", "", shortHead + "ab", 0},
		{"a whole message read ahead", shortHead + "ab", "", 0},
		{"a ping", "", ping, 0},
		{"a byte", "", "\x82", HeadTimeout},
		{"a byte read ahead", "\x82", "", HeadTimeout},
		{"all of a head but a byte", "", longHead[:len(longHead)-1], HeadTimeout},
		{"a byte after a message", "", shortHead + "ab\x82", HeadTimeout},
		{"a byte after a ping", "", ping + "\x82", HeadTimeout},
		{"a head", "", longHead, BodyGrace},
		{"a head read ahead", longHead, "", BodyGrace},
		{"half of a body", "", longHead + strings.Repeat("x", 50000), mostSilence},
		{"a message without its last frame", "", "\x02" + shortHead[1:] + "ab", BodyGrace},
		{"a ping within a message", "", "\x02" + shortHead[1:] + "ab" + ping, BodyGrace},
		{"the last frame", "", "\x02" + shortHead[1:] + "ab" + ping + "\x80" + shortHead[1:] + "ab", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				f, _ := Frames(server, taken(c.ahead), 0)
				began := time.Now()
				go func() { _, _ = client.Write([]byte(c.sent)) }()
				time.AfterFunc(time.Hour, func() { _ = client.Close() })
				_, err := io.Copy(io.Discard, f)
				took := time.Since(began)
				if c.closed == 0 && (err != nil || took < time.Hour) {
					t.Errorf("ended after %v with %v", took, err)
				}
				if c.closed > 0 && (!errors.Is(err, os.ErrDeadlineExceeded) || took < c.closed || took > c.closed+time.Second) {
					t.Errorf("ended after %v with %v, want %v", took, err, c.closed)
				}
			})
		})
	}
}

// taken is what net/http hands over with a connection of which some bytes were read already.
func taken(ahead string) *bufio.ReadWriter {
	r := bufio.NewReader(strings.NewReader(ahead))
	_, _ = r.Peek(len(ahead))
	return bufio.NewReadWriter(r, nil)
}

// reads counts how often a connection is read from.
type reads struct {
	net.Conn
	data io.Reader
	n    int
}

func (r *reads) Read(p []byte) (int, error) {
	r.n++
	n, err := r.data.Read(p)
	if n > 0 && err == nil && r.data.(*strings.Reader).Len() == 0 {
		err = io.ErrUnexpectedEOF // as a connection may: with the last bytes
	}
	return n, err
}

func (*reads) SetReadDeadline(time.Time) error { return nil }

// A short buffer above it costs a silent connection little, and a busy one no reads.
func TestABurstIsReadAhead(t *testing.T) {
	for _, size := range []int{1, readBuffer - 1, readBuffer, readBuffer + 1, aheadBuffer, readBuffer + aheadBuffer, 100 << 10} {
		payload := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		frame := "\x82\xff\x00\x00\x00\x00" + string([]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}) + "mask" + payload
		conn := &reads{data: strings.NewReader(frame[1:])}
		f, rw := Frames(conn, taken(frame[:1]), 0)
		first, _ := rw.ReadByte()
		var got []byte
		var err error
		for err == nil {
			p := make([]byte, readBuffer)
			var n int
			n, err = f.Read(p)
			got = append(got, p[:n]...)
		}
		if string(append([]byte{first}, got...)) != frame || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %d came, and %v", size, len(got), err)
		}
		if most := len(frame)/aheadBuffer + 3; conn.n > most {
			t.Errorf("%d bytes took %d reads, want %d at most", size, conn.n, most)
		}
	}
}

// A head or a body that comes byte by byte ends with its time, and one that keeps pace does
// not.
func TestASlowFrameEnds(t *testing.T) {
	for _, c := range []struct {
		name, first, again string
		every, most        time.Duration
	}{
		{"head", longHead[:2], "\x00", 2 * time.Second, HeadTimeout + 2*time.Second},
		{"body", longHead, "x", time.Second, BodyGrace + time.Second},
		{"frames of nothing", "\x02\x80\x00\x00\x00\x00", "\x00\x80\x00\x00\x00\x00", time.Second, BodyGrace + time.Second},
		{"body in time", longHead, strings.Repeat("x", 1<<10), time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				f, _ := Frames(server, taken(""), 0)
				began, sent := time.Now(), 0
				var sender sync.WaitGroup
				sender.Go(func() {
					defer client.Close()
					_, _ = client.Write([]byte(c.first))
					for n := 0; n < 90; n++ {
						time.Sleep(c.every)
						if _, err := client.Write([]byte(c.again)); err != nil {
							return
						}
						sent++
					}
				})
				_, err := io.Copy(io.Discard, f)
				took := time.Since(began)
				_ = server.Close()
				sender.Wait()
				if c.most == 0 && (err != nil || sent != 90) || c.most > 0 && (err == nil || took > c.most) {
					t.Errorf("ended after %v and %d times with %v", took, sent, err)
				}
			})
		})
	}
}
