package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// tableOf is what the tracker at an address tells of servers.
func tableOf(tracker string, revision int, servers ...string) string {
	all := map[string]any{}
	for _, s := range servers {
		all[s] = map[string]any{"serverAddress": map[string]any{"address": s}, "infoVersion": revision, "topicTable": map[string]any{}}
	}
	text, err := json.Marshal(map[string]any{
		"serverAddress": map[string]any{"address": tracker}, "infoVersion": revision, "serverTable": all,
	})
	if err != nil {
		panic(err) // it is strings and numbers
	}
	return string(text)
}

// refusing plays a server that is its own tracker and answers all that it is asked for with a status, each
// time when a value comes or the channel is closed.
func refusing(t testing.TB, status int, when <-chan struct{}) (addr string) {
	return listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdTrackSub:
				self := conn.LocalAddr().String()
				conn.answer(m, 200, tableOf(self, 1, self), wire.Field{Name: wire.HeaderCmd, Value: wire.CmdTrackPub})
			case wire.CmdPing:
				conn.answer(m, 200, "")
			default:
				select {
				case <-when:
					conn.answer(m, status, "refused")
				case <-t.Context().Done():
					return
				}
			}
		}
	})
}

// atOnce has a server that is played answer at once.
func atOnce() <-chan struct{} {
	now := make(chan struct{})
	close(now)
	return now
}

// A server that has done nothing does not speak for one that has.
func TestWhatSomeServersHaveDoneIsNotUnavailable(t *testing.T) {
	t.Parallel()
	there, away := zbustest.Start(t), refusing(t, 503, atOnce())
	cl := dialCluster(t, hurried, there.Addr, away)
	check := func(what string, err error, want, not error) {
		t.Helper()
		if !errors.Is(err, want) || errors.Is(err, not) || !strings.Contains(err.Error(), away) || strings.Contains(err.Error(), there.Addr) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := cl.DeclareTopic(within(t), zbus.TopicSpec{Name: "jobs"})
	check("a declare that one has done", err, zbus.ErrUnknownOutcome, zbus.ErrUnavailable)
	_, err = cl.QueryTopic(within(t), "jobs")
	check("a query, which does nothing", err, zbus.ErrUnavailable, zbus.ErrUnknownOutcome)
	check("a removal that one has done", cl.RemoveTopic(within(t), "jobs"), zbus.ErrUnknownOutcome, zbus.ErrUnavailable)
	check("a removal that none has done", cl.RemoveTopic(within(t), "jobs"), zbus.ErrUnavailable, zbus.ErrUnknownOutcome)
	if _, err := dialCluster(t, hurried, away).DeclareTopic(within(t), zbus.TopicSpec{Name: "jobs"}); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("a single server: %v", err)
	}
}

// What a request fails with does not depend on which server answers first.
func TestTheErrorOfSeveralServersIsTheSameInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second int
		want          error
	}{
		{404, 503, zbus.ErrUnavailable},
		{503, 404, zbus.ErrUnavailable},
		{404, 403, zbus.ErrForbidden},
		{403, 404, zbus.ErrForbidden},
		{503, 403, zbus.ErrForbidden},
		{403, 503, zbus.ErrForbidden},
		{404, 404, zbus.ErrNotFound},
	} {
		check := func(what string, ask func(*zbus.Client) error) {
			t.Helper()
			later := make(chan struct{})
			cl := dialCluster(t, hurried, refusing(t, c.first, atOnce()), refusing(t, c.second, later))
			answered := make(chan error, 1)
			go func() { answered <- ask(cl) }()
			for asked := false; ; asked = true {
				select { // the other one has answered by then, mostly
				case later <- struct{}{}:
				case err := <-answered:
					if !asked || !errors.Is(err, c.want) {
						t.Errorf("%s, %d and then %d, which was asked %v: %v", what, c.first, c.second, asked, err)
					}
					return
				case <-time.After(patience):
					t.Fatalf("%s, %d and then %d: there is no end", what, c.first, c.second)
				}
			}
		}
		check("subscribe", func(cl *zbus.Client) error {
			_, err := cl.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
			return err
		})
		if errors.Is(c.want, zbus.ErrUnavailable) {
			continue // a Fetch waits for such a server
		}
		check("fetch", func(cl *zbus.Client) error {
			_, err := cl.Fetch(within(t), "jobs", "g", 1, time.Hour)
			return err
		})
	}
}

func TestASubscriptionTellsOfServersThatRefuseIt(t *testing.T) {
	t.Parallel()
	there, other := zbustest.Start(t), refusing(t, 403, atOnce())
	lines, log := io.Pipe()
	defer lines.Close()
	opts := hurried
	opts.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	declare(t, dial(t, there.Addr, zbus.Options{}), "jobs")
	cl := dialCluster(t, opts, there.Addr, other)
	if _, err := cl.Subscribe(within(t), "jobs", "", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil }); err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	go func() {
		line := make([]byte, 1000)
		n, _ := lines.Read(line)
		told <- string(line[:n])
		_, _ = io.Copy(io.Discard, lines)
	}()
	if line := receive(t, "a word of the server", told); !strings.Contains(line, other) || !strings.Contains(line, "403") {
		t.Errorf("%q", line)
	}
}

// The descriptions of servers are the caller's own.
func TestDescriptionsOfServersMayBeChanged(t *testing.T) {
	t.Parallel()
	cl, _, _ := pairOf(t, "jobs")
	at := cl.Servers()[0].Address
	described := func() zbus.ServerInfo {
		t.Helper()
		for _, s := range cl.Servers() {
			if s.Address == at && len(s.Topics["jobs"].Groups) > 0 {
				return s
			}
		}
		return zbus.ServerInfo{}
	}
	eventually(t, "the topic is known", func() bool { return described().Address == at })
	mine := described()
	mine.Topics["jobs"].Groups[0].Name = "changed"
	maps.DeleteFunc(mine.Topics, func(string, zbus.TopicInfo) bool { return true })
	if s := described(); len(s.Topics["jobs"].Groups) != 1 || s.Topics["jobs"].Groups[0].Name != "g" {
		t.Errorf("%+v", s)
	}
}

// A server that was silent, and is not any longer, is asked for messages at once: its tracker has nothing
// new to tell of it.
func TestAFetchThatWaitsHearsOfAServerThatSpeaksAgain(t *testing.T) {
	t.Parallel()
	there, stuck := zbustest.Start(t), zbustest.Start(t)
	for _, b := range []*zbustest.Broker{there, stuck} {
		if _, err := dial(t, b.Addr, zbus.Options{}).DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, stuck.Addr, "jobs", "x")
	p := through(t, stuck.Addr)
	tracker := listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdTrackSub:
				conn.answer(m, 200, tableOf("10.0.0.1:15555", 1, there.Addr, p.addr), wire.Field{Name: wire.HeaderCmd, Value: wire.CmdTrackPub})
			case wire.CmdPing:
				conn.answer(m, 200, "")
			}
		}
	})
	lost := make(chan struct{}, 100)
	opts := hurried
	opts.Heartbeat, opts.HeartbeatTimeout = 100*time.Millisecond, 100*time.Millisecond
	opts.OnState = func(s zbus.State) {
		if !s.Connected && s.Address == p.addr {
			lost <- struct{}{}
		}
	}
	cl := dialCluster(t, opts, tracker)
	p.stallAll()
	receive(t, "the loss of the server", lost)
	eventually(t, "there is a connection that nothing is said on", func() bool { return cl.Server(p.addr).Address() != "" })
	fetched := make(chan error, 1)
	go func() {
		got, err := cl.Fetch(within(t), "jobs", "g", 1, time.Hour)
		if err == nil && len(got) != 1 {
			err = errors.New("nothing came")
		}
		fetched <- err
	}()
	eventually(t, "the other server is asked", func() bool {
		info, err := dial(t, there.Addr, zbus.Options{}).QueryGroup(within(t), "jobs", "g")
		return err == nil && len(info.Consumers) > 0
	})
	p.goOn()
	if err := receive(t, "the message of the server that speaks again", fetched); err != nil {
		t.Error(err)
	}
}
