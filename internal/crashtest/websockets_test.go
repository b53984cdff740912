package crashtest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// WebSockets that say nothing cost memory and nothing else.
func TestIdleWebSockets(t *testing.T) {
	size := faultreport.Scale(t, 1000, 10000)
	const rounds = 3
	p := realBroker(t, "fsync")
	p.with("--idle-timeout=1h")
	p.start()
	good := newProbe(p, 4)
	f := &faultreport.Record{
		Test: "idle-websockets", Fault: fmt.Sprintf("%d idle WebSockets", size),
		Promise: "none is dropped, and the p99 of others is at most twice as long plus 50 ms", Runs: rounds,
	}
	var p99 contrast
	dropped, memory := 0, 0.0
	for range rounds {
		p99.without = append(p99.without, good.p99(100))
		before := p.metrics()["process_resident_memory_bytes"]
		all := p.webSockets(size)
		p99.with = append(p99.with, good.p99(100))
		memory = max(memory, p.metrics()["process_resident_memory_bytes"]-before)
		for _, c := range all {
			if err := c.ping(); err != nil {
				dropped++
			}
			_ = c.Conn.(*net.TCPConn).SetLinger(0) // a port of ours for each would wait for a minute
			_ = c.Close()
		}
	}
	p99.judge(f)
	f.Add("dropped", dropped)
	f.Add("KB each", int(max(memory, 0))/size>>10)
	f.Broken += dropped
	f.Save(t)
	p.terminate()
}

// webSocket is a client's connection after the handshake.
type webSocket struct {
	net.Conn
	r *bufio.Reader
}

// upgrade is the handshake of a WebSocket.
func (p *process) upgrade(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + p.address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

func (p *process) webSocket() (*webSocket, error) {
	nc, err := net.Dial("tcp", p.address)
	if err != nil {
		return nil, err
	}
	c := &webSocket{nc, bufio.NewReaderSize(nc, 512)}
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(p.upgrade("/"))); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake: %s", resp.Status)
	}
	return c, nil
}

// webSockets connects so many.
func (p *process) webSockets(size int) []*webSocket {
	p.t.Helper()
	all := make([]*webSocket, size)
	errs := make([]error, size)
	next := make(chan int)
	var dialers sync.WaitGroup
	for range 16 {
		dialers.Go(func() {
			for i := range next {
				all[i], errs[i] = p.webSocket()
			}
		})
	}
	for i := range size {
		next <- i
	}
	close(next)
	dialers.Wait()
	for _, err := range errs {
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return all
}

// ping asks whether the other end is still there.
func (c *webSocket) ping() error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte{0x89, 0x80, 0, 0, 0, 0}); err != nil {
		return err
	}
	var pong [2]byte
	for i := range pong {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		pong[i] = b
	}
	if pong != [2]byte{0x8a, 0} {
		return fmt.Errorf("%x is no pong", pong)
	}
	return nil
}
