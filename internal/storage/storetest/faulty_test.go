package storetest_test

import (
	"errors"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// A store that fails at sync has committed, and is not asked again.
func TestFaultySync(t *testing.T) {
	memory := storetest.NewMemory()
	f := storetest.NewFaulty(memory, nil)
	disk := errors.New("disk on fire")
	f.FailSync(disk)
	create := &storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}
	if errs, err := f.Commit([]storage.Op{create}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if !f.SyncDue() || !errors.Is(f.Sync(), disk) {
		t.Fatal("the sync has not failed")
	}
	if _, err := f.Commit([]storage.Op{create}); !errors.Is(err, storetest.ErrMisuse) || !f.Misused() {
		t.Fatalf("committed after a failed sync: %v", err)
	}
}
