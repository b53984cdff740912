package crashtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// headDeadline is how long the head of a request may take, by the broker's own rule, and
// deadlineSlack what a busy machine adds.
const (
	headDeadline = 10 * time.Second
	bodyDeadline = 10 * time.Second // of one that comes this slowly
	// silenceDeadline is for a sender that was fast and says nothing more.
	silenceDeadline = 30 * time.Second
	deadlineSlack   = 10 * time.Second
)

// frameOf100000 is the head of a WebSocket frame of 100,000 bytes, whose mask is 0.
const frameOf100000 = "\x82\xff\x00\x00\x00\x00\x00\x01\x86\xa0\x00\x00\x00\x00"

// drip is a way to send a request one byte at a time.
type drip struct {
	name     string
	first    string // what is sent at once
	rest     string // what is sent byte by byte, again and again
	deadline time.Duration
}

func (p *process) drips() []drip {
	const head, body = "x", "Content-Length: 100000\r\n\r\n"
	host := "Host: " + p.address + "\r\n"
	ping := "GET / HTTP/1.1\r\ncmd: ping\r\n\r\n"
	api := "POST /api/v1/topics/" + topic + "/messages HTTP/1.1\r\n" + host
	return []drip{
		{"native head", "GET / HTTP/1.1\r\ncmd: produce\r\nx: ", head, headDeadline},
		{"native second head", ping + "GET / HTTP/1.1\r\ncmd: produce\r\nx: ", head, headDeadline},
		{"native body", "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: " + topic + "\r\n" + body, head, bodyDeadline},
		{"verb head", "POST /produce/" + topic + " HTTP/1.1\r\n" + host + "x: ", head, headDeadline},
		{"verb body", "POST /produce/" + topic + " HTTP/1.1\r\n" + host + body, head, bodyDeadline},
		{"REST head", api + "x: ", head, headDeadline},
		{"REST body", api + "Content-Type: application/json\r\n" + body, " ", bodyDeadline},
		{"WebSocket handshake", "GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nx: ", head, headDeadline},
		{"WebSocket frame", p.upgrade("/") + frameOf100000, head, bodyDeadline},
		{"API WebSocket frame", p.upgrade("/api/v1/ws") + frameOf100000, head, bodyDeadline},
		// The first byte of a frame, and then nothing.
		{"WebSocket frame head", p.upgrade("/") + "\x82", "", headDeadline},
		{"API WebSocket frame head", p.upgrade("/api/v1/ws") + "\x82", "", headDeadline},
		// The same behind a frame that is whole: a pong.
		{"WebSocket second frame head", p.upgrade("/") + "\x8a\x80\x00\x00\x00\x00\x82", "", headDeadline},
		// Much at once, and then nothing: that was fast, and is no reason to wait for hours.
		{"native body that stops", "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: " + topic + "\r\n" + body + strings.Repeat("x", 60000), "", silenceDeadline},
		{"REST body that stops", api + "Content-Type: application/json\r\n" + body + strings.Repeat(" ", 60000), "", silenceDeadline},
	}
}

// Clients that send as slowly as they can hold their connections as long as the broker lets
// them, and nobody else waits longer for it.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	size := faultreport.Scale(t, 200, 2000)
	watch := time.Duration(faultreport.Scale(t, 50, 180)) * time.Second
	p := realBroker(t, "fsync")
	p.start()
	p.declare()
	good := newProbe(p, 4)
	var p99 contrast
	measure := func(to *[]time.Duration) {
		for range 3 {
			*to = append(*to, good.p99(100))
		}
	}
	measure(&p99.without)
	ways := p.drips()
	holds := make([]hold, size)
	stop := time.Now().Add(watch)
	var senders sync.WaitGroup
	for i := range holds {
		senders.Go(func() { holds[i] = p.drip(ways[i%len(ways)], stop) })
	}
	measure(&p99.with)
	senders.Wait()
	measure(&p99.without)
	f := &faultreport.Record{
		Test: "slow-senders", Runs: size, Fault: fmt.Sprintf("%d connections that send one byte a second", size),
		Promise: "each is closed by its deadline, and the p99 of others is at most twice as long plus 50 ms",
	}
	for n, way := range ways {
		var longest hold
		for i := n; i < size; i += len(ways) {
			longest = longest.or(holds[i])
			if err := holds[i].err; err != nil {
				t.Errorf("%s: %v", way.name, err)
			}
		}
		f.Add(way.name, longest)
		if way.deadline > 0 && longest.time > way.deadline+deadlineSlack {
			f.Broken++
		}
	}
	p99.judge(f)
	f.Save(t)
	p.terminate()
}

// hold is how long a connection was held, or how long at least if it was open in the end.
type hold struct {
	time time.Duration
	open bool
	err  error
}

// or is the longer one.
func (h hold) or(other hold) hold {
	if other.time > h.time {
		return other
	}
	return h
}

func (h hold) String() string {
	if h.open {
		return fmt.Sprintf("held beyond %.0f s", h.time.Seconds())
	}
	return fmt.Sprintf("closed after %.1f s", h.time.Seconds())
}

// drip sends a request byte by byte until the broker closes the connection, then on
// another one, until it is time to stop. It returns the longest hold.
func (p *process) drip(way drip, stop time.Time) (longest hold) {
	for time.Now().Before(stop) {
		one := p.dripOnce(way, stop)
		if one.err != nil {
			return one
		}
		if longest = longest.or(one); one.open {
			break
		}
	}
	return longest
}

func (p *process) dripOnce(way drip, stop time.Time) hold {
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		return hold{err: err}
	}
	defer c.Close()
	began := time.Now()
	if _, err := c.Write([]byte(way.first)); err != nil {
		return hold{err: err}
	}
	var answer [512]byte
	next := began
	for at := began; at.Before(stop); at = time.Now() {
		if !at.Before(next) {
			next = next.Add(time.Second)
			if _, err := c.Write([]byte(way.rest)); err != nil {
				return hold{time: time.Since(began)}
			}
		}
		_ = c.SetReadDeadline(next)
		if _, err := c.Read(answer[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return hold{time: time.Since(began)}
		}
	}
	return hold{time: time.Since(began), open: true}
}
