package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	sqlite "modernc.org/sqlite"
)

// conn is one connection to the database. One goroutine uses it at a time.
//
// It speaks to the driver directly: database/sql would lock, reset and convert
// for every row. No call carries a context that can end, because the driver
// interrupts statements then, and with them the transaction that all share.
type conn struct {
	raw       driver.Conn
	readahead *vfs.Readahead          // of one that only reads, or nil; closed with the connection
	stmts     [statements]driver.Stmt // prepared at first use, closed with the connection
	args      []driver.NamedValue     // reused by rows
	row       [24]driver.Value        // reused by rows
}

func connect(dsn string) (*conn, error) {
	raw, err := new(sqlite.Driver).Open(dsn)
	if err != nil {
		return nil, translate(err)
	}
	return &conn{raw: raw}, nil
}

func (c *conn) prepared(st statement) (driver.Stmt, error) {
	if c.stmts[st] == nil {
		s, err := c.raw.Prepare(sqlText[st])
		if err != nil {
			return nil, err
		}
		c.stmts[st] = s
	}
	return c.stmts[st], nil
}

// exec runs a statement and says how many rows it changed. The arguments must
// be numbered from 1.
func (c *conn) exec(st statement, args []driver.NamedValue) (int64, error) {
	s, err := c.prepared(st)
	if err != nil {
		return 0, err
	}
	result, err := s.(driver.StmtExecContext).ExecContext(context.Background(), args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// run runs SQL that is not worth keeping prepared.
func (c *conn) run(sql string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return err
}

// rows yields the rows of a query. A row is good until the next one, of this or another
// query; after an error there are no more. Leaving the loop ends the read transaction.
func (c *conn) rows(st statement, args ...driver.Value) iter.Seq2[[]driver.Value, error] {
	return func(yield func([]driver.Value, error) bool) {
		s, err := c.prepared(st)
		if err != nil {
			yield(nil, err)
			return
		}
		c.args = number(c.args[:0], args)
		rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.args)
		if err != nil {
			yield(nil, err)
			return
		}
		c.drain(rows, yield)
	}
}

// ask yields the rows of SQL that is not worth keeping prepared.
func (c *conn) ask(sql string) iter.Seq2[[]driver.Value, error] {
	return func(yield func([]driver.Value, error) bool) {
		rows, err := c.raw.(driver.QueryerContext).QueryContext(context.Background(), sql, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		c.drain(rows, yield)
	}
}

func (c *conn) drain(rows driver.Rows, yield func([]driver.Value, error) bool) {
	defer rows.Close()
	row := c.row[:len(rows.Columns())]
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return
		}
		if !yield(row, err) || err != nil {
			return
		}
	}
}

// value is the first column of a query's first row, nil when there is none.
func (c *conn) value(sql string) (driver.Value, error) {
	for row, err := range c.ask(sql) {
		if err != nil {
			return nil, err
		}
		return row[0], nil
	}
	return nil, nil
}

func (c *conn) close() error {
	var first error
	for _, s := range c.stmts {
		if s != nil {
			if err := s.Close(); err != nil && first == nil {
				first = err
			}
		}
	}
	if err := c.raw.Close(); err != nil && first == nil {
		first = err
	}
	if c.readahead != nil {
		c.readahead.Close()
	}
	if first != nil {
		return fmt.Errorf("close database: %w", translate(first))
	}
	return nil
}

// number appends values to args, numbered from 1.
func number(args []driver.NamedValue, values []driver.Value) []driver.NamedValue {
	for i, v := range values {
		args = append(args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return args
}

// A column that is damaged may hold a value of another type. It reads as the
// zero value then, which the checksum finds out.

func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}
