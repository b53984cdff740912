package sqlite

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// testdata has a database of each schema, written by the last build that had it: a few
// topics, messages that several topics got at once and that were merged or not, and
// groups of which one has moved.
func TestDatabasesOfEverySchemaOpen(t *testing.T) {
	newest, err := newestSchema()
	if err != nil {
		t.Fatal(err)
	}
	for version := int64(1); version <= newest; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			path := unpack(t, fmt.Sprintf("testdata/schema%d.db.gz", version))
			s := mustOpen(t, Options{Path: path})
			checkOld(t, s)
			if version >= 5 {
				checkClockAndParked(t, s)
			}
			if version >= 8 {
				checkHistory(t, s)
			}
			checkOwners(t, s, version)
			mustCommit(t, s, &storage.Append{Topic: 1, Records: messages(3, 10)},
				&storage.PutHistory{Series: storage.Series{Topic: 1}, Data: []byte("new")})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, Options{Path: path}) // its schema is the newest now
			checkCatalog(t, s)
			if n := len(readAll(t, s, 1)); n != 43 {
				t.Errorf("%d messages after another start, want 43", n)
			}
		})
	}
}

// The text of the schema is written by this test when ZBUS_UPDATE is set.
func TestSchemaTextIsWhatTheMigrationsCreate(t *testing.T) {
	newest, err := newestSchema()
	if err != nil {
		t.Fatal(err)
	}
	created, err := createdBy(t.Context(), newest)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("ZBUS_UPDATE") != "" {
		var list []schemaObject
		for o, text := range created {
			list = append(list, schemaObject{o.kind, o.name, text})
		}
		slices.SortFunc(list, func(a, b schemaObject) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
		text, err := json.MarshalIndent(list, "", " ")
		if err := errors.Join(err, os.WriteFile("../../../migrations/sqlite.json", append(text, '\n'), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := schemaAt(t.Context(), newest, newest)
	if err != nil || !maps.Equal(kept, created) {
		t.Errorf("migrations/sqlite.json is not what the migrations create (%v): run this test with ZBUS_UPDATE=1", err)
	}
}

func unpack(t *testing.T, name string) (path string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatalf("%v: write a database with the last build that has this schema", err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	path = filepath.Join(t.TempDir(), "zbus.db")
	if err := errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkOld(t *testing.T, s *Store) {
	t.Helper()
	state, err := s.Load(context.Background())
	if err != nil || len(state.Topics) != 5 || len(state.Groups) != 6 {
		t.Fatalf("%d topics, %d groups, %v", len(state.Topics), len(state.Groups), err)
	}
	for i, name := range []string{"orders", "a", "b", "c", "calls"} {
		topic := &state.Topics[i]
		if topic.Name != name {
			t.Fatalf("topic %d is %q, want %q", topic.ID, topic.Name, name)
		}
		var bodies []string
		for _, r := range readAll(t, s, topic.ID) {
			if r.Damaged() || r.Offset != int64(len(bodies)) {
				t.Errorf("%s: damaged %t at %d, want %d", name, r.Damaged(), r.Offset, len(bodies))
			}
			bodies = append(bodies, string(r.Body))
		}
		want := oldBodies(name)
		if strings.Join(bodies, "|") != strings.Join(want, "|") {
			t.Errorf("%s has %d messages, want %d, or others: %.100q", name, len(bodies), len(want), bodies)
		}
	}
	first := readAll(t, s, 1)[0]
	if first.ID != "o-0" || first.Tag != "paid.eu" || !strings.Contains(first.Headers, `"colour":"red"`) {
		t.Errorf("id %q, tag %q, headers %s", first.ID, first.Tag, first.Headers)
	}
	for _, g := range state.Groups {
		if g.Name == "orders" && g.Cursor != 3 || g.Name == "billing" && (g.Filter != "paid.*" || g.Cursor != 0) {
			t.Errorf("group %s: filter %q, cursor %d", g.Name, g.Filter, g.Cursor)
		}
	}
}

// checkOwners looks for what topics have since they have owners: before, they had none.
func checkOwners(t *testing.T, s *Store, version int64) {
	t.Helper()
	state, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range state.Topics {
		want := ""
		if version >= 9 && topic.Name == "b" {
			want = "ann"
		}
		if topic.Owner != want || topic.Damage != "" {
			t.Errorf("topic %s is owned by %q, want %q; damage %q", topic.Name, topic.Owner, want, topic.Damage)
		}
	}
}

// checkClockAndParked looks for what databases have since they have checksums.
func checkClockAndParked(t *testing.T, s *Store) {
	t.Helper()
	state, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if state.Clock.Boot != "boot" || state.Clock.Ahead != 5 {
		t.Errorf("the clock is %+v", state.Clock)
	}
	if len(state.Parked) != 1 || state.Parked[0].Offset != 3 || state.Parked[0].Count != 2 {
		t.Errorf("parked: %+v", state.Parked)
	}
	if len(state.Kept) != 1 || state.Kept[0].IDs[0].ID != "kept" {
		t.Errorf("kept ids: %+v", state.Kept)
	}
}

func checkHistory(t *testing.T, s *Store) {
	t.Helper()
	for of, want := range map[storage.Series]string{{Topic: 1}: "of the topic", {Topic: 1, Group: 1}: "of the group"} {
		list, err := s.History(t.Context(), of, 0, 1)
		if err != nil || len(list) != 1 || string(list[0].Data) != want {
			t.Errorf("history of %+v: %+v, %v; want %q", of, list, err, want)
		}
	}
}

// oldBodies are what a topic of those databases has.
func oldBodies(topic string) (all []string) {
	switch topic {
	case "orders":
		for i := range 40 {
			all = append(all, fmt.Sprintf("message %d ", i)+strings.Repeat("x", i*37%500))
		}
	case "a", "b", "c":
		for i := range 3 {
			all = append(all, fmt.Sprint(topic, i))
		}
		if topic == "a" {
			all = append(all, "", strings.Repeat("y", 20_000))
		}
	}
	return all
}

func TestADatabaseHasOneStoreAtATime(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("NOT TESTED: only Linux has locks that belong to an open file")
	}
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	addTopic(t, s, "t")
	for range 2 { // the handle of the first try is closed by then
		if second, err := Open(context.Background(), s.options); !errors.Is(err, storage.ErrInUse) {
			_ = second.Close()
			t.Fatalf("a second store: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, s.options)
}
