package sqlite

import (
	"path/filepath"
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
