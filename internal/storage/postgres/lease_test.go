package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// dialFor creates a connection beside those of a store.
func dialFor(t *testing.T, url string) *conn {
	t.Helper()
	d, err := newDialer(url, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.dial(context.Background(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.leave() })
	return c
}

// must runs a statement.
func (c *conn) must(t *testing.T, sql string, args ...any) [][]string {
	t.Helper()
	rows, err := c.query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// until waits for something that another process does.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// ending ends the lease of its holder while a commit runs: it has the row locked, and incremented
// by the time that the commit gets it.
func ending(t *testing.T, url string) func(commit func()) {
	return func(commit func()) {
		c := dialFor(t, url)
		c.must(t, "BEGIN")
		c.must(t, "UPDATE brokers SET holder = '', epoch = epoch + 1")
		done := make(chan struct{})
		go func() {
			defer close(done)
			commit()
		}()
		until(t, "the commit waits", func() bool {
			return c.must(t, "SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] != "0"
		})
		c.must(t, "COMMIT")
		<-done
	}
}

// What has to hold of leases, for brokers of one name and of two.
func TestStoreKeepsTheContractOfLeases(t *testing.T) {
	c := pgtest.Start(t)
	empty := emptyDatabase(t, c)
	for name, nodes := range map[string][2]string{"one node": {"a", "a"}, "two nodes": {"a", "b"}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunShared(t, func(t *testing.T) storetest.SharedPlace {
				url, opened := c.Copy(t, empty), 0
				open := func(lease time.Duration) (storage.Store, error) {
					o := Options{URL: url, Node: nodes[opened%2], lease: lease, beat: time.Hour}
					opened++
					s, err := Open(context.Background(), o)
					if err != nil {
						return nil, err
					}
					t.Cleanup(func() { _ = s.Close() })
					return s, nil
				}
				return storetest.SharedPlace{
					Open: func() (storage.Store, error) {
						// The holder of the lease shows signs of life.
						alive := dialFor(t, url)
						ctx, stop := context.WithCancel(context.Background())
						beating := make(chan struct{})
						go func() {
							defer close(beating)
							for ctx.Err() == nil {
								_, _ = alive.query(context.Background(), "UPDATE brokers SET seen = clock_timestamp() WHERE holder <> ''")
								time.Sleep(5 * time.Millisecond)
							}
						}()
						defer func() {
							stop()
							<-beating
						}()
						return open(time.Minute)
					},
					Take: func() storage.Store {
						s, err := open(time.Nanosecond)
						if err != nil {
							t.Fatal(err)
						}
						return s
					},
					During: ending(t, url),
				}
			})
		})
	}
}

// A broker that does nothing shows that it is there, and is not taken for dead.
func TestIdleBrokerKeepsItsLease(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	s := mustOpen(t, Options{URL: url, Node: "a", beat: time.Millisecond})
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(5 * time.Millisecond):
				if err := s.Maintain(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	_, err := Open(context.Background(), Options{URL: url, Node: "b", lease: time.Minute})
	if !errors.Is(err, storage.ErrInUse) || !strings.Contains(err.Error(), `"a"`) {
		t.Fatalf("a second broker: %v", err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Fenced, it notices even when it has nothing to store.
	mustOpen(t, Options{URL: url, Node: "b", lease: time.Nanosecond})
	until(t, "the broker notices that its lease has ended", func() bool {
		err := s.Maintain()
		if err != nil && !errors.Is(err, storage.ErrFenced) {
			t.Fatalf("without a lease: %v", err)
		}
		return err != nil
	})
}

// rig is a store with one topic.
type rig struct {
	*testing.T
	*Store
	c      *pgtest.Cluster
	url    string
	beside *conn
	log    bytes.Buffer
	topic  storage.TopicID
}

func newRig(t *testing.T, c *pgtest.Cluster, o Options) *rig {
	r := &rig{T: t, c: c, url: c.Database(t)}
	o.URL, o.Node, o.Log = r.url, "a", slog.New(slog.NewTextHandler(&r.log, nil))
	r.Store = mustOpen(t, o)
	r.beside = dialFor(t, r.url)
	create := &storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}
	if errs, err := r.Commit([]storage.Op{create}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	r.topic = create.Topic.ID
	return r
}

// append commits one message.
func (r *rig) append(id string) error {
	errs, err := r.Commit([]storage.Op{&storage.Append{Topic: r.topic, Records: []storage.Record{{ID: id, Body: []byte(id)}}}})
	if err == nil {
		err = errs[0]
	}
	return err
}

// ids are those that the log has, read by a store of its own after this one has ended.
func (r *rig) ids() (ids []string) {
	r.Helper()
	_ = r.Close()
	again := mustOpen(r.T, Options{URL: r.url, Node: "b", lease: time.Nanosecond})
	defer func() { _ = again.Close() }()
	rs, err := again.Read(context.Background(), r.topic, 0, storage.Page{Rows: 1 << 20}, nil)
	if err != nil {
		r.Fatal(err)
	}
	for i, m := range rs {
		if m.Offset != int64(i) || string(m.Body) != m.ID {
			r.Fatalf("message %d: %+v", i, m)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

// has fails the test unless the log has exactly these.
func (r *rig) has(want ...string) {
	r.Helper()
	if got := r.ids(); strings.Join(got, " ") != strings.Join(want, " ") {
		r.Fatalf("the log has %v, want %v", got, want)
	}
}
