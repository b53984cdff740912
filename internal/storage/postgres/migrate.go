package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/rushmore/zbus-go/internal/storage"
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

// migrate brings the schema up to date. A schema that is newer is [storage.ErrForeign].
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
	found, newest, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("migrate: %w", err)
	case found > newest:
		return fmt.Errorf("%w: schema %d is newer than this zbus knows (%d); use the zbus that wrote it, or a newer one", storage.ErrForeign, found, newest)
	case found == newest:
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
