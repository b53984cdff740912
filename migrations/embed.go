// Package migrations holds the schema of the databases zbus can keep its
// messages in, as goose SQL migrations: one folder for each engine.
package migrations

import "embed"

// SQLite holds the migrations of the SQLite store, in the folder "sqlite".
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// SQLiteSchema is what the migrations in SQLite create, all of them: a JSON array of
// objects with Kind, Name and Definition. A test of the SQLite store writes it.
//
//go:embed sqlite.json
var SQLiteSchema string

// Postgres holds the migrations of the PostgreSQL store, in the folder "postgres".
//
//go:embed postgres/*.sql
var Postgres embed.FS
