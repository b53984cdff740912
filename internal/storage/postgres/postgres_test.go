package postgres

import (
	"context"
	"testing"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
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

// emptyDatabase makes a database whose schema is there, and returns its name. A copy is made much
// sooner than the migrations are run.
func emptyDatabase(t *testing.T, c *pgtest.Cluster) string {
	t.Helper()
	url := c.Database(t)
	if err := mustOpen(t, Options{URL: url}).Close(); err != nil {
		t.Fatal(err)
	}
	return pgtest.Name(url)
}

func TestStoreKeepsTheContract(t *testing.T) {
	c := pgtest.Start(t)
	empty := emptyDatabase(t, c)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		url := c.Copy(t, empty)
		return func() storage.Store { return mustOpen(t, Options{URL: url}) }
	})
}

func TestStoreDoesWhatMemoryDoes(t *testing.T) {
	c := pgtest.Start(t)
	empty := emptyDatabase(t, c)
	storetest.Compare(t, faultreport.ScaleAlways(t, 10, 200), map[string]func(t *testing.T) storetest.Place{
		"postgres": func(t *testing.T) storetest.Place {
			url := c.Copy(t, empty)
			return func() storage.Store { return mustOpen(t, Options{URL: url}) }
		},
	})
}
