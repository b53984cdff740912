package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sqlite "modernc.org/sqlite"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// writerPath, when set, makes the test binary the process that is killed. writerMode has
// it sync, too, as a broker does: "fsync" or "relaxed".
const (
	writerPath = "ZBUS_TEST_WRITER_PATH"
	writerMode = "ZBUS_TEST_WRITER_MODE"
)

func TestMain(m *testing.M) {
	if _, err := sqlite.OFDLocking(true); err != nil { // as the broker does
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if path := os.Getenv(writerPath); path != "" {
		err := writeForEver(path, os.Getenv(writerMode))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killTopics get messages; the group is that of the first.
const killTopics = 9

// killLimits have pieces merged all the time, a few topics at a time.
func killLimits() freshLimits {
	return freshLimits{bytes: 8 << 10, most: 48 << 10, age: time.Hour, step: 6 << 10}
}

// writeForEver commits batches and prints after each what must not be lost: the
// group's cursor and the next offsets.
func writeForEver(path, mode string) error {
	o := Options{Path: path, fresh: killLimits(), PlainIO: plainIO()}
	if mode == Relaxed.String() {
		o.Durability, o.SyncInterval = Relaxed, 20*time.Millisecond
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	state, err := s.Load(context.Background())
	if err != nil {
		return err
	}
	next := make([]int64, killTopics)
	for i := range next {
		next[i] = state.Topics[i].Next
	}
	group := state.Groups[0].ID
	for {
		cursor := next[0]
		ops := appendSome(state, next)
		ops = append(ops, &storage.SaveProgress{Group: group, Position: storage.Progress{Cursor: cursor, Read: cursor}})
		errs, err := s.Commit(ops)
		if err = errors.Join(append(errs, err)...); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		if mode != "" {
			if err := s.Sync(); err != nil {
				return err
			}
		}
		fmt.Println(cursor, strings.Trim(fmt.Sprint(next), "[]"))
		if err := s.Maintain(); err != nil {
			return err
		}
	}
}

// appendSome appends many messages to one topic and few to most others, and moves
// next on.
func appendSome(state storage.State, next []int64) (ops []storage.Op) {
	many := rand.IntN(3 * killTopics)
	for i := range next {
		n := rand.IntN(3)
		if i == many {
			n = 1 + rand.IntN(70)
		}
		rs := make([]storage.Record, n)
		for k := range rs {
			rs[k].Body = bodyOf(next[i] + int64(k))
		}
		ops = append(ops, &storage.Append{Topic: state.Topics[i].ID, Records: rs})
		next[i] += int64(n)
	}
	return ops
}

func bodyOf(offset int64) []byte {
	return fmt.Appendf(nil, "body %d %0*d", offset, int(offset%700), offset)
}

// killTopicsIn makes the database that is written to.
func killTopicsIn(t *testing.T, path string) {
	t.Helper()
	s := mustOpen(t, Options{Path: path})
	for i := range killTopics {
		addTopic(t, s, fmt.Sprint("t", i))
	}
	mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: 1, Name: "g"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKilledProcessLosesNothingCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	killTopicsIn(t, path)
	var checked [killTopics]int64
	merged := int64(0)
	for range faultreport.ScaleAlways(t, 8, 200) {
		cursor, next := killedWriter(t, path, "", 1+rand.IntN(60))
		s := mustOpen(t, Options{Path: path, fresh: killLimits(), PlainIO: plainIO()})
		state, err := s.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got, end := state.Groups[0].Cursor, state.Topics[0].Next; got < cursor || got > end {
			t.Fatalf("the group is at %d of %d, committed was %d", got, end, cursor)
		}
		for i := range checked {
			if end := state.Topics[i].Next; end < next[i] {
				t.Fatalf("topic %d is stored up to %d, committed was %d", i, end, next[i])
			}
			checkBodies(t, s, state.Topics[i], &checked[i])
		}
		merged += count(t, s, "SELECT count(*) FROM blocks WHERE n < 8 AND n > 2")
		checkCatalog(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages a topic, %d merged blocks", checked, merged)
	if merged == 0 {
		t.Error("nothing was merged")
	}
}

// checkBodies reads a topic from an offset to its end, and moves that on.
func checkBodies(t *testing.T, s *Store, topic storage.Topic, checked *int64) {
	t.Helper()
	rs, err := s.Read(context.Background(), topic.ID, *checked, storage.Page{Rows: 1 << 20}, nil)
	if err != nil || *checked+int64(len(rs)) != topic.Next {
		t.Fatalf("topic %d: %d messages from %d, want up to %d; %v", topic.ID, len(rs), *checked, topic.Next, err)
	}
	for _, r := range rs {
		if r.Offset != *checked || string(r.Body) != string(bodyOf(*checked)) {
			t.Fatalf("topic %d, message %d: %+v", topic.ID, *checked, r)
		}
		*checked++
	}
}

// killedWriter runs a writer, kills it in the middle of its work, after so many lines, and
// returns the last that it printed.
func killedWriter(t *testing.T, path, mode string, left int) (cursor int64, next [killTopics]int64) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), writerPath+"="+path, writerMode+"="+mode)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for ; lines.Scan(); left-- {
		if left == 0 {
			_ = c.Process.Kill() // what was printed until then counts as well
		}
		var g int64
		var n [killTopics]int64
		fields := []any{&g}
		for i := range n {
			fields = append(fields, &n[i])
		}
		if _, err := fmt.Sscan(lines.Text(), fields...); err != nil {
			break // a line cut short
		}
		cursor, next = g, n
	}
	if c.Wait() == nil || next == [killTopics]int64{} {
		t.Fatalf("writer ended by itself, at %d", next)
	}
	return cursor, next
}
