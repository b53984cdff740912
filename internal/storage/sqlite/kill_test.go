package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// writerPath, when set, makes the test binary the process that is killed.
const writerPath = "ZBUS_TEST_WRITER_PATH"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		err := writeForEver(path)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver commits batches and prints after each what must not be lost: the
// next offset and the group's cursor.
func writeForEver(path string) error {
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		return err
	}
	state, err := s.Load(context.Background())
	if err != nil {
		return err
	}
	next, topic, group := state.Topics[0].Next, state.Topics[0].ID, state.Groups[0].ID
	for {
		n := 1 + rand.IntN(70)
		rs := make([]storage.Record, n)
		for i := range rs {
			rs[i].Body = bodyOf(next + int64(i))
		}
		ops := []storage.Op{
			&storage.Append{Topic: topic, Records: rs},
			&storage.SaveProgress{Group: group, Place: storage.Progress{Cursor: next, Read: next}},
		}
		errs, err := s.Commit(ops)
		if err != nil || errs[0] != nil || errs[1] != nil {
			return fmt.Errorf("commit: %v, %w", errs, err)
		}
		next += int64(n)
		fmt.Println(next, next-int64(n))
		if err := s.Maintain(); err != nil {
			return err
		}
	}
}

func bodyOf(offset int64) []byte {
	return fmt.Appendf(nil, "body %d %0*d", offset, int(offset%700), offset)
}

func TestKilledProcessLosesNothingCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: "g"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var checked int64
	for range 20 {
		next, cursor := killedWriter(t, path)
		s := mustOpen(t, Options{Path: path})
		state, err := s.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		end := state.Topics[0].Next
		if got := state.Groups[0].Cursor; end < next || got < cursor || got > end {
			t.Fatalf("stored up to %d with the group at %d, committed were %d and %d", end, got, next, cursor)
		}
		rs, err := s.Read(context.Background(), topic, checked, storage.Page{Rows: 1 << 20}, nil)
		if err != nil || checked+int64(len(rs)) != end {
			t.Fatalf("%d messages from %d, want up to %d; %v", len(rs), checked, end, err)
		}
		for _, r := range rs {
			if r.Offset != checked || string(r.Body) != string(bodyOf(checked)) {
				t.Fatalf("message %d: %+v", checked, r)
			}
			checked++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages", checked)
}

// killedWriter runs a writer, kills it in the middle of its work and returns
// the last that it printed.
func killedWriter(t *testing.T, path string) (next, cursor int64) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), writerPath+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for left := 1 + rand.IntN(60); lines.Scan(); left-- {
		if left == 0 {
			_ = c.Process.Kill() // what was printed meanwhile counts as well
		}
		var n, g int64
		if _, err := fmt.Sscan(lines.Text(), &n, &g); err != nil {
			break // a line cut short
		}
		next, cursor = n, g
	}
	if c.Wait() == nil || next == 0 {
		t.Fatalf("writer ended by itself, at %d", next)
	}
	return next, cursor
}
