package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// plainIO has all stores of the tests leave their files to SQLite: see make plain.
func plainIO() bool { return os.Getenv("ZBUS_TEST_PLAIN") != "" }

// needsOwnIO skips a test of what plain I/O goes without.
func needsOwnIO(t *testing.T) {
	t.Helper()
	if plainIO() {
		t.Skip("plain I/O goes without what is tested")
	}
}

// mustOpen opens a store that is closed with the test, if it is not before.
func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	o.PlainIO = o.PlainIO || plainIO()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Limits of what is fresh under which everything has to hold.
var limitsOfFresh = map[string]freshLimits{
	"fresh forever":          {bytes: 1 << 30, most: 1 << 30, age: time.Hour},
	"merged a topic a time":  {bytes: 0, most: 1 << 30, age: time.Hour, step: 1},
	"merged at once":         {bytes: 0, most: 1 << 30, age: time.Hour, step: 1 << 30, inline: 100},
	"merged by commits":      {bytes: 1 << 30, most: 2000, age: time.Hour},
	"merged when it is time": {bytes: 1 << 30, most: 1 << 30, age: 1, step: 500},
}

func TestStoreKeepsTheContract(t *testing.T) {
	empty := emptyFile(t)
	run := func(name string, o Options) {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Place {
				o := o
				o.Path = filepath.Join(t.TempDir(), "a b?#%.db")
				copyFile(t, empty, o.Path)
				return func() storage.Store { return mustOpen(t, o) }
			})
		})
	}
	run("fsync", Options{})
	run("plain I/O", Options{PlainIO: true})
	run("relaxed, merged a topic a time", Options{Durability: Relaxed, fresh: limitsOfFresh["merged a topic a time"]})
}

// emptyFile is a database without anything in it. A copy is made much sooner than the
// migrations are run.
func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty.db")
	if err := mustOpen(t, Options{Path: path}).Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoreDoesWhatMemoryDoes(t *testing.T) {
	empty := emptyFile(t)
	places := map[string]func(t *testing.T) storetest.Place{}
	for name, limits := range limitsOfFresh {
		places[name] = func(t *testing.T) storetest.Place {
			o := Options{Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: Relaxed, fresh: limits}
			copyFile(t, empty, o.Path)
			return func() storage.Store { return mustOpen(t, o) }
		}
	}
	storetest.Compare(t, faultreport.ScaleAlways(t, 20, 2000), places)
}
