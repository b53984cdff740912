package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// start commits one message in the background.
func (r *rig) start(id string) (done chan error) {
	done = make(chan error, 1)
	go func() { done <- r.append(id) }()
	return done
}

// quick are short times for servers that do not answer.
func quick() Options { return Options{CommitTimeout: 300 * time.Millisecond, Patience: time.Minute} }

// through has the store go through a proxy from its next connection on.
func (r *rig) through() *proxy {
	r.Helper()
	p := newProxy(r.T, r.url)
	d, err := newDialer(p.url, false)
	if err != nil {
		r.Fatal(err)
	}
	r.dialer = d
	r.beside.must(r.T, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", application(r.holder, writerRole))
	if err := r.append("over the proxy"); err != nil {
		r.Fatal(err)
	}
	return p
}

func TestCommitsSurviveTheirConnections(t *testing.T) {
	c := pgtest.Start(t)
	t.Run("ended between two", func(t *testing.T) {
		r := newRig(t, c, Options{})
		for _, id := range []string{"a", "b", "c"} {
			r.beside.must(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			if err := r.append(id); err != nil {
				t.Fatal(err)
			}
			if rs, err := r.Read(context.Background(), r.topic, 0, storage.Page{Rows: 9}, nil); err != nil || rs[len(rs)-1].ID != id {
				t.Fatalf("read: %v, %v", rs, err)
			}
		}
		r.has("a", "b", "c")
	})
	t.Run("the answer is lost", func(t *testing.T) {
		r := newRig(t, c, quick())
		p := r.through()
		p.answers.Store(true)
		done := r.start("a")
		until(t, "the answer is lost", func() bool { return p.lost.Load() > 0 })
		p.answers.Store(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := r.append("b"); err != nil {
			t.Fatal(err)
		}
		r.has("over the proxy", "a", "b")
	})
	t.Run("the commit is lost", func(t *testing.T) {
		r := newRig(t, c, quick())
		p := r.through()
		p.requests.Store(true)
		done := r.start("a")
		until(t, "the commit is lost", func() bool { return p.lost.Load() > 0 })
		p.requests.Store(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.has("over the proxy", "a")
	})
	t.Run("the answer is lost, and another broker takes the lease", func(t *testing.T) {
		r := newRig(t, c, quick())
		p := r.through()
		p.answers.Store(true)
		done := r.start("a")
		until(t, "the answer is lost", func() bool { return p.lost.Load() > 0 })
		mustOpen(t, Options{URL: r.url, Node: "b", lease: time.Nanosecond})
		p.answers.Store(false)
		if err := <-done; !errors.Is(err, errTaken) || errors.Is(err, storage.ErrFenced) || errors.Is(err, storage.ErrNotStored) {
			t.Fatalf("the outcome is not known: %v", err)
		}
		if err := r.append("b"); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("after an unknown outcome: %v", err)
		}
		r.has("over the proxy", "a")
	})
	t.Run("no server ever says what became of it", func(t *testing.T) {
		o := quick()
		o.Patience = time.Second
		r := newRig(t, c, o)
		p := r.through()
		p.answers.Store(true)
		err := r.append("a")
		if err == nil || errors.Is(err, storage.ErrNotStored) || errors.Is(err, storage.ErrFenced) || errors.Is(err, storage.ErrFull) {
			t.Fatalf("the outcome is not known: %v", err)
		}
		p.answers.Store(false)
		if err := r.append("b"); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("after an unknown outcome: %v", err)
		}
		r.has("over the proxy", "a")
	})
}

func TestCommitsSurviveTheirServer(t *testing.T) {
	c := pgtest.Start(t)
	t.Run("it crashes and comes back", func(t *testing.T) {
		r := newRig(t, c, quick())
		board := condition.New(r.options.Log)
		r.options.Conditions = board
		if err := r.append("a"); err != nil {
			t.Fatal(err)
		}
		c.Stop()
		// The first is sent on a connection that has just ended, so it waits to be told. Without a
		// connection nothing is sent, so it is known that nothing is stored.
		done := r.start("b")
		until(t, "the broker is not ready", func() bool { return len(board.List()) == 1 && board.List()[0].NotReady })
		c.Go(t)
		if err := <-done; err != nil && !errors.Is(err, storage.ErrNotStored) {
			t.Fatal(err)
		} else if err != nil {
			if err := r.append("b"); err != nil {
				t.Fatal(err)
			}
		}
		if list := board.List(); len(list) != 0 {
			t.Fatalf("the database is back, and %v", list)
		}
		r.has("a", "b")
	})
	t.Run("it is away for longer", func(t *testing.T) {
		r := newRig(t, c, quick())
		r.beside.leave()
		c.Stop()
		r.writer.drop()
		r.writer = nil // as Maintain finds out
		if err := r.append("a"); !errors.Is(err, storage.ErrNotStored) || errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("without a server: %v", err)
		}
		if _, err := r.Read(context.Background(), r.topic, 0, storage.Page{Rows: 1}, nil); err != nil {
			t.Fatal(err) // an empty topic has nothing to be read
		}
		if _, err := r.Audit(context.Background(), 0, 1); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("read without a server: %v", err)
		}
		c.Go(t)
		until(t, "it is stored", func() bool { return r.append("b") == nil })
		r.has("b")
	})
	t.Run("it is frozen", func(t *testing.T) {
		r := newRig(t, c, quick())
		if err := r.append("a"); err != nil {
			t.Fatal(err)
		}
		r.options.ReadTimeout = 200 * time.Millisecond
		thaw := c.Freeze(t)
		defer thaw()
		if _, err := r.Audit(context.Background(), 0, 1); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("read from a frozen server: %v", err)
		}
		done := r.start("b")
		select {
		case err := <-done:
			t.Fatalf("while the server is frozen: %v", err)
		case <-time.After(2 * r.options.CommitTimeout):
		}
		thaw()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.has("a", "b")
	})
}

// A commit whose wait for a standby was cancelled is not answered before it is replicated.
func TestUnreplicatedIsNotStored(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{CommitTimeout: time.Minute})
	standby := func(name string) {
		c.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '"+name+"'")
		c.SQL(t, "postgres", "SELECT pg_reload_conf()")
		until(t, "the setting holds", func() bool { return r.beside.must(t, "SHOW synchronous_standby_names")[0][0] == name })
	}
	standby("ghost")
	waiting := func() string {
		rows := r.beside.must(t, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()")
		if len(rows) == 0 {
			return ""
		}
		return rows[0][0]
	}
	var stored []string // before the server knew of the setting
	next := func() chan error {
		stored = append(stored, fmt.Sprint(len(stored)))
		return r.start(stored[len(stored)-1])
	}
	done, first := next(), ""
	until(t, "a commit waits for a standby", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			done = next()
		default:
		}
		first = waiting()
		return first != ""
	})
	r.beside.must(t, "SELECT pg_cancel_backend($1)", first)
	until(t, "the store asks what became of it, and waits again", func() bool {
		now := waiting()
		return now != "" && now != first
	})
	select {
	case err := <-done:
		t.Fatalf("answered, and no standby has it: %v", err)
	default:
	}
	standby("")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.has(stored...)
}

// A database that has lost what it has confirmed stops the broker.
func TestHistoryThatGoesBackStopsTheStore(t *testing.T) {
	c := pgtest.Start(t)
	for name, change := range map[string]string{
		"transactions": "UPDATE brokers SET seq = seq - 1",
		"generation":   "UPDATE identity SET generation = generation - 1",
		"ahead":        "UPDATE brokers SET seq = seq + 7",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c, quick())
			if err := r.append("a"); err != nil {
				t.Fatal(err)
			}
			r.beside.must(t, change)
			r.beside.must(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", application(r.holder, writerRole))
			err := r.append("b")
			if !errors.Is(err, errLost) || errors.Is(err, storage.ErrNotStored) {
				t.Fatalf("commit: %v", err)
			}
			if err := r.append("c"); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("commit after that: %v", err)
			}
			r.has("a")
			if _, err := r.Audit(context.Background(), 0, 1); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("read from a store that is closed: %v", err)
			}
		})
	}
}

// With relaxed durability a loss that it allows does not stop the broker for good.
func TestRelaxedHistoryMayGoBack(t *testing.T) {
	c := pgtest.Start(t)
	o := quick()
	o.Relaxed = true
	r := newRig(t, c, o)
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	r.beside.must(t, "UPDATE brokers SET seq = seq - 1")
	r.beside.must(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", application(r.holder, writerRole))
	if err := r.append("b"); !errors.Is(err, errCrashed) || errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrNotStored) {
		t.Fatalf("commit: %v", err)
	}
	if err := r.append("c"); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("commit after that: %v", err)
	}
	r.has("a")
}

func TestTablesThatWereChanged(t *testing.T) {
	c := pgtest.Start(t)
	t.Run("a column is missing", func(t *testing.T) {
		r := newRig(t, c, quick())
		r.beside.must(t, "ALTER TABLE blocks DROP COLUMN meta")
		if err := r.append("a"); !errors.Is(err, errForeign) {
			t.Fatalf("commit: %v", err)
		}
	})
	t.Run("a schema is newer", func(t *testing.T) {
		r := newRig(t, c, quick())
		_ = r.Close()
		r.beside.must(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (1000, true)")
		if s, err := Open(context.Background(), Options{URL: r.url}); !errors.Is(err, storage.ErrForeign) {
			t.Fatalf("open: %v, %v", s, err)
		}
	})
	t.Run("the end of a log is gone", func(t *testing.T) {
		r := newRig(t, c, quick())
		if err := r.append("a"); err != nil {
			t.Fatal(err)
		}
		if errs, err := r.Commit([]storage.Op{&storage.Append{Topic: r.topic, Records: make([]storage.Record, 3)}, &storage.Trim{Topic: r.topic, First: 1, Bytes: 2}}); err != nil || errs[1] != nil {
			t.Fatal(errs, err)
		}
		_ = r.Close()
		r.beside.must(t, "DELETE FROM blocks WHERE first > 0")
		if s, err := Open(context.Background(), Options{URL: r.url}); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("open: %v, %v", s, err)
		}
	})
}

// A server that was the first one before a failover may still answer, or again, and lacks what was stored
// since.
func TestReadsAreNotOfAServerThatWasLeftBehind(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{})
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	twin := c.Twin(t)
	d, err := newDialer(c.URL(pgtest.Name(r.url), twin), false)
	if err != nil {
		t.Fatal(err)
	}
	r.dialer = d
	c.Stop()
	if err := r.append("b"); err != nil {
		t.Fatal(err)
	}
	c.Go(t)
	// The broker may have claimed its lease there as well, which was not replicated.
	c.SQL(t, pgtest.Name(r.url), "UPDATE brokers SET epoch = epoch + 1")
	rs, err := r.Read(context.Background(), r.topic, 0, storage.Page{Rows: 9}, nil)
	if err != nil || len(rs) != 2 || rs[1].ID != "b" {
		t.Fatalf("read: %+v, %v", rs, err)
	}
}

// Warnings that have nothing to do with a commit do not count as one that it was not replicated.
func TestWarningsOfOtherThings(t *testing.T) {
	c := pgtest.Start(t)
	c.SQL(t, "postgres", "CREATE DATABASE warned TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
	// As after an upgrade of the system: each session begins with a warning 01000.
	c.SQL(t, "postgres", "UPDATE pg_database SET datcollversion = '1' WHERE datname = 'warned'")
	s := mustOpen(t, Options{URL: c.URL("warned")})
	if _, err := s.Commit([]storage.Op{&storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}}); err != nil {
		t.Fatal(err)
	}
}
