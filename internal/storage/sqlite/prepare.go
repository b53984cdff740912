package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/migrations"
)

const (
	applicationID = 0x7a627573 // "zbus"; also in the first migration
	magic         = "SQLite format 3\x00"
)

// prepare makes sure that there is a sound database of ours with the newest
// schema, and returns its mark, or nil when there is none. It looks before it writes: a
// file that it refuses stays as it is.
func prepare(ctx context.Context, o Options) (*markState, error) {
	m, err := prepareOnce(ctx, o)
	if errors.Is(err, errAccepted) {
		o.Used, o.Identity = false, ""
		m, err = prepareOnce(ctx, o)
	}
	return m, err
}

func prepareOnce(ctx context.Context, o Options) (*markState, error) {
	m, err := readMark(o.Path)
	marked := m != nil || errors.Is(err, errMark)
	if errors.Is(err, errMark) {
		o.Log.Warn("what the database may not be older than is not known, and not checked", "path", o.Path+markSuffix, "err", err)
	} else if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.Path); errors.Is(err, fs.ErrNotExist) {
		if marked || o.Used || o.Identity != "" {
			loss := newLoss(m, filepath.Base(o.Path), "%s is missing from a directory that had it", o.Path)
			return nil, refuse(o, loss, true)
		}
		return nil, create(ctx, o)
	} else if err != nil {
		return nil, err
	}
	newest, err := newestSchema()
	if err != nil {
		return nil, err
	}
	if err := checkMagic(o.Path); err != nil {
		return nil, err
	}
	if err := examineLog(o, m); err != nil {
		return nil, err
	}
	version, err := inspect(ctx, o, m, newest)
	var loss *storage.Loss
	switch {
	case errors.As(err, &loss):
		return nil, refuse(o, loss, true)
	case err != nil:
		return nil, err
	case version < newest:
		return m, migrateMarked(ctx, o, m)
	}
	return m, nil
}

// migrateMarked has the mark say that the log is in other hands while the schema changes.
func migrateMarked(ctx context.Context, o Options, m *markState) error {
	if m == nil {
		return migrate(ctx, o)
	}
	k, err := openMark(o.Path, m)
	if err != nil {
		return err
	}
	if err := errors.Join(k.flag(markLoose, markClosed), k.close()); err != nil {
		return err
	}
	if err := migrate(ctx, o); err != nil {
		return err
	}
	*m = k.state()
	return nil
}

// create creates a database under another name and renames it when it is
// complete. A crash before leaves no database; an empty file is never ours.
func create(ctx context.Context, o Options) error {
	if size(o.Path+"-wal") > 0 {
		return fmt.Errorf("log %s-wal without its database: %w", o.Path, storage.ErrDamaged)
	}
	draft := o
	draft.Path += ".new"
	draft.Durability = Fsync
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(draft.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(draft.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // SQLite's other files follow
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := migrate(ctx, draft); err != nil {
		return err
	}
	if size(draft.Path+"-wal") > 0 {
		return fmt.Errorf("new database is incomplete: %w", storage.ErrUnavailable)
	}
	if err := os.Rename(draft.Path, o.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(o.Path))
}

// migrate brings the schema up to date, over a database/sql handle of its own.
func migrate(ctx context.Context, o Options) (err error) {
	files, err := o.files()
	if err != nil {
		return err
	}
	defer files.Close()
	setup := writerSetup(o)
	setup.vfs = files.Name()
	dsn, err := setup.dsn()
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", translate(err))
	}
	return nil
}

// migrator runs the migrations on db.
func migrator(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
}

// newestSchema is the version of the last migration.
func newestSchema() (newest int64, err error) {
	names, err := fs.Glob(migrations.SQLite, "sqlite/*.sql")
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, v)
	}
	return newest, err
}

// inspect reads the schema version of an existing file, checks that the schema is the
// one of that version, and checks all of the file if it was not closed properly. It
// writes neither to it nor to its log. With a mark it refuses a database that is another
// one or older.
func inspect(ctx context.Context, o Options, m *markState, newest int64) (version int64, err error) {
	files, err := o.files()
	if err != nil {
		return 0, err
	}
	defer files.Close()
	defer func() { err = judge(files, err) }()
	unclean := size(o.Path+"-wal") > 0
	setup := readerSetup(o)
	setup.immutable, setup.vfs = !unclean, files.Name()
	c, err := open(setup)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.close() }()
	if err := checkOurs(c); err != nil {
		return 0, err
	}
	if m != nil || o.Identity != "" {
		if err := checkSelf(c, o, m, unclean); err != nil {
			return 0, err
		}
	}
	if unclean {
		if err := quickCheck(c, o); err != nil {
			return 0, err
		}
	}
	if version, err = schemaOf(c); err != nil {
		return 0, err
	}
	return version, checkSchema(ctx, c, version, newest)
}

// checkOurs refuses a database of another program.
func checkOurs(c *conn) error {
	id, err := c.value("PRAGMA application_id")
	if err != nil {
		return translate(err)
	}
	if id != int64(applicationID) {
		return fmt.Errorf("%w: it has no mark of zbus; name another directory with --data", storage.ErrForeign)
	}
	return nil
}

// schemaOf reads the schema version of a database that is open.
func schemaOf(c *conn) (int64, error) {
	for _, table := range []string{"goose_db_version", "blocks"} {
		n, err := c.value("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '" + table + "'")
		switch {
		case err != nil:
			return 0, translate(err)
		case n == int64(1):
		case table == "blocks":
			return 0, fmt.Errorf("%w: created by a build older than the first release, which this one can't read; name a new directory with --data",
				storage.ErrForeign)
		default:
			return 0, fmt.Errorf("schema version is missing: %w", storage.ErrDamaged)
		}
	}
	v, err := c.value("SELECT max(version_id) FROM goose_db_version WHERE is_applied")
	if err != nil {
		return 0, translate(err)
	}
	return integer(v), nil
}

// checkSelf makes sure that the database is the one of the directory and of the mark, and
// no older.
func checkSelf(c *conn, o Options, m *markState, unclean bool) error {
	with, err := readSelf(c)
	if err != nil {
		return err
	}
	if id := with.identity.String(); o.Identity != "" && id != o.Identity {
		return newLoss(m, id, "%s is another database: it is %s, and this directory had %s", o.Path, id, o.Identity)
	}
	if m == nil {
		return nil
	}
	var without *self
	if unclean {
		without = selfWithoutLog(o)
	}
	if loss := judgeSelf(m, o.Path, with, without); loss != nil {
		return loss
	}
	return nil
}

// selfWithoutLog is what the database file says by itself, or nil: a page that was being
// copied when the power was cut can be half there, which is no fault as long as the log
// has it.
func selfWithoutLog(o Options) *self {
	setup := readerSetup(o)
	setup.immutable = true
	c, err := open(setup)
	if err != nil {
		return nil
	}
	defer func() { _ = c.close() }()
	found, err := readSelf(c)
	if err != nil {
		return nil
	}
	return &found
}

func checkMagic(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !bytes.Equal(head, []byte(magic)) {
		return fmt.Errorf("not an SQLite database: %w", storage.ErrDamaged)
	}
	return nil
}

// wholeCheck is the size of a file up to which all of it is checked, which takes
// about 2.5 seconds a GiB.
const wholeCheck = 128 << 20

// quickCheck checks a database that was not closed. Of a large one the tables of
// the messages are left out, so that a start takes no longer the more there are: a
// message is checked by its checksum when it is read, and the last ones of every
// topic are read when the store opens.
func quickCheck(c *conn, o Options) error {
	o.Log.Info("database was not closed, checking it", "path", o.Path)
	checks := []string{"PRAGMA quick_check(10)"}
	if size(o.Path) > wholeCheck {
		checks = nil
		for row, err := range c.ask("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('blocks', 'contents')") {
			if err != nil {
				return translate(err)
			}
			checks = append(checks, "PRAGMA quick_check('"+text(row[0])+"')")
		}
	}
	for _, check := range checks {
		for row, err := range c.ask(check) {
			if err != nil {
				return translate(err)
			}
			if found := text(row[0]); found != "ok" {
				return fmt.Errorf("%s: %s: %w", check, found, storage.ErrDamaged)
			}
		}
	}
	return nil
}

// size of a file, 0 when there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
