package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rushmore/zbus-go/internal/storage"
)

// shape is what a ticket holds. It follows from the ticket's number, so that
// parent and child agree on every byte.
type shape struct {
	topic, rows, size int
	alone             bool // nothing is submitted before it is answered
}

func shapeOf(ticket int64) shape {
	n := int(ticket)
	s := shape{topic: n % cutTopics, rows: 1 + n%3, size: n * 37 % 7000}
	switch phase := n % 80; {
	case phase < 10:
		s.alone = true
	case phase >= 50:
		s.rows, s.size = 1+n*29%97, n*211%900
	}
	return s
}

// records are a ticket's messages. No two records of a ledger have the same body,
// so that old content in the wrong place is noticed.
func (s shape) records(ticket int64) []storage.Record {
	rs := make([]storage.Record, s.rows)
	for i := range rs {
		random := rand.NewPCG(uint64(ticket), uint64(i))
		body := make([]byte, 0, s.size+8)
		for len(body) < s.size {
			body = binary.LittleEndian.AppendUint64(body, random.Uint64())
		}
		rs[i] = storage.Record{ID: fmt.Sprint(ticket, ".", i), Body: body[:s.size]}
	}
	return rs
}

// newLedger replaces the database by one with empty topics and a group in each.
func newLedger(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"", markSuffix} {
		if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, Options{Path: path})
	for i := range cutTopics {
		topic := addTopic(t, s, fmt.Sprint("t", i))
		mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: "g"}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkLedger opens the database, makes sure that it holds the tickets from 0 to
// some number, each one whole and nothing else, and returns that number, and how many
// rows of fresh messages there are.
func checkLedger(t *testing.T, path string) (stored, fresh int64) {
	t.Helper()
	s := mustOpen(t, Options{Path: path})
	fresh = count(t, s, "SELECT count(*) FROM fresh")
	state, err := s.Load(context.Background())
	if err != nil || len(state.Topics) != cutTopics || len(state.Groups) != cutTopics {
		t.Fatalf("state %+v, %v", state, err)
	}
	var next, cursor [cutTopics]int64
	var got []storage.Record
	for ; ; stored++ {
		shape := shapeOf(stored)
		at := next[shape.topic]
		got, err = s.Read(context.Background(), state.Topics[shape.topic].ID, at, storage.Page{Rows: shape.rows}, got[:0])
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		compareRecords(t, stored, at, got, shape.records(stored))
		cursor[shape.topic], next[shape.topic] = at, at+int64(shape.rows)
	}
	for i := range cutTopics {
		if topic := state.Topics[i]; topic.First != 0 || topic.Next != next[i] {
			t.Fatalf("after ticket %d topic %d is [%d, %d), want [0, %d)", stored-1, i, topic.First, topic.Next, next[i])
		}
		if group := state.Groups[i]; group.Topic != state.Topics[i].ID || group.Cursor != cursor[i] {
			t.Fatalf("after ticket %d group %d is at %d, want %d", stored-1, i, group.Cursor, cursor[i])
		}
	}
	err = s.read(context.Background(), func(c *conn) error {
		found, err := c.value("PRAGMA integrity_check(1)")
		if err == nil && found != "ok" {
			err = fmt.Errorf("integrity check: %v", found)
		}
		return err
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stored, fresh
}

func compareRecords(t *testing.T, ticket, at int64, got, want []storage.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("ticket %d: %d of its %d messages are stored", ticket, len(got), len(want))
	}
	for i, r := range got {
		if r.Damaged() || r.Offset != at+int64(i) || r.ID != want[i].ID || !bytes.Equal(r.Body, want[i].Body) {
			t.Fatalf("ticket %d, message %d is at %d with id %s and %d bytes (damaged: %v), want it at %d with id %s and %d bytes",
				ticket, i, r.Offset, r.ID, len(r.Body), r.Damaged(), at+int64(i), want[i].ID, len(want[i].Body))
		}
	}
}

// answer says when a ticket was answered.
type answer struct {
	ticket int64
	at     time.Duration // by the clock that all processes share
}

// answerSize is what an answer takes in the pipe, which never tears so little.
const answerSize = 16

func (a answer) bytes() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(a.ticket))
	return binary.LittleEndian.AppendUint64(b, uint64(a.at))
}

func parseAnswer(b [answerSize]byte) answer {
	return answer{int64(binary.LittleEndian.Uint64(b[:])), time.Duration(binary.LittleEndian.Uint64(b[8:]))}
}

func sharedClock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // cannot happen: Linux always has this clock
	}
	return time.Duration(now.Nano())
}

// unsynced is the store that the test has to find out.
type unsynced struct{ *Store }

func (unsynced) Sync() error { return nil }

// plan is what a writer is told.
type plan struct {
	mode  string // "fsync", "relaxed" or "unsynced"
	first int64  // ticket
	load
}

// load says how a writer writes.
type load struct {
	frames int           // in the log to begin with
	pace   time.Duration // between two tickets; 0 means as fast as it goes
}

func (p plan) String() string { return fmt.Sprintln(p.mode, p.first, p.frames, int64(p.pace)) }

func parsePlan(s string) (p plan, err error) {
	if _, err = fmt.Sscan(s, &p.mode, &p.first, &p.frames, (*int64)(&p.pace)); err != nil {
		err = fmt.Errorf("plan %q: %w", s, err)
	}
	return p, err
}

// writeUntilCut submits tickets until the store fails, and writes to file 3 what
// was answered.
func writeUntilCut(path, plan string) error {
	p, err := parsePlan(plan)
	if err != nil {
		return err
	}
	o := Options{Path: path, SyncInterval: cutInterval, PlainIO: plainIO(), fresh: killLimits()}
	if p.mode == "relaxed" {
		o.Durability = Relaxed
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	state, err := s.Load(context.Background())
	if err != nil {
		return err
	}
	if err := lengthenLog(s, state.Groups[0], p.frames); err != nil {
		return err
	}
	var store storage.Store = s
	if p.mode == "unsynced" {
		store = unsynced{s}
	}
	w := storage.NewWriter(store, storage.WriterLimits{Upkeep: cutInterval})
	go submitTickets(w, state, p)
	return w.Run(context.Background())
}

// lengthenLog writes the same pages to the log again and again, so that it is due
// to start again soon although the database is small.
func lengthenLog(s *Store, g storage.Group, frames int) error {
	wide := g
	for i := 0; size(s.options.Path+"-wal") < int64(frames)*(4096+24); i++ {
		wide.Filter = strings.Repeat(string('a'+rune(i%2)), 400<<10)
		for _, g := range []*storage.Group{&wide, &g} {
			errs, err := s.Commit([]storage.Op{&storage.AlterGroup{Group: g}})
			if err = errors.Join(append(errs, err)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// submitTickets keeps the writer busy until it takes nothing more.
func submitTickets(w *storage.Writer, state storage.State, p plan) {
	report := os.NewFile(3, "report")
	var pace <-chan time.Time
	if p.pace > 0 {
		pace = time.Tick(p.pace)
	}
	inFlight := make(chan struct{}, 8)
	var next [cutTopics]int64
	for i := range next {
		next[i] = state.Topics[i].Next
	}
	for number := p.first; ; number++ {
		shape := shapeOf(number)
		answered := make(chan struct{})
		ticket := shape.ticket(number, state, next[shape.topic])
		ticket.Done = func(t *storage.Ticket) {
			if t.Errs[0] == nil && t.Errs[1] == nil {
				if _, err := report.Write(answer{number, sharedClock()}.bytes()); err != nil {
					os.Exit(1) // nobody listens
				}
			}
			close(answered)
			<-inFlight
		}
		inFlight <- struct{}{}
		if err := w.Submit(ticket); err != nil {
			return
		}
		next[shape.topic] += int64(shape.rows)
		if shape.alone {
			<-answered
		}
		if pace != nil {
			<-pace
		}
	}
}

// ticket appends the records and puts the topic's group where they begin.
func (s shape) ticket(number int64, state storage.State, at int64) *storage.Ticket {
	return &storage.Ticket{
		Ops: []storage.Op{
			&storage.Append{Topic: state.Topics[s.topic].ID, Records: s.records(number)},
			&storage.SaveProgress{Group: state.Groups[s.topic].ID, Position: storage.Progress{Cursor: at, Read: at}},
		},
		Bytes: int64(s.rows * s.size),
	}
}
