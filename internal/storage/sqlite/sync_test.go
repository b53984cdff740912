package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A wall clock that steps back shows a last sync that is still to come.
func TestWhatIsCommittedWaitsForASyncWhateverTheLastOneClaims(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := &storage.Topic{Name: "log"}
	for _, ahead := range []time.Duration{0, time.Millisecond, 30 * time.Second, 30 * 24 * time.Hour} {
		s.sync.last.Store(time.Now().Add(ahead).UnixNano())
		synced := s.sync.synced
		errs, err := s.Commit([]storage.Op{&storage.CreateTopic{Topic: topic}})
		if err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
		if !s.SyncDue() {
			t.Errorf("last sync %s ahead: the commit may be answered without a sync", ahead)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if s.sync.synced == synced {
			t.Errorf("last sync %s ahead: nothing was synced", ahead)
		}
		errs, err = s.Commit([]storage.Op{&storage.RemoveTopic{Topic: topic.ID}})
		if err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
	}
}

func TestSyncReachesTheDiskAsDurabilitySays(t *testing.T) {
	for _, c := range []struct {
		name       string
		durability Durability
		interval   time.Duration
		want       bool // the second commit is on disk after Sync
	}{
		{"fsync", Fsync, time.Hour, true},
		{"relaxed, within the interval", Relaxed, time.Hour, false},
		{"relaxed, after the interval", Relaxed, time.Nanosecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustOpen(t, Options{
				Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: c.durability, SyncInterval: c.interval,
			})
			topic := addTopic(t, s, "t")
			for range 2 {
				mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1, 10)})
				if err := s.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.sync.synced == s.sync.commits.Load(); got != c.want {
				t.Errorf("after Sync %d of %d commits are on disk", s.sync.synced, s.sync.commits.Load())
			}
		})
	}
}

func TestFailedSyncStopsTheStore(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	good := s.sync.log
	read, write, err := os.Pipe() // a file that can't be synced
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	s.sync.log = write
	t.Cleanup(func() { s.sync.log = good })
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1, 10)})
	if err := s.Sync(); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("Sync returned %v", err)
	}
	if _, err := s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(1, 10)}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Commit after a failed sync returned %v", err)
	}
	if err := s.Sync(); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a second Sync returned %v: it must not be believed", err)
	}
}

func TestLogStaysShortUnderLoad(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: Relaxed})
	topic := addTopic(t, s, "t")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for from := int64(0); ; from++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Read(context.Background(), topic, from, storage.Page{Rows: 64}, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	rs := messages(32, 8000)
	var longest int64
	for range 320 { // 80 MB
		mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, size(s.options.Path+"-wal"))
	}
	close(stop)
	wg.Wait()
	if longest > 64<<20 {
		t.Errorf("the log grew to %d MiB", longest>>20)
	}
}

// A broker purges every second. While there is nothing to purge the disk may sleep.
func TestCommitThatChangesNothingWritesNothing(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	purge := func() {
		t.Helper()
		errs, err := s.Commit([]storage.Op{&storage.Purge{Limit: 100}})
		if err := errors.Join(append(errs, err, s.Sync())...); err != nil {
			t.Fatal(err)
		}
		s.generation.at = time.Time{} // long ago
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	purge()
	written, synced, commits := s.follower.Written(), s.mark.synced, s.sync.commits.Load()
	for range 3 {
		purge()
	}
	if now := s.follower.Written(); now != written {
		t.Errorf("the log took %d bytes", now-written)
	}
	if s.mark.synced != synced || s.sync.commits.Load() != commits {
		t.Errorf("%d commits to sync; the mark has %+v, had %+v", s.sync.commits.Load()-commits, s.mark.synced, synced)
	}
}
