package cluster_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
)

// BenchmarkPassedOn publishes to a topic in memory, one message at a time, at the server that has
// it and at one that passes requests on.
func BenchmarkPassedOn(b *testing.B) {
	owner := zbustest.Start(b)
	other := zbustest.Start(b)
	for _, s := range []*zbustest.Broker{owner, other} {
		s.Configure(tracked(owner.Addr, other.Addr))
		if err := s.Restart(); err != nil {
			b.Fatal(err)
		}
	}
	connect(b, owner.Addr).ok("declare", "topic", "m", "topic_mask", "1")
	for c := connect(b, other.Addr); c.ask("produce", nil, "topic", "m").Status != 200; {
	}
	at := []struct{ name, addr string }{{"here", owner.Addr}, {"elsewhere", other.Addr}}
	body := strings.Repeat("x", 256)
	for _, x := range at {
		b.Run("native/"+x.name, func(b *testing.B) {
			c := connect(b, x.addr)
			for b.Loop() {
				c.ask("produce", []byte(body), "topic", "m")
			}
		})
		b.Run("native64/"+x.name, func(b *testing.B) { // 64 in flight
			c := connect(b, x.addr)
			for range 64 {
				c.send("produce", []byte(body), "topic", "m")
			}
			for b.Loop() {
				if m := c.receive(); m.Status != 200 {
					b.Fatal(m.Status)
				}
				c.send("produce", []byte(body), "topic", "m")
			}
		})
		b.Run("api/"+x.name, func(b *testing.B) {
			for b.Loop() {
				resp, err := http.Post("http://"+x.addr+"/api/v1/topics/m/messages", "application/json", strings.NewReader(`{"body":"`+body+`"}`))
				if err != nil || resp.StatusCode != 201 {
					b.Fatal(resp, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
