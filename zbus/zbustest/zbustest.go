// Package zbustest runs brokers for the tests of programs that use zbus: the real one, in the
// process of the test, with its data in a directory of the test. It starts in some milliseconds,
// needs no port, and is gone with the test.
//
//	func TestOrders(t *testing.T) {
//		s := zbustest.Start(t)
//		client := s.Client()
//		// … run what is to be tested with client, and publish something
//		s.Settled("orders", "billing") // all messages were handled
//	}
//
// Besides waiting it can let time pass ([Server.Advance]), and have things go wrong: see
// [Server.Cut], [Server.Freeze], [Server.LoseAnswers] and [Server.Restart].
package zbustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/embed"
)

// Timeout is how long a Server waits for something before it fails the test.
const Timeout = 30 * time.Second

// Server is a broker of a test. Its methods fail the test when something is wrong, so the goroutine
// of the test alone may call them.
type Server struct {
	t    testing.TB
	opts embed.Options
	b    atomic.Pointer[embed.Broker] // written by the test, read by clients that connect
	net  *network
}

// Start runs a broker until the test ends. Of options, which may be left out, Dir is the test's own
// unless it is set, and the setting durability is relaxed, which no test notices but by the time
// that it takes.
func Start(t testing.TB, options ...embed.Options) *Server {
	t.Helper()
	s := &Server{t: t, net: newNetwork(), opts: embed.Options{Dir: t.TempDir()}}
	for _, o := range options {
		if o.Dir == "" {
			o.Dir = s.opts.Dir
		}
		s.opts = o
	}
	all := map[string]string{"durability": "relaxed"}
	maps.Copy(all, s.opts.Settings)
	s.opts.Settings = all
	s.run()
	t.Cleanup(s.stop)
	return s
}

func (s *Server) run() {
	s.t.Helper()
	b, err := embed.Start(context.Background(), s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.b.Store(b)
}

func (s *Server) stop() {
	s.t.Helper()
	s.Mend()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	if err := s.Broker().Stop(ctx); err != nil {
		s.t.Errorf("the broker did not stop gracefully: %v", err)
	}
}

// Broker is the broker itself, until Restart.
func (s *Server) Broker() *embed.Broker { return s.b.Load() }

// Client connects a client that is closed at the end of the test. Of options, which may be left
// out, the last counts.
func (s *Server) Client(options ...zbus.Options) *zbus.Client {
	s.t.Helper()
	var opts zbus.Options
	for _, o := range options {
		opts = o
	}
	opts.DialStream = func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := s.Broker().Dial(ctx)
		if err != nil {
			return nil, err
		}
		return s.net.add(conn), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	c, err := zbus.Dial(ctx, "127.0.0.1:15555", opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Group is how a group stands.
type Group struct {
	Lag      int64 // messages that are not handled, those in flight included
	InFlight int64 // delivered, and not acked
}

// Group says how a group stands; "" is the default group of the topic.
func (s *Server) Group(topic, group string) Group {
	s.t.Helper()
	var g struct {
		Lag      string `json:"lag"`
		InFlight string `json:"inFlight"`
	}
	if group == "" {
		group = topic
	}
	s.get("/topics/"+url.PathEscape(topic)+"/groups/"+url.PathEscape(group), &g)
	return Group{Lag: s.number(g.Lag), InFlight: s.number(g.InFlight)}
}

func (s *Server) number(text string) (n int64) {
	s.t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		s.t.Fatalf("%q: %v", text, err)
	}
	return n
}

// Settled waits until a group has handled all messages of its topic: there is no lag, and nothing
// is in flight.
func (s *Server) Settled(topic, group string) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("group %q of topic %q has handled everything", group, topic), func() bool {
		return s.Group(topic, group) == Group{}
	})
}

// Eventually waits until something is so, which it asks again and again.
func (s *Server) Eventually(what string, so func() bool) {
	s.t.Helper()
	for limit := time.Now().Add(Timeout); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			s.t.Fatalf("waited %s, but not until %s", Timeout, what)
		}
	}
}

// Message is a stored message.
type Message struct {
	Offset  string            `json:"offset"`
	ID      string            `json:"id"`
	Tag     string            `json:"tag"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"` // as text
}

// Messages are those that a topic has, oldest first: the first thousand.
func (s *Server) Messages(topic string) []Message {
	s.t.Helper()
	var page struct {
		Messages []Message `json:"messages"`
	}
	s.get("/topics/"+url.PathEscape(topic)+"/messages?limit=1000", &page)
	return page.Messages
}

// get asks the API.
func (s *Server) get(path string, v any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/api/v1"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.Broker().HTTP().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		s.t.Fatalf("GET %s: %v: %s", path, err, text)
	}
}

// Advance lets time pass for the broker: see [embed.Broker.Advance].
func (s *Server) Advance(d time.Duration) { s.Broker().Advance(d) }

// Cut ends the connections of all clients of this Server. They connect again.
func (s *Server) Cut() { s.net.cut() }

// Freeze has nothing pass between clients and broker, in either direction, until Mend.
func (s *Server) Freeze() { s.net.set(true, false) }

// LoseAnswers has the broker do what it is asked, and its answers get lost together with the
// connection, until Mend: outcomes are [zbus.ErrUnknownOutcome].
func (s *Server) LoseAnswers() { s.net.set(false, true) }

// Mend ends Freeze and LoseAnswers.
func (s *Server) Mend() { s.net.set(false, false) }

// Restart stops the broker gracefully and starts it again with the same data. Clients connect again.
func (s *Server) Restart() {
	s.t.Helper()
	s.stop()
	s.run()
}
