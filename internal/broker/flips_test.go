package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// One bit of the database is flipped, anywhere or where the structure is, while no
// broker runs. The next one says that something is wrong, or delivers everything.
func TestNoFlippedBitLosesAMessageSilently(t *testing.T) {
	flips := faultreport.ScaleAlways(t, 16, 10_000)
	file, want := flipDatabase(t)
	aimed := structureOf(file)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	outcomes := map[string]int{}
	for i := range flips {
		at := random.IntN(len(file))
		if i%2 == 1 {
			at = aimed[random.IntN(len(aimed))]
		}
		bit := random.IntN(8)
		outcome := flipTrial(t, filepath.Join(dir, fmt.Sprint(i)), file, at, bit, want)
		outcomes[outcome]++
		if outcome == "silent" {
			t.Errorf("bit %d of byte %d (page %d, byte %d of it): messages are lost, and nothing is said", bit, at, at/4096+1, at%4096)
		}
	}
	r := faultreport.Record{
		Test: "flips-database", Fault: "a bit of the database is flipped, anywhere or in its structure",
		Promise: "it is noticed, or nothing is lost", Runs: flips, Broken: outcomes["silent"], Seed: fmt.Sprint(seed),
	}
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		r.Add(outcome, outcomes[outcome])
	}
	r.Save(t)
}

// flipped is what a group has to deliver: offset to body.
type flipped map[string]map[int64]string

// flipDatabase is a database that was closed gracefully, with messages in blocks of their
// own, in blocks whose contents are apart, and fresh, and what its groups have to get.
func flipDatabase(t *testing.T) (file []byte, want flipped) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	want = flipped{}
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, path: path}
		r.open()
		orders := r.topic("orders", 0, storage.Retention{})
		clicks := r.topic("clicks", 0, storage.Retention{})
		r.group(GroupSpec{Topic: "orders", Name: "all"})
		r.group(GroupSpec{Topic: "orders", Name: "some", Settle: ptr(storage.SettleExplicit), Filter: ptr("x")})
		r.group(GroupSpec{Topic: "clicks", Name: "clicks"})
		body := func(topic string, i int) []byte { return fmt.Appendf(nil, "%s %d %0300d", topic, i, i) }
		n, m := 0, 0
		both := func(k, l int) {
			p := r.b.NewPublishing(func() {})
			for range k {
				p.Add(Message{Topic: orders, Record: storage.Record{Tag: []string{"x", "y"}[n%2], Body: body("orders", n)}})
				n++
			}
			for range l {
				p.Add(Message{Topic: clicks, Record: storage.Record{Tag: "x", Body: body("clicks", m)}})
				m++
			}
			_ = p.Publish(context.Background())
			synctest.Wait()
		}
		for range 10 {
			both(20, 0)
			both(0, 10)
		}
		for range 10 {
			both(2, 3)
		}
		time.Sleep(15 * time.Second) // it is merged
		for range 10 {
			both(2, 2)
		}
		for _, g := range []string{"all", "some"} {
			c := r.subscribe(r.findGroup("orders", g), "1")
			c.eager = true
			for _, b := range c.take(30) {
				for i, item := range b.Items {
					if !b.Auto && item.Record.Offset != 10 { // that one is given back
						if err := b.Sub.g.ackNow(item.Record.Offset, b.Handle(i)); err != nil {
							t.Fatal(err)
						}
					} else if !b.Auto {
						if err := b.Sub.g.nackNow(10, b.Handle(i), 3_600_000); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		for name, from := range map[string]struct{ offset, step int64 }{"all": {30, 1}, "some": {60, 2}} {
			want[name] = map[int64]string{}
			for i := from.offset; i < int64(n); i += from.step {
				want[name][i] = string(body("orders", int(i)))
			}
		}
		want["clicks"] = map[int64]string{}
		for i := range m {
			want["clicks"][int64(i)] = string(body("clicks", i))
		}
		r.close()
	})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, want
}

// structureOf lists the bytes of a database that say where something is: the heads of
// pages, the positions of cells, and the beginning of each cell.
func structureOf(file []byte) (list []int) {
	for i := range 100 {
		list = append(list, i)
	}
	for page := 0; page+4096 <= len(file); page += 4096 {
		head := page
		if page == 0 {
			head = 100
		}
		size := map[byte]int{2: 12, 5: 12, 10: 8, 13: 8}[file[head]]
		if size == 0 {
			continue
		}
		cells := int(binary.BigEndian.Uint16(file[head+3:]))
		for i := head; i < min(head+size+2*cells, page+4096); i++ {
			list = append(list, i)
		}
		for k := range cells {
			cell := page + int(binary.BigEndian.Uint16(file[head+size+2*k:]))
			for i := cell; i < min(cell+40, page+4096); i++ {
				list = append(list, i)
			}
		}
	}
	return list
}

// flipTrial flips a bit and says what came of it.
func flipTrial(t *testing.T, dir string, file []byte, at, bit int, want flipped) (outcome string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "zbus.db")
	damaged := bytes.Clone(file)
	damaged[at] ^= 1 << bit
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { outcome = drainFlipped(t, path, want) })
	return outcome
}

// complaints counts what is logged as a warning or an error.
type complaints struct{ atomic.Int64 }

func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (c *complaints) Handle(context.Context, slog.Record) error    { c.Add(1); return nil }
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c *complaints) WithGroup(string) slog.Handler                { return c }

// drainFlipped opens a database and has every group deliver what it has.
func drainFlipped(t *testing.T, path string, want flipped) string {
	said := new(complaints)
	log := slog.New(said)
	store, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Durability: sqlite.Relaxed, Log: log})
	if err != nil {
		return "refused"
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	b, err := Open(context.Background(), Options{Log: log}, Storage{store, w})
	if err != nil {
		_ = store.Close()
		return "refused"
	}
	r := &rig{T: t, b: b}
	broker := bubbles.Run(b.Run)
	whole := true
	for name, messages := range want {
		topic := "orders"
		if name == "clicks" {
			topic = name
		}
		got, ok := r.drainGroup(topic, name)
		if !ok {
			said.Add(1)
		}
		for offset, body := range messages {
			whole = whole && string(got[offset]) == body
		}
	}
	if errors.Join(broker.End(), store.Close()) != nil {
		said.Add(1)
	}
	switch {
	case said.Load() > 0 && whole:
		return "detected, nothing lost"
	case said.Load() > 0:
		return "detected"
	case whole:
		return "harmless"
	}
	return "silent"
}

// drainGroup takes all that a group has, and reports false when it is refused.
func (r *rig) drainGroup(topic, name string) (got map[int64][]byte, ok bool) {
	got = map[int64][]byte{}
	g, err := r.b.System().Group(topic, name)
	if err != nil {
		return got, true // a group that is gone is told by what is missing
	}
	c := &consumer{session: "1", eager: true}
	if c.sub, err = g.Subscribe(c); err != nil {
		return got, false
	}
	for batches := c.take(100_000); len(batches) > 0; batches = c.take(100_000) {
		for _, b := range batches {
			for i, item := range b.Items {
				got[item.Record.Offset] = item.Record.Body
				if !b.Auto {
					_ = g.ackNow(item.Record.Offset, b.Handle(i))
				}
			}
		}
	}
	return got, true
}
