package stats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// open is a broker with a database, until the test ends.
func open(t *testing.T) *broker.Broker {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: t.TempDir() + "/zbus.db", Durability: sqlite.Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	b, err := broker.Open(t.Context(), broker.Options{DedupWindow: time.Minute}, broker.Storage{Reader: store, Committer: w})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-end, store.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func text(s string) *string { return &s }

func publish(t *testing.T, b *broker.Broker, topic *broker.Topic, tags ...string) {
	t.Helper()
	stored := make(chan struct{})
	p := b.NewPublishing(func() { close(stored) })
	for i, tag := range tags {
		p.Add(broker.Message{Topic: topic, Record: storage.Record{ID: fmt.Sprintf("%d-%d", topic.Next(), i), Tag: tag, Body: []byte("x")}})
	}
	_ = p.Publish(t.Context())
	<-stored
	for i := range tags {
		if _, err := p.Result(i); err != nil {
			t.Fatal(err)
		}
	}
}

// What comes to a group is what passes its filter, and its lag, too: everywhere the same
// figures, which are marked when they are estimates.
func TestFlowAndLagAreWhatPassesTheFilter(t *testing.T) {
	b := open(t)
	topic, _, err := b.System().DeclareTopic(t.Context(), broker.TopicSpec{Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]*broker.Group{}
	for name, filter := range map[string]string{"all": "", "eu": "eu.*"} {
		g, _, err := b.System().DeclareGroup(t.Context(), broker.GroupSpec{Topic: "orders", Name: name, Filter: text(filter)})
		if err != nil {
			t.Fatal(err)
		}
		groups[name] = g
	}
	s := New(b, Options{Connections: func() int64 { return 0 }})
	now := time.Now()
	s.sample(t.Context(), now)
	// A minute in which three messages come each second, one of them for eu.
	for range 60 {
		publish(t, b, topic, "eu.de", "us.ca", "us.ny")
		now = now.Add(time.Second)
		s.sample(t.Context(), now)
	}
	for name, want := range map[string]float64{"all": 3, "eu": 1} {
		if flow := s.Flow(groups[name]); math.Abs(flow.In-want) > 0.1 || flow.Out != 0 {
			t.Errorf("%s: %+v, want %v in and nothing out", name, flow, want)
		}
		lag := s.Lag(groups[name])
		if lag.Messages != int64(want*60) || !lag.Exact {
			t.Errorf("%s: %+v, want %v messages", name, lag, want*60)
		}
	}
	if p, _ := s.Newest(); p.Lag != 240 || !p.Exact {
		t.Errorf("the lag of all is %d (exact: %t), want 180 and 60", p.Lag, p.Exact)
	}
	// More than is looked at: an estimate, of what passes.
	many := make([]string, 3000)
	for i := range many {
		many[i] = []string{"eu.de", "us.ca", "us.ny"}[i%3]
	}
	publish(t, b, topic, many...)
	now = now.Add(time.Second)
	s.sample(t.Context(), now)
	if lag := s.Lag(groups["eu"]); math.Abs(float64(lag.Messages-1060)) > 20 || lag.Exact {
		t.Errorf("eu: %+v, want about 1,060 messages, marked as an estimate", lag)
	}
	if p, _ := s.Newest(); p.Exact {
		t.Error("the lag of all has an estimate in it and is not marked")
	}
	if flow := s.Flow(groups["eu"]); math.Abs(flow.In-1060.0/61) > 1 {
		t.Errorf("eu: %v in, want about %v", flow.In, 1060.0/61)
	}
}
