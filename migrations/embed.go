// Package migrations holds the schema of the databases zbus can keep its
// messages in: one folder of SQL files for each engine.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
)

// SQLiteSchema is what the migrations for SQLite create, all of them: a JSON array of
// objects with Kind, Name and Definition. A test of the SQLite store writes it.
//
//go:embed sqlite.json
var SQLiteSchema string

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// A Step brings a schema to a version from the one before. It is run once, in a transaction
// that also records it in the table goose_db_version, named by the migration library
// that older databases were created with.
type Step struct {
	Version int64
	SQL     string // statements, each ended by a semicolon
}

// Steps lists the steps for "sqlite" or "postgres" in their order.
func Steps(engine string) ([]Step, error) {
	names, err := fs.Glob(files, engine+"/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]Step, len(names))
	for i, name := range names { // sorted, and numbers have five digits
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Sscanf(name[len(engine):], "/%05d_", &steps[i].Version); err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		steps[i].SQL = string(text)
	}
	return steps, nil
}

// Newest is the version of the last step for "sqlite" or "postgres".
func Newest(engine string) (int64, error) {
	steps, err := Steps(engine)
	if err != nil || len(steps) == 0 {
		return 0, err
	}
	return steps[len(steps)-1].Version, nil
}
