package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/migrations"
)

// object is a table, index, view or trigger.
type object struct{ kind, name string }

// listSchema lists the objects of a database and the SQL that created each. What SQLite
// keeps for itself is left out: statistics, indexes of constraints.
const listSchema = `SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema
	WHERE NOT (type IN ('table', 'index') AND name GLOB 'sqlite_*')`

// checkSchema refuses a database that is newer than this program, or has anything but what
// the migrations up to its version have created. A trigger would change what is stored
// behind the store's back, a view or a column in the place of another what is read.
func checkSchema(ctx context.Context, c *conn, version, newest int64) error {
	if version > newest {
		return fmt.Errorf("%w: schema %d is newer than this zbus knows (%d); use the zbus that wrote it, or a newer one",
			storage.ErrForeign, version, newest)
	}
	want, err := schemaAt(ctx, version, newest)
	if err != nil {
		return fmt.Errorf("schema %d: %w", version, err)
	}
	for row, err := range c.ask(listSchema) {
		if err != nil {
			return translate(err)
		}
		o := object{text(row[0]), text(row[1])}
		switch created, known := want[o]; {
		case !known:
			return fmt.Errorf("%w: %s %q is not zbus's; remove it with sqlite3 and DROP %s, or restore a backup",
				storage.ErrForeign, o.kind, o.name, strings.ToUpper(o.kind))
		case created != definition(o, text(row[2]), text(row[3])):
			return fmt.Errorf("%w: %s %q is not as schema %d has it; restore a backup", storage.ErrForeign, o.kind, o.name, version)
		}
		delete(want, o)
	}
	if len(want) > 0 {
		missing := slices.MinFunc(slices.Collect(maps.Keys(want)), func(a, b object) int { return strings.Compare(a.name, b.name) })
		return fmt.Errorf("%w: %s %q of schema %d is missing; restore a backup", storage.ErrForeign, missing.kind, missing.name, version)
	}
	return nil
}

// definition is what has to be the same. The table of versions is the migration
// library's, and another version of that may create it in other words.
func definition(o object, table, sql string) string {
	if o.name == "goose_db_version" {
		return table
	}
	return table + ": " + sql
}

// schemaAt is what a database of a version has to have. That of the newest is kept as a
// text, since running the migrations takes most of the time of a start.
func schemaAt(ctx context.Context, version, newest int64) (map[object]string, error) {
	if version < newest {
		return createdBy(ctx, version)
	}
	var list []schemaObject
	if err := json.Unmarshal([]byte(migrations.SQLiteSchema), &list); err != nil {
		return nil, err
	}
	objects := make(map[object]string, len(list))
	for _, o := range list {
		objects[object{o.Kind, o.Name}] = o.Definition
	}
	return objects, nil
}

// schemaObject is how an object stands in the text.
type schemaObject struct{ Kind, Name, Definition string }

// createdBy is what the migrations up to a version create, by running them in memory.
func createdBy(ctx context.Context, version int64) (objects map[object]string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // each connection has a memory of its own
	provider, err := migrator(db)
	if err != nil {
		return nil, err
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return nil, translate(err)
	}
	rows, err := db.QueryContext(ctx, listSchema)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	objects = map[object]string{}
	for rows.Next() {
		var o object
		var table, created string
		if err := rows.Scan(&o.kind, &o.name, &table, &created); err != nil {
			return nil, err
		}
		objects[o] = definition(o, table, created)
	}
	return objects, rows.Err()
}
