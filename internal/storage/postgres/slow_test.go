package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// A server that takes the connection and then says nothing.
func TestServerThatFreezesAfterTheLoginIsNotWaitedForForEver(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	if err := mustOpen(t, Options{URL: url}).Close(); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"goose_db_version", "identity", "brokers", "topics"} {
		beside := dialFor(t, url)
		beside.must(t, "BEGIN")
		beside.must(t, "LOCK TABLE "+table)
		if s, err := Open(context.Background(), Options{URL: url, ReadTimeout: 300 * time.Millisecond}); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("%s: open: %v, %v", table, s, err)
		}
		if _, err := checkWithin(context.Background(), url, 300*time.Millisecond); table != "identity" && table != "topics" && !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("%s: check: %v", table, err)
		}
		beside.must(t, "ROLLBACK")
		// The lease may have been taken before the server stopped to answer.
		beside.must(t, "UPDATE brokers SET holder = ''")
	}
}

// What connections have prepared can become useless without their end.
func TestStatementsArePreparedAgain(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{})
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.writer.query(context.Background(), "DEALLOCATE ALL"); err != nil {
		t.Fatal(err)
	}
	if err := r.append("b"); err != nil {
		t.Fatalf("commit: %v", err)
	}
	entry := &storage.AuditEntry{Action: "topic.create"}
	if errs, err := r.Commit([]storage.Op{&storage.Audit{Entry: entry}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	for _, sql := range []string{"SELECT 1", "ALTER TABLE audit ALTER COLUMN action TYPE varchar(40)"} {
		r.beside.must(t, sql)
		if list, err := r.Audit(context.Background(), 0, 9); err != nil || len(list) != 1 || list[0].Action != "topic.create" {
			t.Fatalf("after %s: %v, %v", sql, list, err)
		}
	}
	r.has("a", "b")
}

func TestNameOfANodeMayBeAnyText(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	for _, name := range []string{`\x61`, "a\x00b", "\xff", "ö 'n"} {
		s := mustOpen(t, Options{URL: url, Node: name})
		if errs, err := s.Commit([]storage.Op{&storage.Audit{Entry: &storage.AuditEntry{Action: "a"}}}); err != nil || errs[0] != nil {
			t.Fatalf("node %q: %v, %v", name, errs, err)
		}
		if err := s.Maintain(); err != nil {
			t.Fatalf("node %q: %v", name, err)
		}
		if list, err := holders(context.Background(), dialFor(t, url)); err != nil || len(list) != 1 || list[0].name != name {
			t.Fatalf("node %q: %+v, %v", name, list, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStopDoesNotWaitLongForAnOutcome(t *testing.T) {
	c := pgtest.Start(t)
	o := quick()
	o.Patience, o.StopPatience = time.Hour, 50*time.Millisecond
	r := newRig(t, c, o)
	p := r.through()
	p.answers.Store(true)
	done := r.start("a")
	until(t, "the answer is lost", func() bool { return p.lost.Load() > 0 })
	r.Stop()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, storage.ErrNotStored) || errors.Is(err, storage.ErrFenced) {
			t.Fatalf("the outcome is not known: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the store waits on")
	}
	p.answers.Store(false)
	r.has("over the proxy", "a")
}

func TestStopDoesNotSendAgainWhatIsNotStored(t *testing.T) {
	c := pgtest.Start(t)
	o := quick()
	o.CommitTimeout = time.Hour
	r := newRig(t, c, o)
	c.Stop()
	until(t, "the loss is noticed", func() bool {
		r.beat = time.Time{}
		return r.Maintain() == nil && r.writer == nil
	})
	r.Stop()
	if err := r.append("a"); !errors.Is(err, storage.ErrNotStored) {
		t.Fatalf("commit: %v", err)
	}
	c.Go(t)
	r.has()
}

// A size takes a while to find out, and no commit waits for it.
func TestSizeIsMeasuredBesideTheCommits(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{})
	until(t, "the size is known", func() bool { return r.Size() > 0 })
	rows := r.beside.must(t, "SELECT application_name FROM pg_stat_activity WHERE query LIKE '%pg_database_size%' AND pid <> pg_backend_pid() AND datname = current_database()")
	if len(rows) != 1 || !strings.HasSuffix(rows[0][0], readerRole) {
		t.Errorf("measured by %v", rows)
	}
}
