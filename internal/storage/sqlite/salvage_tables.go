package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/pages"
)

// column is a column of a table of the new database.
type column struct {
	name, kind string
	must       bool // not NULL
	rowid      bool // it is the rowid
	extra      bool // added later: an old row may be without
}

// salvagedTable is a table of the new database, with what the old one has of it.
type salvagedTable struct {
	name    string
	columns []column
	index   bool // a table without rowid
	special bool // its rows are not copied as they are
	root    pages.Number
	leaves  []pages.Image
	sound   bool // all of the old table was found
	copied  int64
}

// specialTables have rows that mean something only with those of others, ownTables belong
// to the new database alone.
var (
	specialTables = []string{"topics", "groups", "parked", "blocks", "contents", "fresh", "dropped"}
	ownTables     = []string{"goose_db_version", "identity", "sqlite_sequence"}
)

// loadTables reads what tables the new database has, which is all that is looked for.
func (s *salvager) loadTables() error {
	s.tables = map[string]*salvagedTable{}
	for row, err := range s.c.ask("SELECT name, sql FROM sqlite_schema WHERE type = 'table'") {
		if err != nil {
			return translate(err)
		}
		t := &salvagedTable{name: text(row[0]), index: strings.Contains(text(row[1]), "WITHOUT ROWID")}
		if slices.Contains(ownTables, t.name) {
			continue
		}
		t.special = slices.Contains(specialTables, t.name)
		s.tables[t.name] = t
	}
	for _, t := range s.tables {
		for row, err := range s.c.ask("PRAGMA table_info(\"" + t.name + "\")") {
			if err != nil {
				return translate(err)
			}
			c := column{name: text(row[1]), kind: strings.ToUpper(text(row[2])), must: integer(row[3]) != 0}
			c.rowid = integer(row[5]) != 0 && c.kind == "INTEGER" && !t.index
			c.extra = row[4] != nil || !c.must && !c.rowid
			t.columns = append(t.columns, c)
		}
	}
	return nil
}

// at is the position of a column.
func (t *salvagedTable) at(name string) int {
	for i, c := range t.columns {
		if c.name == name {
			return i
		}
	}
	return -1
}

// fits reports whether a row may be one of the table.
func (t *salvagedTable) fits(values []any) bool {
	if len(values) > len(t.columns) {
		return false
	}
	for i, c := range t.columns {
		if i >= len(values) {
			if !c.extra {
				return false
			}
			continue
		}
		if !c.fits(values[i]) {
			return false
		}
	}
	return true
}

func (c *column) fits(v any) bool {
	switch v.(type) {
	case nil:
		return c.rowid || !c.must
	case int64:
		return c.kind == "INTEGER" && !c.rowid
	case string:
		return c.kind == "TEXT"
	case []byte:
		return c.kind == "BLOB"
	}
	return false
}

// fitted is a row with a value of the right type in each column: what is damaged reads as
// the zero value. The rowid is in its column.
func (t *salvagedTable) fitted(c *pages.Cell) []driver.Value {
	row := make([]driver.Value, 0, len(t.columns))
	for i, col := range t.columns {
		var v any
		if i < len(c.Values) {
			v = c.Values[i]
		} else if col.extra {
			break
		}
		switch {
		case col.rowid:
			v = c.Rowid
		case !col.fits(v) && col.must:
			v = map[string]any{"INTEGER": int64(0), "TEXT": "", "BLOB": []byte{}}[col.kind]
		case !col.fits(v):
			v = nil
		}
		row = append(row, v)
	}
	return row
}

// put inserts a row with the first columns of a table; the others have their defaults. It
// reports false if there is one already that excludes it.
func (s *salvager) put(ctx context.Context, t *salvagedTable, row []driver.Value) (bool, error) {
	names := make([]string, len(row))
	for i := range row {
		names[i] = `"` + t.columns[i].name + `"`
	}
	st, err := s.c.raw.Prepare(fmt.Sprintf(`INSERT OR IGNORE INTO "%s" (%s) VALUES (%s)`, t.name, strings.Join(names, ", "), slots(len(row))))
	if err != nil {
		return false, translate(err)
	}
	defer st.Close()
	result, err := st.(driver.StmtExecContext).ExecContext(context.WithoutCancel(ctx), number(nil, row))
	if err != nil {
		return false, translate(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, err
	}
	t.copied += n
	return n > 0, s.commitSome(ctx, 256)
}
