package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// mustOpen opens a store that is closed with the test, if it is not before.
func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	for _, d := range []Durability{Fsync, Relaxed} {
		t.Run(d.String(), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Place {
				o := Options{Path: filepath.Join(t.TempDir(), "a b?#%.db"), Durability: d}
				return func() storage.Store { return mustOpen(t, o) }
			})
		})
	}
}

func TestStoreDoesWhatMemoryDoes(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.db") // copied: that is quicker than the migrations
	if err := mustOpen(t, Options{Path: empty}).Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Compare(t, func(t *testing.T) storetest.Place {
		o := Options{Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: Relaxed}
		copyFile(t, empty, o.Path)
		return func() storage.Store { return mustOpen(t, o) }
	})
}
