package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Clients that announce large bodies, send part of them and then nothing keep nobody else
// from sending: small requests are answered at once, and a larger message finds room.
func TestSilentBodies(t *testing.T) {
	t.Parallel()
	watch := time.Duration(faultreport.Scale(t, 6, 60)) * time.Second
	f := &faultreport.Record{
		Test: "silent-bodies", Fault: "clients that send part of a large body and then nothing, in 128 MiB of memory",
		Promise: "ping, health, API and console answer, nine of ten within a second, and a message of 100 KB is stored",
	}
	for _, attack := range []struct{ clients, sent int }{{19, 12 << 20}, {300, 1 << 20}, {300, 48 << 10}} {
		for _, way := range (&process{}).silences() {
			name := fmt.Sprintf("%d %s of %d KB", attack.clients, way.name, attack.sent>>10)
			t.Run(name, func(t *testing.T) {
				p := realBroker(t, "fsync")
				p.with("--max-memory=128MiB")
				p.start()
				p.declare()
				f.Runs++
				// On a machine with other work to do, everything takes longer.
				limit := max(time.Second, 4*ninth(p.timeAll(watch/8)))
				stop := make(chan struct{})
				var clients sync.WaitGroup
				sent := make(chan struct{}, attack.clients)
				for range attack.clients {
					clients.Go(func() { p.silent(way.head(p), attack.sent, sent, stop) })
				}
				for range attack.clients {
					<-sent
				}
				// Other work on the machine comes and goes; what the attack costs is in
				// every measurement, so in the lowest.
				var times []time.Duration
				p90 := patience
				for n := 0; n < 3 && p90 > limit && !t.Failed(); n++ {
					times = p.timeAll(watch / 4)
					p90 = min(p90, ninth(times))
				}
				close(stop)
				clients.Wait()
				f.Add(name, fmt.Sprintf("p50 ms %s, p90 %s", milliseconds(median(times)), milliseconds(p90)))
				if p90 > limit {
					f.Broken++
				}
				p.terminate()
			})
		}
	}
	f.Save(t)
}

// ninth is the time within which nine of ten are done, of sorted times.
func ninth(times []time.Duration) time.Duration { return times[len(times)*9/10] }

// quietSender is a way to announce a body of a megabyte or more.
type quietSender struct {
	name string
	head func(p *process) string
}

func (*process) silences() []quietSender {
	const body = "Content-Length: 16000000\r\n\r\n"
	// A frame of 16,000,000 bytes, whose mask is 0.
	const frame = "\x82\xff\x00\x00\x00\x00\x00\xf4\x24\x00\x00\x00\x00\x00"
	return []quietSender{
		{"native bodies", func(*process) string {
			return "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: " + topic + "\r\n" + body
		}},
		{"bodies for a command", func(p *process) string {
			return "POST /produce/" + topic + " HTTP/1.1\r\nHost: " + p.address + "\r\nOrigin: http://" + p.address + "\r\n" + body
		}},
		{"bodies for the API", func(p *process) string {
			return "POST /api/v1/topics/" + topic + "/messages HTTP/1.1\r\nHost: " + p.address + "\r\nContent-Type: application/json\r\n" + body
		}},
		{"frames", func(p *process) string { return p.upgrade("/") + frame }},
		{"frames for the API", func(p *process) string { return p.upgrade("/api/v1/ws") + "\x81" + frame[1:] }},
	}
}

// silent sends the head and part of a body, and again when it is refused, until stop is
// closed. What it sends is never whole.
func (p *process) silent(head string, size int, sent chan<- struct{}, stop <-chan struct{}) {
	part := bytes.Repeat([]byte(" "), size)
	once := sync.OnceFunc(func() { sent <- struct{}{} })
	for {
		if c, err := net.Dial("tcp", p.address); err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err = io.WriteString(c, head); err == nil {
				_, _ = c.Write(part)
			}
			once()
			closed := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, c); close(closed) }()
			select {
			case <-closed:
			case <-stop:
			}
			_ = c.Close()
			<-closed
		}
		once()
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
	}
}

// timeAll asks for all that has to be answered at once, for so long, each on a connection
// of its own, and returns how long the answers took, sorted.
func (p *process) timeAll(length time.Duration) (times []time.Duration) {
	p.t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	web := func(method, path string, want int, body string) func() error {
		return func() error {
			req, err := http.NewRequest(method, "http://"+p.address+path, strings.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err
			}
			if resp.StatusCode != want {
				return errors.New(resp.Status)
			}
			return nil
		}
	}
	all := map[string]func() error{
		"ping":      p.pingOnce,
		"/healthz":  web("GET", "/healthz", 200, ""),
		"console":   web("GET", "/ui/", 200, ""),
		"API":       web("GET", "/api/v1/topics", 200, ""),
		"publish":   web("POST", "/api/v1/topics/"+topic+"/messages", 201, `{"body":"x"}`),
		"100 KB":    web("POST", "/api/v1/topics/"+topic+"/messages", 201, `{"body":"`+strings.Repeat("x", 100<<10)+`"}`),
		"native 3K": func() error { return p.publishSmall(3 << 10) },
	}
	for began := time.Now(); time.Since(began) < length; {
		for name, ask := range all {
			at := time.Now()
			if err := ask(); err != nil {
				p.t.Errorf("%s: %v", name, err)
				return []time.Duration{patience}
			}
			times = append(times, time.Since(at))
		}
	}
	slices.Sort(times)
	return times
}

func (p *process) pingOnce() error {
	c, err := connect(p.t, p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.ask(field(wire.HeaderCmd, wire.CmdPing))
	return err
}

func (p *process) publishSmall(size int) error {
	c, err := connect(p.t, p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.put(make([]byte, size), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
	if err := c.w.Flush(); err != nil {
		return err
	}
	m, err := c.r.Read()
	if err == nil && m.Status != http.StatusOK {
		err = fmt.Errorf("%d %s", m.Status, m.Body)
	}
	return err
}
