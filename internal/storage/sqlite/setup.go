package sqlite

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	sqlite "modernc.org/sqlite"
)

// setting is a pragma and the value it reads back as.
type setting struct {
	name  string
	value string
	reads any
}

// setup is how to open a connection.
type setup struct {
	path      string
	vfs       string // of SQLite; "" is the default one
	plain     bool   // has to be the default one: see Options.PlainIO
	readOnly  bool
	immutable bool // no process has the file open, and there is no log: leaves no trace
	keepLog   bool // the log stays when this is the connection that is closed last
	settings  []setting
}

func baseSettings(cacheBytes int64) []setting {
	return []setting{
		{"busy_timeout", "5000", int64(5000)}, // first: the others may have to wait
		{"trusted_schema", "0", int64(0)},
		{"cell_size_check", "1", int64(1)},
		{"mmap_size", "0", int64(0)}, // an I/O error must be an error, not a signal
		{"temp_store", "memory", int64(2)},
		{"cache_size", strconv.FormatInt(-cacheBytes>>10, 10), -cacheBytes >> 10},
	}
}

// writerSetup is for connections that write. They come first, because one of
// them puts the database into WAL mode. With synchronous=NORMAL a commit does not
// sync the log; Store.Sync does, for all commits so far. Checkpoints sync the log
// before they copy it and the database before the log starts again, as always.
func writerSetup(o Options) setup {
	return setup{path: o.Path, settings: append(baseSettings(o.CacheBytes),
		setting{"journal_mode", "wal", "wal"},
		setting{"synchronous", "normal", int64(1)},
		setting{"wal_autocheckpoint", "0", int64(0)},
		setting{"journal_size_limit", strconv.Itoa(walLimit), int64(walLimit)},
	)}
}

// walLimit is what the file of the log is cut down to when it starts again.
const walLimit = 64 << 20

// copierSetup is for checkpoints. NORMAL is enough: they sync the log before
// they copy it, and the database after.
func copierSetup(o Options) setup {
	return setup{path: o.Path, keepLog: true, settings: append(baseSettings(1<<20),
		setting{"synchronous", "normal", int64(1)},
		setting{"wal_autocheckpoint", "0", int64(0)},
	)}
}

// readerSetup is for connections that cannot write. They can lock, though: the one that is
// closed last would remove a log that is copied, and the copy may not have been synced.
func readerSetup(o Options) setup {
	return setup{path: o.Path, plain: o.PlainIO, readOnly: true, keepLog: true, settings: append(baseSettings(o.CacheBytes/4),
		setting{"query_only", "1", int64(1)},
	)}
}

// dsn is the data source name for the driver.
func (s setup) dsn() (string, error) {
	path, err := filepath.Abs(s.path)
	if err != nil {
		return "", err
	}
	mode := "rw" // never "rwc": only create creates
	if s.readOnly {
		mode = "ro"
	}
	query := url.Values{"mode": {mode}, "immutable": {flag(s.immutable)}, "_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	if s.vfs != "" {
		query.Set("vfs", s.vfs)
	}
	for _, p := range s.settings {
		query.Add("_pragma", p.name+"("+p.value+")")
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode(), nil
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// open opens a connection and makes sure that its settings took effect.
func open(s setup) (*conn, error) {
	dsn, err := s.dsn()
	if err != nil {
		return nil, err
	}
	c, err := connect(dsn)
	if err != nil {
		return nil, err
	}
	if s.keepLog {
		// Returns what holds now: 1 where it was obeyed.
		if on, err := c.raw.(sqlite.FileControl).FileControlPersistWAL("main", 1); err != nil || on != 1 {
			_ = c.close()
			return nil, fmt.Errorf("the log would not stay when the connection is closed: %d, %w", on, translate(err))
		}
	}
	for _, p := range s.settings {
		got, err := c.value("PRAGMA " + p.name)
		if err == nil && got != p.reads {
			err = fmt.Errorf("setting %s is %v instead of %v", p.name, got, p.reads)
		}
		if err != nil {
			_ = c.close()
			return nil, translate(err)
		}
	}
	return c, nil
}
