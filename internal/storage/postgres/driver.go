package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// This is as much of a driver for database/sql as the migrations need: pgx's own would add 3 MB to
// the program.

// connector makes connections of database/sql.
type connector struct{ *dialer }

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	to, err := c.dial(ctx, "zbus-migrate")
	if err != nil {
		return nil, err
	}
	return &session{to}, nil
}

// Driver implements [driver.Connector]. It is never called.
func (c *connector) Driver() driver.Driver { return nil }

// session is a connection of database/sql.
type session struct{ c *conn }

var (
	_ driver.ExecerContext  = (*session)(nil)
	_ driver.QueryerContext = (*session)(nil)
)

// errUnused is the answer to what no migration asks for.
var errUnused = errors.New("not a part of this driver")

// Prepare implements [driver.Conn].
func (s *session) Prepare(string) (driver.Stmt, error) { return nil, errUnused }

// Close implements [driver.Conn].
func (s *session) Close() error {
	s.c.leave()
	return nil
}

// Begin implements [driver.Conn].
func (s *session) Begin() (driver.Tx, error) {
	_, err := s.c.query(context.Background(), "BEGIN")
	return s, err
}

// Commit implements [driver.Tx].
func (s *session) Commit() error {
	_, err := s.c.query(context.Background(), "COMMIT")
	return err
}

// Rollback implements [driver.Tx].
func (s *session) Rollback() error {
	_, err := s.c.query(context.Background(), "ROLLBACK")
	return err
}

// ExecContext implements [driver.ExecerContext].
func (s *session) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	r := s.run(ctx, text, args)
	return driver.RowsAffected(r.CommandTag.RowsAffected()), r.Err
}

// QueryContext implements [driver.QueryerContext].
func (s *session) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	r := s.run(ctx, text, args)
	return &table{r}, r.Err
}

func (s *session) run(ctx context.Context, text string, args []driver.NamedValue) *pgconn.Result {
	values := make([][]byte, len(args))
	for i, a := range args {
		switch v := a.Value.(type) {
		case int64:
			values[i] = strconv.AppendInt(nil, v, 10)
		case bool:
			values[i] = strconv.AppendBool(nil, v)
		case string:
			values[i] = []byte(v)
		default:
			return &pgconn.Result{Err: errUnused}
		}
	}
	return s.c.ExecParams(ctx, text, values, nil, nil, nil).Read()
}

// table is the rows of a result, in text.
type table struct{ *pgconn.Result }

// Columns implements [driver.Rows].
func (t *table) Columns() (names []string) {
	for _, f := range t.FieldDescriptions {
		names = append(names, f.Name)
	}
	return names
}

// Close implements [driver.Rows].
func (t *table) Close() error { return nil }

// Next implements [driver.Rows].
func (t *table) Next(dst []driver.Value) error {
	if len(t.Rows) == 0 {
		return io.EOF
	}
	const timestamp = 1114 // oid
	for i, v := range t.Rows[0] {
		dst[i] = nil
		if v == nil {
			continue
		}
		dst[i] = string(v)
		if t.FieldDescriptions[i].DataTypeOID == timestamp {
			at, err := time.Parse("2006-01-02 15:04:05.999999", string(v))
			if err != nil {
				return err
			}
			dst[i] = at
		}
	}
	t.Rows = t.Rows[1:]
	return nil
}
