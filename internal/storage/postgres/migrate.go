package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/rushmore/zbus-go/migrations"
)

// migrationLock is the advisory lock held while the schema is changed: "zbus" in ASCII.
const migrationLock = "SELECT pg_advisory_lock(2053272947)"

// newestSchema is the version of the last migration.
func newestSchema() (newest int64, err error) {
	names, err := fs.Glob(migrations.Postgres, "postgres/*.sql")
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, v)
	}
	return newest, err
}

// schemaOf is the version of a database's schema, below 1 if there is none.
func schemaOf(ctx context.Context, c *conn) (int64, error) {
	v, err := c.value(ctx, "SELECT coalesce(max(version_id), -1) FROM goose_db_version WHERE is_applied")
	if codeOf(err) == undefinedTable {
		return -1, nil
	}
	return number(v), err
}

// upgrade brings the schema up to date, with the lease in hand. It may take as long as it takes, as long
// as the server answers besides.
func (s *Store) upgrade(ctx context.Context, found, newest int64) error {
	if found == newest {
		return nil
	}
	s.options.Log.Info("changing the schema of the database", "from", found, "to", newest)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- migrate(ctx, s.dialer) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(s.options.beat):
		}
		err := func() error {
			ctx, stop := context.WithTimeout(ctx, s.options.ReadTimeout)
			defer stop()
			return s.beatNow(ctx)
		}()
		if err != nil {
			stop(err)
			return errors.Join(err, <-done)
		}
	}
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, d *dialer) (err error) {
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	db := sql.OpenDB(&connector{d})
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // the lock is the session's
	if _, err := db.ExecContext(ctx, migrationLock); err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
