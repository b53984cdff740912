package crashtest

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// comeback is how soon a broker serves new connections after there was no room for them.
const comeback = 5 * time.Second

// What is served is served on while there is no room for more connections, whether the broker
// counts them or the system refuses the next file.
func TestNoMoreFileDescriptors(t *testing.T) {
	rounds := faultreport.Scale(t, 1, 10)
	const files, extra = "256:256", 1000
	for _, kind := range []struct {
		name, fault string
		flags       []string
		full        func(p *process, last net.Conn) bool // after the broker ended
	}{
		{"file-descriptors", "256 files for the broker, 1,000 connections", nil, refused},
		{
			"file-descriptors-uncounted", "256 files for the broker that is told to take 100,000 connections, and gets 1,000",
			[]string{"--max-connections=100000"},
			outOfFiles,
		},
	} {
		t.Run(kind.name, func(t *testing.T) {
			p := realBroker(t, "fsync")
			p.with(kind.flags...)
			p.under("prlimit", "--nofile="+files, "--")
			var slowest time.Duration
			var p99 contrast
			found := lives(t, p, rounds, "fsync", nil, func(*rand.Rand) {
				good := newProbe(p, 2)
				for range 3 {
					p99.without = append(p99.without, good.p99(16))
				}
				all := p.crowd(extra)
				for range 3 {
					p99.with = append(p99.with, good.p99(16))
				}
				for _, c := range all[:extra-1] {
					_ = c.Close()
				}
				slowest = max(slowest, p.served())
				good.close()
				p.terminate()
				if last := all[extra-1]; !kind.full(p, last) {
					t.Error("the broker had room for all")
				}
			})
			f := found.record(kind.name, kind.fault,
				"clients that are connected continue, nothing answered is lost, and within 5 s of room new ones are served")
			p99.judge(f)
			f.Add("served again after ms", slowest.Milliseconds())
			if slowest > allowed(t, comeback) {
				f.Broken++
			}
			f.Save(t)
		})
	}
}

// refused reports whether a connection was answered that there is no room.
func refused(_ *process, last net.Conn) bool {
	_ = last.SetDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(last), nil)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusServiceUnavailable
}

// outOfFiles reports whether the broker got no file for a connection.
func outOfFiles(p *process, _ net.Conn) bool {
	return strings.Contains(p.stderr.String(), syscall.EMFILE.Error())
}

// crowd opens connections that say nothing.
func (p *process) crowd(size int) []net.Conn {
	p.t.Helper()
	all := make([]net.Conn, size)
	for i := range all {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = c.Close() })
		all[i] = c
	}
	return all
}

// served is how long it takes until a new connection is served.
func (p *process) served() time.Duration {
	p.t.Helper()
	began := time.Now()
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		err := p.tryPing()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			p.t.Fatalf("no new connection is served after %v: %v", patience, err)
		}
	}
}

func (p *process) tryPing() error {
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(comeback))
	if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: " + p.address + "\r\n\r\n")); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
