package crashtest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
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
	tls      bool // behind a handshake that is as fast as any
}

func (p *process) drips() []drip {
	const head, body = "x", "Content-Length: 100000\r\n\r\n"
	host := "Host: " + p.address + "\r\n"
	ping := "GET / HTTP/1.1\r\ncmd: ping\r\n\r\n"
	api := "POST /api/v1/topics/" + topic + "/messages HTTP/1.1\r\n" + host
	return []drip{
		{"native head", "GET / HTTP/1.1\r\ncmd: produce\r\nx: ", head, headDeadline, false},
		{"native second head", ping + "GET / HTTP/1.1\r\ncmd: produce\r\nx: ", head, headDeadline, false},
		{"native body", "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: " + topic + "\r\n" + body, head, bodyDeadline, false},
		{"verb head", "POST /produce/" + topic + " HTTP/1.1\r\n" + host + "x: ", head, headDeadline, false},
		{"verb body", "POST /produce/" + topic + " HTTP/1.1\r\n" + host + body, head, bodyDeadline, false},
		{"REST head", api + "x: ", head, headDeadline, false},
		{"REST body", api + "Content-Type: application/json\r\n" + body, " ", bodyDeadline, false},
		{"WebSocket handshake", "GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nx: ", head, headDeadline, false},
		{"WebSocket frame", p.upgrade("/") + frameOf100000, head, bodyDeadline, false},
		{"API WebSocket frame", p.upgrade("/api/v1/ws") + frameOf100000, head, bodyDeadline, false},
		// The first byte of a frame, and then nothing.
		{"WebSocket frame head", p.upgrade("/") + "\x82", "", headDeadline, false},
		{"API WebSocket frame head", p.upgrade("/api/v1/ws") + "\x82", "", headDeadline, false},
		// The same behind a frame that is whole: a pong.
		{"WebSocket second frame head", p.upgrade("/") + "\x8a\x80\x00\x00\x00\x00\x82", "", headDeadline, false},
		// Much at once, and then nothing: that was fast, and is no reason to wait for hours.
		{"native body that stops", "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: " + topic + "\r\n" + body + strings.Repeat("x", 60000), "", silenceDeadline, false},
		{"REST body that stops", api + "Content-Type: application/json\r\n" + body + strings.Repeat(" ", 60000), "", silenceDeadline, false},
		// The head of a record that would have 512 bytes, and what could be a hello.
		{"TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "\x00", headDeadline, false},
		{"TLS handshake that stops", "\x16", "", headDeadline, false},
		{"native head over TLS", "GET / HTTP/1.1\r\ncmd: produce\r\nx: ", head, headDeadline, true},
		{"REST body over TLS", api + "Content-Type: application/json\r\n" + body, " ", bodyDeadline, true},
	}
}

// encrypted has the broker take TLS, too.
func (p *process) encrypted() {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	files, command := p.t.TempDir(), p.command
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(files, name), pem.EncodeToMemory(block), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	p.command = func() *exec.Cmd {
		cmd := command()
		cmd.Args = append(cmd.Args, "--tls-cert="+filepath.Join(files, "cert"), "--tls-key="+filepath.Join(files, "key"))
		return cmd
	}
}

// Clients that send as slowly as they can hold their connections as long as the broker lets
// them, and nobody else waits longer for it.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	size := faultreport.Scale(t, 200, 2000)
	watch := time.Duration(faultreport.Scale(t, 50, 180)) * time.Second
	p := realBroker(t, "fsync")
	p.encrypted()
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
	if way.tls {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // its certificate is of this test
	}
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
