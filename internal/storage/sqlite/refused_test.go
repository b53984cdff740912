package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestRefusedFilesStayAsTheyAre(t *testing.T) {
	garbage := bytes.Repeat([]byte("\xde\xad\xbe\xef"), 4096)
	for _, c := range []struct {
		name string
		want error
		make func(t *testing.T) string
	}{
		{"empty", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			truncate(t, path, 0)
			return path
		}},
		{"shorter than a header", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			truncate(t, path, 11)
			return path
		}},
		{"cut within the header", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			truncate(t, path, 60)
			return path
		}},
		{"cut at a page", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			truncate(t, path, size(path)/4096/2*4096)
			return path
		}},
		{"garbage", storage.ErrDamaged, func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "zbus.db")
			if err := os.WriteFile(path, garbage, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"garbage behind the magic", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			overwrite(t, path, 16, garbage[:100])
			return path
		}},
		{"damaged page after an unclean stop", storage.ErrDamaged, func(t *testing.T) string {
			path := uncleanCopy(t)
			overwrite(t, path, size(path)-3*4096, garbage[:4096])
			return path
		}},
		{"cut after an unclean stop", storage.ErrDamaged, func(t *testing.T) string {
			path := uncleanCopy(t)
			truncate(t, path, size(path)-10*4096)
			return path
		}},
		{"log without its database", storage.ErrDamaged, func(t *testing.T) string {
			path := uncleanCopy(t)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"somebody else's database", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "PRAGMA application_id = 1")
			return path
		}},
		{"newer schema", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
			return path
		}},
		{"schema without blocks", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "DROP TABLE blocks")
			return path
		}},
		{"trigger", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "CREATE TRIGGER eat AFTER INSERT ON blocks BEGIN DELETE FROM blocks; END")
			return path
		}},
		{"view", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "CREATE VIEW mine AS SELECT * FROM topics")
			return path
		}},
		{"view in the place of ours", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "DROP VIEW topic_view", "CREATE VIEW topic_view AS SELECT * FROM topics")
			return path
		}},
		{"index", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "CREATE INDEX mine ON topics (creator)")
			return path
		}},
		{"table", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "CREATE TABLE mine (x)")
			return path
		}},
		{"missing index", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "DROP INDEX cursor_journal_by_group")
			return path
		}},
		{"column", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "ALTER TABLE topics ADD COLUMN mine INTEGER")
			return path
		}},
		{"trigger after an unclean stop", storage.ErrForeign, func(t *testing.T) string {
			path := cleanFile(t)
			c, err := open(writerSetup(Options{Path: path}.withDefaults()))
			if err == nil {
				err = c.run("CREATE TRIGGER eat AFTER INSERT ON blocks BEGIN DELETE FROM blocks; END")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.close() }()
			unclean := filepath.Join(t.TempDir(), "copy.db")
			for _, suffix := range []string{"", "-wal"} {
				copyFile(t, path+suffix, unclean+suffix)
			}
			return unclean
		}},
		{"no schema version", storage.ErrDamaged, func(t *testing.T) string {
			path := cleanFile(t)
			edit(t, path, "DROP TABLE goose_db_version")
			return path
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.make(t)
			before := hash(t, path) + hash(t, path+"-wal")
			s, err := Open(context.Background(), Options{Path: path})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if after := hash(t, path) + hash(t, path+"-wal"); after != before {
				t.Error("the file was changed")
			}
		})
	}
}

func hash(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return string(sum[:])
}
