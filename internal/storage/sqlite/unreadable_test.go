package sqlite

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A page of the messages that makes no sense costs the messages that it leads to, and
// nothing else: they are read as damage, and retention passes over them.
func TestPagesThatCannotBeReadCostTheirMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	topic, other := addTopic(t, s, "t"), addTopic(t, s, "other")
	var all []storage.Record
	for range 40 {
		rs := messages(10, 100)
		mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
		all = append(all, rs...)
	}
	mustCommit(t, s, &storage.Append{Topic: other, Records: messages(10, 100)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for page, leaf := range pagesOf(t, path, "blocks") {
		lost := int64(20) // the blocks of a leaf
		if !leaf {
			lost = int64(len(all))
		}
		for name, garbage := range map[string][]byte{"zeros": make([]byte, 4096), "noise": bytes.Repeat([]byte{0xa7, 0x13}, 2048)} {
			t.Run(fmt.Sprint(page, name), func(t *testing.T) {
				damaged := filepath.Join(t.TempDir(), "zbus.db")
				copyFile(t, path, damaged)
				overwrite(t, damaged, (page-1)*4096, garbage)
				s, err := Open(t.Context(), Options{Path: damaged})
				if err != nil {
					refused++
					return
				}
				t.Cleanup(func() { _ = s.Close() })
				for _, rows := range []int{1, 7, 1000} {
					for from := int64(0); from <= int64(len(all)); from += 60 {
						checkLog(t, s, topic, from, rows, all, lost)
					}
				}
				mustCommit(t, s, &storage.Trim{Topic: topic, First: int64(len(all))})
				mustCommit(t, s, &storage.Purge{Limit: 1000})
			})
		}
	}
	if refused != 6 { // each of the root and the leaves where the two topics end, where nothing could be added
		t.Errorf("%d of the databases were refused, want 6", refused)
	}
}

// pagesOf lists the pages of a table's tree, and which of them are leaves.
func pagesOf(t *testing.T, path, table string) (leaf map[int64]bool) {
	t.Helper()
	leaf = map[int64]bool{}
	c, err := open(readerSetup(Options{Path: path}.withDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	for row, err := range c.ask("SELECT pageno, pagetype FROM dbstat WHERE name = '" + table + "' AND pagetype <> 'overflow'") {
		if err != nil {
			t.Fatal(err)
		}
		leaf[integer(row[0])] = text(row[1]) == "leaf"
	}
	return leaf
}
