package crashtest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// shaped carries connections to a server, each direction by itself.
func shaped(t *testing.T, server string, carry func(dst io.Writer, src io.Reader)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			conn, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{conn, client}, {client, conn}} {
				go func() {
					carry(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				}()
			}
		}
	}()
	return ln.Addr().String()
}

// sliced cuts what goes through into pieces of a few bytes.
func sliced(dst io.Writer, src io.Reader) {
	buf := make([]byte, 7)
	for {
		n, err := src.Read(buf[:1+rand.IntN(len(buf))])
		if _, failed := dst.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// late holds everything up for a time.
func late(by time.Duration) func(io.Writer, io.Reader) {
	type piece struct {
		data []byte
		due  time.Time
	}
	return func(dst io.Writer, src io.Reader) {
		way := make(chan piece, 1<<10)
		go func() {
			defer close(way)
			for {
				buf := make([]byte, 32<<10)
				n, err := src.Read(buf)
				way <- piece{buf[:n], time.Now().Add(by)}
				if err != nil {
					return
				}
			}
		}()
		for p := range way {
			<-time.After(time.Until(p.due))
			if _, err := dst.Write(p.data); err != nil {
				for range way { // until the other end has closed
				}
				return
			}
		}
	}
}

// narrow lets so many bytes a second through.
func narrow(bytes int) func(io.Writer, io.Reader) {
	return func(dst io.Writer, src io.Reader) {
		buf := make([]byte, bytes/50)
		for {
			n, err := src.Read(buf)
			if _, failed := dst.Write(buf[:n]); err != nil || failed != nil {
				return
			}
			<-time.After(time.Second / 50 * time.Duration(n) / time.Duration(len(buf)))
		}
	}
}

// A network that is slow, narrow, or cuts everything into pieces makes things slower and nothing
// else.
func TestSlowNetworks(t *testing.T) {
	messages := faultreport.ScaleAlways(t, 30, 500)
	p := realBroker(t, "fsync")
	p.start()
	r := faultreport.Record{Test: "slow-network", Fault: "pieces of 1 to 7 bytes; 50 ms each way; 64 KiB a second", Promise: "everything is stored, delivered whole and answered, only later"}
	for _, x := range []struct {
		name, topic string
		carry       func(io.Writer, io.Reader)
	}{{"plain", "plain", func(dst io.Writer, src io.Reader) { _, _ = io.Copy(dst, src) }}, {"pieces of 1 to 7 bytes", "sliced", sliced}, {"50 ms each way", "late", late(50 * time.Millisecond)}, {"64 KiB a second", "narrow", narrow(64 << 10)}} {
		c, err := zbus.Dial(t.Context(), shaped(t, p.address, x.carry), zbus.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.DeclareGroup(t.Context(), x.topic, zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
			t.Fatal(err)
		}
		var took []time.Duration
		var sent [][]byte
		for i := range messages {
			body := bytes.Repeat([]byte{byte(i)}, 1+i*97%2000)
			began := time.Now()
			if _, err := c.Publish(t.Context(), x.topic, zbus.Message{Body: body}); err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			took, sent = append(took, time.Since(began)), append(sent, body)
		}
		came := make(chan []byte, messages)
		if _, err := c.Subscribe(t.Context(), x.topic, "g", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
			came <- bytes.Clone(d.Body)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, want := range sent {
			if got := <-came; !bytes.Equal(got, want) {
				r.Broken++
				t.Errorf("%s: message %d has %d bytes, want %d", x.name, i, len(got), len(want))
			}
		}
		if err := c.Drain(t.Context()); err != nil { // acks are answered
			t.Errorf("%s: %v", x.name, err)
		}
		r.Runs += messages
		slices.Sort(took)
		r.Add("publish p99, "+x.name, took[len(took)*99/100].Round(100*time.Microsecond))
	}
	r.Save(t)
}
