package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// A page of the messages that makes no sense costs the messages that it leads to, and
// nothing else: they are read as damage, and retention passes over them.
func TestPagesThatCannotBeReadCostTheirMessages(t *testing.T) {
	path, topics, all := threeTopics(t)
	before, topic, other := topics[0], topics[1], topics[2]
	refused, cut := 0, 0
	for page, keys := range pagesOf(t, path, "blocks") {
		lost := int64(20) // the blocks of a leaf
		switch keys {
		case "interior":
			lost = int64(len(all))
		case "first", "last": // of the other topics
			lost = 0
		}
		for name, garbage := range map[string][]byte{"zeros": make([]byte, 4096), "noise": bytes.Repeat([]byte{0xa7, 0x13}, 2048)} {
			t.Run(fmt.Sprint(page, name), func(t *testing.T) {
				damaged := filepath.Join(t.TempDir(), "zbus.db")
				copyFile(t, path, damaged)
				overwrite(t, damaged, (page-1)*4096, garbage)
				s, err := Open(t.Context(), Options{Path: damaged})
				if err != nil {
					refused++
					return
				}
				t.Cleanup(func() { _ = s.Close() })
				for _, rows := range []int{1, 7, 1000} {
					for from := int64(0); from <= int64(len(all)); from += 60 {
						checkLog(t, s, topic, from, rows, all, lost)
					}
				}
				cut += checkAppends(t, s, map[storage.TopicID]int64{before: 20, topic: int64(len(all)), other: 10})
				mustCommit(t, s, &storage.Trim{Topic: topic, First: int64(len(all))})
				mustCommit(t, s, &storage.Purge{Limit: 1000})
			})
		}
	}
	// The root; of the leaves those where a topic ends, and the next ones, where more would go.
	if refused != 2 || cut != 10 {
		t.Errorf("%d of the databases were refused, want 2; %d topics, want 10", refused, cut)
	}
}

// threeTopics makes a database with two, forty and one block of ten messages, two blocks a
// leaf. all is those of the second topic.
func threeTopics(t *testing.T) (path string, topics []storage.TopicID, all []storage.Record) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	for i, blocks := range []int{2, 40, 1} {
		topics = append(topics, addTopic(t, s, fmt.Sprint("t", i)))
		for range blocks {
			rs := messages(10, 100)
			mustCommit(t, s, &storage.Append{Topic: topics[i], Records: rs})
			if i == 1 {
				all = append(all, rs...)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, topics, all
}

// A page that makes no sense and is come upon when messages are stored, or merged, has its
// topic take no more. All that was stored is there after the next start, and the other
// topics are served.
func TestDamageThatAnAppendComesUponCutsOffItsTopicAlone(t *testing.T) {
	path, topics, _ := threeTopics(t)
	depth := []int64{20, 400, 10}
	atOnce := defaultFresh()
	atOnce.age = time.Nanosecond
	late := 0
	for page, kind := range pagesOf(t, path, "blocks") {
		if kind == "interior" {
			continue
		}
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			damaged := filepath.Join(t.TempDir(), "zbus.db")
			copyFile(t, path, damaged)
			overwrite(t, damaged, (page-1)*4096, make([]byte, 4096))
			board := condition.New(slog.New(slog.DiscardHandler))
			s := mustOpen(t, Options{Path: damaged, fresh: atOnce, Conditions: board})
			var stored [3]int64
			var cut [3]bool
			for n := range 60 {
				var ops []storage.Op
				for i := range topics {
					ops = append(ops, &storage.Append{Topic: topics[i], Records: messages(1+n%3*9, 100)})
				}
				errs, err := s.Commit(ops)
				if err := errors.Join(err, s.Maintain()); err != nil {
					t.Fatal(err)
				}
				for i := range topics {
					if errs[i] == nil && !cut[i] {
						stored[i] += int64(1 + n%3*9)
					} else if cut[i] = true; !errors.Is(errs[i], storage.ErrDamaged) {
						t.Fatalf("topic %d, commit %d: %v", i, n, errs[i])
					}
				}
			}
			late += len(board.List())
			if cut[0] && cut[1] && cut[2] {
				t.Error("all topics are cut off")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, Options{Path: damaged})
			for i, topic := range topics {
				from, want := depth[i], depth[i]+stored[i]
				rs, err := s.Read(t.Context(), topic, from, storage.Page{Rows: 10_000}, nil)
				if err != nil || int64(len(rs)) != stored[i] {
					t.Errorf("topic %d has %d messages from %d on, want %d, %v", i, len(rs), from, stored[i], err)
				}
				for k := range rs {
					if r := &rs[k]; r.Damaged() || r.Offset != from+int64(k) || r.Offset >= want {
						t.Fatalf("topic %d, message %d: %+v", i, k, r)
					}
				}
			}
		})
	}
	if late == 0 {
		t.Error("no damage was come upon")
	}
}

// checkAppends appends to each of the topics, and counts those that take nothing: they say
// why, and can't be accepted. The others do, also after the next start.
func checkAppends(t *testing.T, s *Store, next map[storage.TopicID]int64) (cut int) {
	t.Helper()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range state.Topics {
		topic := &state.Topics[i]
		errs, err := s.Commit([]storage.Op{&storage.Append{Topic: topic.ID, Records: messages(1, 100)}})
		if err != nil {
			t.Fatal(err)
		}
		if topic.Next != next[topic.ID] {
			t.Errorf("topic %d ends at %d, not at %d", topic.ID, topic.Next, next[topic.ID])
		}
		if topic.Damage == "" {
			if errs[0] != nil {
				t.Errorf("topic %d: %v", topic.ID, errs[0])
			}
			continue
		}
		cut++
		if !errors.Is(errs[0], storage.ErrDamaged) {
			t.Errorf("topic %d took a message: %v", topic.ID, errs[0])
		}
		if errs, err := s.Commit([]storage.Op{&storage.Accept{Topic: topic}}); err != nil || !errors.Is(errs[0], storage.ErrDamaged) {
			t.Errorf("topic %d was accepted: %v, %v", topic.ID, errs, err)
		}
	}
	return cut
}

// pagesOf lists the pages of a table's tree: "interior", and of the leaves the "first", the
// "last" and any "other".
func pagesOf(t *testing.T, path, table string) map[int64]string {
	t.Helper()
	kinds, last := map[int64]string{}, int64(0)
	c, err := open(readerSetup(Options{Path: path}.withDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	for row, err := range c.ask("SELECT pageno, pagetype FROM dbstat WHERE name = '" + table + "' AND pagetype <> 'overflow' ORDER BY path") {
		if err != nil {
			t.Fatal(err)
		}
		page := integer(row[0])
		switch {
		case text(row[1]) != "leaf":
			kinds[page] = "interior"
		case last == 0:
			kinds[page], last = "first", page
		default:
			kinds[page], last = "other", page
		}
	}
	kinds[last] = "last"
	return kinds
}
