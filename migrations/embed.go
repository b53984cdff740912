// Package migrations holds the schema of the databases zbus can keep its
// messages in, as goose SQL migrations: one folder for each engine.
package migrations

import "embed"

// SQLite holds the migrations of the SQLite store, in the folder "sqlite".
//
//go:embed sqlite/*.sql
var SQLite embed.FS
