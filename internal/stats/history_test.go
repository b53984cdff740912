package stats

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// rig is a broker whose clocks the test moves, with a sampler that it runs step by step.
type rig struct {
	*testing.T
	path string
	wall time.Duration // that the wall clock was set forward
	b    *broker.Broker
	w    *faulty
	s    *Sampler
	k    *keeper
	stop func()
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, path: filepath.Join(t.TempDir(), "zbus.db")}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start() {
	r.Helper()
	store, err := sqlite.Open(r.Context(), sqlite.Options{Path: r.path, Durability: sqlite.Relaxed})
	if err != nil {
		r.Fatal(err)
	}
	r.w = &faulty{Writer: storage.NewWriter(store, storage.WriterLimits{})}
	r.b, err = broker.Open(r.Context(), broker.Options{Now: func() time.Time { return time.Now().Add(r.wall) }}, broker.Storage{Reader: store, Committer: r.w})
	if err != nil {
		r.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.b.Run(ctx) }()
	r.stop = func() {
		end()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			r.Error(err)
		}
	}
	r.s = New(r.b, Options{Connections: func() int64 { return 0 }})
	r.k = newKeeper(r.s)
	r.s.sample(r.Context(), time.Now())
}

// pass has so many seconds pass. In each of them, so many messages come to a topic.
func (r *rig) pass(seconds int, t *broker.Topic, each int) {
	r.Helper()
	for i := range seconds {
		r.b.Advance(time.Second)
		if each > 0 {
			publish(r.T, r.b, t, make([]string, each)...)
		}
		r.s.sample(r.Context(), time.Now())
		if i%5 == 4 {
			r.k.step(r.Context(), r.b.Micros()/1000)
		}
	}
}

// restart stops the broker, orderly or not, and starts another one after some time.
func (r *rig) restart(orderly bool, after time.Duration) {
	r.Helper()
	if orderly {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r.k.run(ctx)
	}
	r.stop()
	r.start()
	r.b.Advance(after)
	r.s = New(r.b, Options{Connections: func() int64 { return 0 }})
	r.k = newKeeper(r.s)
	r.s.sample(r.Context(), time.Now())
}

func (r *rig) topic(name string) *broker.Topic {
	r.Helper()
	t, _, err := r.b.System().DeclareTopic(r.Context(), broker.TopicSpec{Name: name})
	if err != nil {
		r.Fatal(err)
	}
	return t
}

func (r *rig) group(topic, name string) *broker.Group {
	r.Helper()
	g, _, err := r.b.System().DeclareGroup(r.Context(), broker.GroupSpec{Topic: topic, Name: name})
	if err != nil {
		r.Fatal(err)
	}
	return g
}

func (r *rig) history(t *broker.Topic, g storage.GroupID, span string) *History {
	r.Helper()
	h, err := r.s.History(r.Context(), storage.Series{Topic: t.ID(), Group: g}, Spans()[span])
	if err != nil {
		r.Fatal(err)
	}
	if len(h.Parts) != Spans()[span].Count {
		r.Fatalf("%d parts", len(h.Parts))
	}
	return h
}

func (h *History) in() (n int64) {
	for i := range h.Parts {
		n += h.Parts[i].In
	}
	return n
}

// rows are how many chunks are stored at each level.
func (r *rig) rows(of storage.Series) (n [3]int) {
	r.Helper()
	list, err := r.b.History(r.Context(), of, fineLevel, wholeLevel)
	if err != nil {
		r.Fatal(err)
	}
	for _, k := range list {
		n[k.Level]++
	}
	return n
}

func TestHistoryIsKeptOverRestarts(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.group("orders", "all")
	r.pass(100, orders, 3)
	r.pass(200, orders, 0)
	before := r.history(orders, 0, "15m")
	if before.in() != 300 {
		t.Fatalf("%d messages came, want 300", before.in())
	}
	last := before.Parts[len(before.Parts)-1]
	if last.In != 0 || last.Lag != 300 || last.Age < 200_000 || !last.Known {
		t.Errorf("in the end %+v, want a lag of 300 of 200 s and more", last)
	}
	r.restart(true, time.Minute)
	orders = r.topic("orders")
	r.pass(10, orders, 1)
	h := r.history(orders, 0, "15m")
	if h.in() != 310 {
		t.Errorf("%d messages came over a restart, want 310", h.in())
	}
	n := len(h.Parts)
	for back, want := range map[int]bool{5: true, 40: false, 155: true, 300: true, 500: false} {
		if p := h.Parts[n-back]; p.Known != want {
			t.Errorf("%d s ago it was %+v: nothing is known of the minute in which it was stopped, nor before the first start", back, p)
		}
	}
	if p := h.Parts[n-155]; p.Lag != 300 {
		t.Errorf("before the stop the lag was %d, want 300", p.Lag)
	}
	if len(h.Starts) != 2 || h.Starts[1] < n-13 || h.Starts[1] > n-9 {
		t.Errorf("it was started in parts %v, want 2, the last one about %d", h.Starts, n-11)
	}
	if lag := h.Parts[n-1].Lag; lag != 310 {
		t.Errorf("lag %d, want 310", lag)
	}
}

func TestAfterAKillHistoryLacksNoMoreThanTheLastMinutes(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.pass(200, orders, 1)
	r.restart(false, 0)
	h := r.history(r.topic("orders"), 0, "15m")
	if n := h.in(); n < 200-saveAge/1000-2*int64(saveEvery/time.Second) || n > 200 {
		t.Errorf("%d of 200 messages are in the history, want all but those of the last minute", n)
	}
}

// Seconds become quarters of a minute, these ten minutes, and nothing is counted twice or
// lost on the way.
func TestHistoryIsPutTogetherAsItGrowsOld(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	own := storage.Series{Topic: orders.ID()}
	total := int64(0)
	hour := func() { // some seconds of every minute
		for range 60 {
			r.pass(5, orders, 2)
			r.b.Advance(55 * time.Second)
			total += 10
		}
	}
	hour()
	if n := r.rows(own); n[0] == 0 || n[0] > 2*fineChunks+2 || n[1] == 0 {
		t.Errorf("%v chunks are stored at the levels", n)
	}
	for _, span := range []string{"24h", "30d"} {
		if h := r.history(orders, 0, span); h.in() != total {
			t.Errorf("%s: %d messages came, want %d", span, h.in(), total)
		}
	}
	if h := r.history(orders, 0, "15m"); h.in() < 140 || h.in() > 160 {
		t.Errorf("%d messages came in 15 minutes, want about 150", h.in())
	}
	for range 3 {
		r.b.Advance(10 * time.Hour)
		hour()
		r.restart(true, 0)
		orders = r.topic("orders")
	}
	if n := r.rows(own); n[2] == 0 {
		t.Errorf("%v chunks are stored at the levels, want some of ten minutes", n)
	}
	if h := r.history(orders, 0, "30d"); h.in() != total {
		t.Errorf("30d: %d messages came, want %d", h.in(), total)
	}
	if h := r.history(orders, 0, "24h"); h.in() >= total || h.in() < total/4 {
		t.Errorf("24h: %d messages came, want some of %d", h.in(), total)
	}
	r.b.Advance(31 * 24 * time.Hour)
	hour()
	for _, full := range []bool{true, false} {
		r.w.full.Store(full)
		r.k.save(r.k.expire(t.Context(), own, r.b.Micros()/1000-wholeAge))
		r.countsWhatIsStored()
	}
	if n := r.rows(own); n[2] != 1 {
		t.Errorf("%v chunks are stored at the levels, want of more than 30 days ago the last one, which says what remained", n)
	}
}

func TestAWallClockThatIsSetBackDestroysNoHistory(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.pass(70, orders, 1)
	r.wall = -3 * time.Hour
	r.pass(70, orders, 1)
	r.restart(true, 0)
	h := r.history(r.topic("orders"), 0, "15m")
	if h.in() != 140 {
		t.Errorf("%d messages came, want 140", h.in())
	}
	var ahead []int64 // where one differs from the one before
	for i := range h.Parts {
		if p := &h.Parts[i]; p.In > 0 && (len(ahead) == 0 || ahead[len(ahead)-1] != p.Ahead/60_000) {
			ahead = append(ahead, p.Ahead/60_000)
		}
	}
	if len(ahead) != 2 || ahead[0]-ahead[1] < 179 || ahead[0]-ahead[1] > 180 {
		t.Errorf("the wall clock was %v minutes ahead, want 3 hours more at first", ahead)
	}
}

func TestHistoryGoesWithItsTopicAndIsBoundedAndTheLongestIdleGoFirst(t *testing.T) {
	r := newRig(t)
	var topics []*broker.Topic
	for i := range 8 {
		topics = append(topics, r.topic(fmt.Sprint("t", i)))
		r.pass(70, topics[i], 1)
	}
	if err := r.b.System().RemoveTopic(t.Context(), "t7", ""); err != nil {
		t.Fatal(err)
	}
	again := r.topic("t7")
	if h := r.history(again, 0, "15m"); h.in() != 0 {
		t.Errorf("a topic that was made again has a history of %d messages", h.in())
	}
	r.k.ask(t.Context())
	if len(r.k.kept) != 7 {
		t.Fatalf("history of %d topics is kept, want 7", len(r.k.kept))
	}
	r.k.most = r.k.total / 2
	r.k.step(t.Context(), r.b.Micros()/1000)
	for i, topic := range topics[:7] {
		if n := r.history(topic, 0, "15m").in(); (n > 0) != (i > 3) {
			t.Errorf("%d messages in the history of topic %d, want some of the last three alone", n, i)
		}
	}
	if r.k.total > r.k.most {
		t.Errorf("%d bytes are kept, want %d at most", r.k.total, r.k.most)
	}
}

func TestIdleTopicsAndGroupsHaveNoHistoryThatCosts(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	g := r.group("orders", "slow")
	r.pass(70, orders, 1)
	r.k.store(0)
	rows := [2][3]int{r.rows(storage.Series{Topic: orders.ID()}), r.rows(storage.Series{Topic: orders.ID(), Group: g.ID()})}
	r.pass(300, orders, 0) // its lag stays what it was
	r.k.store(0)
	if now := [2][3]int{r.rows(storage.Series{Topic: orders.ID()}), r.rows(storage.Series{Topic: orders.ID(), Group: g.ID()})}; now != rows {
		t.Errorf("%v chunks are stored, there were %v: nothing has happened", now, rows)
	}
	h := r.history(orders, g.ID(), "15m")
	n := len(h.Parts)
	if p := h.Parts[n-1]; p.Lag != 70 || p.Age < 300_000 || p.Age > 400_000 || !p.Known {
		t.Errorf("now it is %+v, want a lag of 70 messages of five minutes", p)
	}
	if p := h.Parts[n-100]; p.Lag != 70 || p.Age > h.Parts[n-1].Age-95_000 {
		t.Errorf("100 s ago it was %+v, want a lag of 70", p)
	}
}

func TestHistoryIsThereBeforeTheFirstLookAfterAStart(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.pass(70, orders, 1)
	r.restart(true, 2*time.Second)
	again, err := r.b.System().Topic("orders")
	if err != nil {
		t.Fatal(err)
	}
	looked := r.history(again, 0, "15m")
	r.s = New(r.b, Options{Connections: func() int64 { return 0 }})
	h := r.history(again, 0, "15m")
	if h.in() != 70 || h.in() != looked.in() || h.End < looked.End {
		t.Errorf("%d messages up to %d, want %d up to %d or later", h.in(), h.End, looked.in(), looked.End)
	}
}

func TestAChunkIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64Range(0, math.MaxInt64/4))
		var c chunk
		var want []moment
		at := int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "moments") {
			n := func() int64 { return number.Draw(t, "n") }
			at += 1 + n()%100_000
			m := moment{at, -n(), n(), n(), n(), Figures{n(), n(), n(), n(), n(), n(), n(), n(), n(), n()}}
			c.add(&m)
			want = append(want, m)
		}
		var got []moment
		if err := decode(c.data, func(m *moment) { got = append(got, *m) }); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v: %+v, want %+v", err, got, want)
		}
		if firstOf(c.data) != want[0].at || c.first != want[0].at || c.last != want[len(want)-1] {
			t.Fatalf("first %d, last %+v", c.first, c.last)
		}
	})
}

func FuzzChunksOfNonsenseAreReadOrRefused(f *testing.F) {
	var c chunk
	c.add(&moment{at: 1000, Figures: Figures{In: 5}})
	f.Add(c.data)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBuilder(&record{at: 5_000, began: 1}, Spans()["15m"])
		var j joiner
		j.step = roughStep
		_ = decode(data, func(m *moment) { b.add(m); j.add(m) })
		b.end(&moment{at: 5_000, began: 1})
		j.end()
	})
}

// damage stops the broker, damages a piece of history, the oldest one being 0, and starts it again.
func (r *rig) damage(piece int) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	r.k.run(ctx)
	r.stop()
	db, err := sql.Open("sqlite", r.path)
	if err != nil {
		r.Fatal(err)
	}
	_, err = db.Exec("UPDATE history SET sum = sum + 1 WHERE id = (SELECT id FROM history ORDER BY id LIMIT 1 OFFSET ?)", piece)
	if err := errors.Join(err, db.Close()); err != nil {
		r.Fatal(err)
	}
	r.start()
}

// gap is how many seconds nothing is known of, between the first and the last of which something is.
func (h *History) gap() int64 {
	known := func(p Part) bool { return p.Known }
	first := slices.IndexFunc(h.Parts, known)
	n := 0
	for last := len(h.Parts) - 1; last >= 0 && !h.Parts[last].Known; last-- {
		n--
	}
	return (int64(n+h.unknown()) - int64(first)) * h.Step / 1000
}

func TestADamagedPieceOfHistoryIsAGapAlsoWhenItIsPutTogether(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.pass(300, orders, 1)
	if gap := r.history(orders, 0, "15m").gap(); gap != 0 {
		t.Fatalf("nothing is known of %d s before there is damage", gap)
	}
	r.damage(1)
	orders = r.topic("orders")
	h := r.history(orders, 0, "15m")
	if gap, lost := h.gap(), 300-h.in(); lost < 50 || gap < lost-5 || gap > lost+5 {
		t.Errorf("%d messages are lost from the history, and of %d s nothing is known; want as many, and 50 or more", lost, gap)
	}
	for range 20 {
		r.pass(30, orders, 1)
		r.pass(70, orders, 0)
	}
	if n := r.rows(storage.Series{Topic: orders.ID()}); n[roughLevel] == 0 {
		t.Fatalf("chunks of each level: %v; nothing was put together", n)
	}
	if gap := r.history(orders, 0, "24h").gap(); gap < 30 || gap > 60 {
		t.Errorf("in the view of a day nothing is known of %d s, want 30 to 60", gap)
	}
}
