package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// smallDatabase has two topics with 60 messages and two groups, in blocks, in
// contents and fresh, and is closed.
func smallDatabase(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path, fresh: limitsOfFresh["fresh forever"]})
	a, b := addTopic(t, s, "orders"), addTopic(t, s, "clicks")
	mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: a, Name: "billing", Filter: "tag"}},
		&storage.CreateGroup{Group: &storage.Group{Topic: b, Name: "clicks"}})
	for range 2 {
		mustCommit(t, s, &storage.Append{Topic: a, Records: messages(20, 300)})
	}
	for range 10 {
		mustCommit(t, s, &storage.Append{Topic: a, Records: messages(2, 300)}, &storage.Append{Topic: b, Records: messages(6, 50)})
	}
	mustCommit(t, s, &storage.Append{Topic: b, Records: messages(1, 1<<17)}) // merges what is fresh of it
	mustCommit(t, s, &storage.SaveProgress{
		Group: 1, Position: storage.Progress{Cursor: 10, Read: 20, Settled: storage.Ranges{{Lo: 12, Hi: 14}}},
		Park: []storage.Parked{{Group: 1, Offset: 15, Count: 2, Due: 1, Cause: "nack"}},
	}, &storage.SaveClock{Clock: storage.Clock{Boot: "b", Since: 1, Last: 2}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustVerify(t *testing.T, path string) Report {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), path, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the file has changed, %v", err)
	}
	return r
}

func TestVerifyFindsNothingInASoundDatabase(t *testing.T) {
	r := mustVerify(t, smallDatabase(t))
	want := "[{orders 0 60 60 0 1} {clicks 0 61 61 0 1}]"
	if !r.Sound() || fmt.Sprint(r.Topics) != want || r.Messages != 121 || r.Damaged != 0 || r.Bytes < 1<<17 {
		t.Errorf("%+v, want %s", r, want)
	}
}

func TestVerifySaysWhatIsDamaged(t *testing.T) {
	orders := func(offset int64) int64 { return keyOf(1, offset) }
	for sql, want := range map[string]Finding{
		fmt.Sprintf("DELETE FROM blocks WHERE key = %d", orders(20)):                               {Kind: FoundMissing, Topic: "orders", From: 20, To: 40},
		fmt.Sprintf("UPDATE blocks SET bodies = randomblob(6000) WHERE key = %d", orders(0)):       {Kind: FoundDamaged, Topic: "orders", From: 0, To: 20},
		"UPDATE contents SET meta = x'0b' WHERE id = (SELECT contents FROM blocks WHERE contents)": {Kind: FoundMissing, Topic: "clicks", From: 0, To: 60},
		"UPDATE groups SET cursor = 999, read = 999, settled = '' WHERE id = 2":                    {Kind: FoundTopic, Topic: "clicks"},
		"UPDATE clock SET since = since + (1 << 40)":                                               {Kind: FoundStructure},
		"INSERT INTO history VALUES (1, 1, 0, 0, 1, x'00', 5)":                                     {Kind: FoundStructure},
		"DELETE FROM topics WHERE id = 2":                                                          {Kind: FoundStructure},
	} {
		path := smallDatabase(t)
		c, err := open(writerSetup(Options{Path: path}.withDefaults()))
		if err == nil {
			err = errors.Join(c.run(sql), c.close())
		}
		if err != nil {
			t.Fatal(err)
		}
		r := mustVerify(t, path)
		found := false
		for _, f := range r.Findings {
			f.Text = ""
			found = found || f == want
		}
		if !found || r.Sound() {
			t.Errorf("%s: found %+v, want %+v", sql, r.Findings, want)
		}
	}
}

func TestVerifyReadsWhatAKilledBrokerLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(30, 20)})
	killed := filepath.Join(t.TempDir(), "zbus.db")
	copyFile(t, path, killed)
	copyFile(t, path+"-wal", killed+"-wal")
	if r := mustVerify(t, killed); !r.Sound() || r.Messages != 30 {
		t.Errorf("%+v", r)
	}
}

func TestVerifyRefusesWhatItDoesNotKnow(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if _, err := Verify(ctx, filepath.Join(dir, "none"), VerifyOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("text ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(ctx, text, VerifyOptions{}); err != nil || r.Sound() {
		t.Errorf("a text: %+v, %v", r, err)
	}
	path := smallDatabase(t)
	overwrite(t, path, 68, []byte{1, 2, 3, 4}) // the application id
	if _, err := Verify(ctx, path, VerifyOptions{}); !errors.Is(err, storage.ErrForeign) {
		t.Errorf("of another program: %v", err)
	}
}
