package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Adopt makes a copy of a database one that a broker can open as its own: with the newest
// schema, and an identity that no other database has, so that it is not taken for an old
// state of the one that it was copied from. ctx bounds the migration.
//
// A copy that is not ours or of a newer version is refused as by [Open].
func Adopt(ctx context.Context, path string) (err error) {
	o := Options{Path: path, Durability: Fsync}.withDefaults()
	if err := checkMagic(path); err != nil {
		return err
	}
	if _, err := prepare(ctx, o); err != nil {
		return err
	}
	c, err := open(writerSetup(o))
	if err != nil {
		return err
	}
	if err := c.run("PRAGMA synchronous = full"); err != nil {
		return errors.Join(translate(err), c.close())
	}
	has, err := c.value("SELECT count(*) FROM sqlite_schema WHERE name = 'identity'")
	if err == nil && has != int64(0) {
		err = c.run("UPDATE identity SET id = lower(hex(randomblob(16))), generation = 0")
	}
	err = errors.Join(translate(err), c.close())
	if err == nil && size(path+"-wal") > 0 {
		err = fmt.Errorf("%s-wal is not empty: %w", path, storage.ErrUnavailable)
	}
	return err
}
