package crashtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// stuckWays are the ways to ask for messages and read none. Groups are shared by few, or
// by all.
var stuckWays = []struct {
	name string
	say  func(p *process, topic, group string) string
	path string // of the WebSocket, if it is one
}{
	{name: "native, auto", say: func(_ *process, topic, group string) string { return nativeConsume(topic, group) }},
	{name: "native, explicit", say: func(_ *process, topic, _ string) string { return nativeConsume(topic, explicitGroup) }},
	{name: "native, shared", say: func(_ *process, topic, _ string) string { return nativeConsume(topic, autoGroup) }},
	{name: "native WebSocket", path: "/", say: func(_ *process, topic, group string) string {
		return clientFrame(2, nativeConsume(topic, group))
	}},
	{name: "API WebSocket", path: "/api/v1/ws", say: func(_ *process, topic, group string) string {
		return clientFrame(1, fmt.Sprintf(`{"op":"subscribe","topic":%q,"group":%q,"window":1000}`, topic, group))
	}},
	{name: "pull", say: func(p *process, topic, group string) string {
		return p.web("POST", "/api/v1/topics/"+topic+"/groups/"+group+":pull", `{"max":1000}`)
	}},
	{name: "events", say: func(p *process, topic, group string) string {
		return p.web("GET", "/api/v1/topics/"+topic+"/events?group="+group, "")
	}},
	{name: "list", say: func(p *process, topic, _ string) string {
		return p.web("GET", "/api/v1/topics/"+topic+"/messages?limit=1000", "")
	}},
}

func nativeConsume(topic, group string) string {
	return string(wire.AppendBody(wire.AppendField(wire.AppendField(wire.AppendField(wire.AppendField(
		wire.AppendRequestLine(nil, "GET", "/"), wire.HeaderCmd, wire.CmdConsume), wire.HeaderTopic, topic),
		wire.HeaderConsumeGroup, group), wire.HeaderWindow, "1000"), nil))
}

func (p *process) web(method, path, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, p.address, len(body), body)
}

// clientFrame is a frame of a WebSocket, with a mask that changes nothing.
func clientFrame(kind byte, content string) string {
	n := len(content)
	return string([]byte{0x80 | kind, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}) + content
}

// A broker stops in time, whatever its many clients do not take.
func TestStopWithStuckConsumers(t *testing.T) {
	t.Parallel()
	most := faultreport.ScaleAlways(t, 200, 1000)
	f := &faultreport.Record{
		Test: "stop-stuck", Fault: "SIGTERM while consumers of all kinds read nothing of what they asked for",
		Promise: "the broker stops within 10 s",
	}
	for _, size := range []int{100, 1 << 20} {
		for clients := 200; clients <= most; clients += 800 {
			name := fmt.Sprintf("%d consumers, %d bytes", clients, size)
			took := stopStuck(t, clients, size)
			f.Runs++
			f.Add(name, took.Round(time.Millisecond))
			if took > allowed(t, stopTime) {
				f.Broken++
			}
		}
	}
	f.Save(t)
}

// stopStuck stops a broker of which so many clients read nothing.
func stopStuck(t *testing.T, clients, size int) time.Duration {
	p := realBroker(t, "relaxed")
	p.start()
	defer p.kill()
	p.declare()
	body := make([]byte, size)
	publisher := p.dial()
	publisher.fill(topic, body, max(50, min(20_000, 64<<20/size)))
	settled(t, p.stuckConsumers(clients))
	load := p.publishers(body)
	took := p.terminate()
	load.Wait()
	return took
}

// stuckConsumers connects so many, until the end of the test.
func (p *process) stuckConsumers(clients int) []net.Conn {
	p.t.Helper()
	all := make([]net.Conn, clients)
	errs := make([]error, clients)
	var dialers sync.WaitGroup
	for part := range 8 {
		dialers.Go(func() {
			for i := part; i < clients; i += 8 {
				all[i], errs[i] = p.stuck(i)
			}
		})
	}
	dialers.Wait()
	p.t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// publishers publish until the broker is gone, and do not read their answers either. It
// returns when each has sent something.
func (p *process) publishers(body []byte) *sync.WaitGroup {
	p.t.Helper()
	var load, begun sync.WaitGroup
	for range 4 {
		c := p.dial()
		begun.Add(1)
		load.Go(func() {
			defer c.Close()
			begin := sync.OnceFunc(begun.Done)
			for n := 0; ; n++ {
				c.put(body, field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
				if n == 100 {
					begin()
				}
				if c.w.Flush() != nil {
					begin()
					return
				}
			}
		})
	}
	begun.Wait()
	return &load
}

// stuck connects a client that asks for messages in one of the ways.
func (p *process) stuck(i int) (net.Conn, error) {
	way, group := &stuckWays[i%len(stuckWays)], fmt.Sprint("stuck-", i)
	own, err := connect(p.t, p.address)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	if _, err := own.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic),
		field(wire.HeaderConsumeGroup, group), field(wire.HeaderGroupStartOffset, "0")); err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	if way.path != "" {
		if err := p.upgradeTo(c, way.path); err != nil {
			return c, err
		}
	}
	_, err = io.WriteString(c, way.say(p, topic, group))
	return c, err
}

// upgradeTo makes a WebSocket of a connection.
func (p *process) upgradeTo(c net.Conn, path string) error {
	if _, err := io.WriteString(c, p.upgrade(path)); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var heard []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(heard), "\r\n\r\n"); heard = append(heard, one[0]) {
		if _, err := c.Read(one); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until the broker has sent what the sockets take.
func settled(t *testing.T, all []net.Conn) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	before := -1
	for began := time.Now(); ; <-tick.C {
		sum := 0
		for _, c := range all {
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				n, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
				sum += n
			})
		}
		if sum > 0 && sum == before {
			return
		}
		if before = sum; time.Since(began) > patience {
			t.Fatal("the broker sends without end")
		}
	}
}
