package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rushmore/zbus-go/internal/storage"
)

// connectTimeout is how long a host may take to answer, unless the address says.
const connectTimeout = 2 * time.Second

// SQLSTATE codes, as PostgreSQL's documentation lists them in its appendix A.
const (
	notSupported      = "0A000" // also of a prepared statement whose tables were changed since
	noSuchStatement   = "26000" // it was prepared once
	warned            = "01000" // of a commit: not replicated
	divisionByZero    = "22012" // see turn
	uniqueViolation   = "23505"
	readOnly          = "25006"
	undefinedTable    = "42P01"
	serialization     = "40001"
	deadlock          = "40P01"
	diskFull          = "53100"
	lockNotAvailable  = "55P03"
	queryCanceled     = "57014"
	noSuchDatabase    = "3D000"
	insufficientRight = "42501"
)

// dialer connects to the servers of an address.
type dialer struct {
	config  *pgconn.Config
	relaxed bool
}

// newDialer reads an address, and what libpq's variables and password file add to it.
func newDialer(url string, relaxed bool) (*dialer, error) {
	c, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrInvalid, err)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
		c.DialFunc = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return &dialer{config: c, relaxed: relaxed}, nil
}

// Describe is an address as it can be shown: without a password.
func Describe(url string) string {
	d, err := newDialer(url, false)
	if err != nil {
		return "PostgreSQL"
	}
	hosts := []string{d.config.Host}
	for _, f := range d.config.Fallbacks {
		if !slices.Contains(hosts, f.Host) {
			hosts = append(hosts, f.Host)
		}
	}
	return "PostgreSQL database " + d.config.Database + " at " + strings.Join(hosts, ", ")
}

// conn is a connection. One goroutine uses it at a time.
type conn struct {
	*pgconn.PgConn
	prepared [statements]bool
	local    bool  // what was committed may be on this server alone
	worked   bool  // a transaction was stored over it
	epoch    int64 // of the lease when a reader was connected
}

// dial connects as an application, to the first server that takes writes and is valid.
func (d *dialer) dial(ctx context.Context, application string, valid ...pgconn.ValidateConnectFunc) (*conn, error) {
	c := &conn{}
	config := d.config.Copy()
	config.ValidateConnect = func(ctx context.Context, to *pgconn.PgConn) error {
		err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, to)
		for i := 0; i < len(valid) && err == nil; i++ {
			err = valid[i](ctx, to)
		}
		return err
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		c.local = c.local || n.Code == warned
	}
	durable := "on"
	if d.relaxed {
		durable = "off"
	}
	for name, value := range map[string]string{
		"application_name": application, "client_encoding": "UTF8", "client_min_messages": "warning",
		"default_transaction_isolation": "read committed", "synchronous_commit": durable,
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	} {
		config.RuntimeParams[name] = value
	}
	var err error
	c.PgConn, err = pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	c.local = false // a server may begin with a warning, as that its collations are of another version
	return c, nil
}

// drop closes a connection, if it is one, without a word to the server.
func (c *conn) drop() {
	if c != nil {
		_ = c.Conn().Close()
	}
}

// leave ends a session gracefully.
func (c *conn) leave() {
	if c == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_ = c.Close(ctx)
}

// prepare has a statement prepared.
func (c *conn) prepare(ctx context.Context, st statement) error {
	if c.prepared[st] {
		return nil
	}
	if _, err := c.Prepare(ctx, name(st), sqlText(st), nil); err != nil {
		return err
	}
	c.prepared[st] = true
	return nil
}

func name(st statement) string { return "s" + strconv.Itoa(int(st)) }

// rows runs a statement and yields its rows, each of which is good until the next one. It should not
// be left early when many are to come: they are all received.
func (c *conn) rows(ctx context.Context, st statement, args ...any) iter.Seq2[[][]byte, error] {
	return func(yield func([][]byte, error) bool) {
		if err := c.prepare(ctx, st); err != nil {
			yield(nil, err)
			return
		}
		r := c.ExecPrepared(ctx, name(st), encode(args), binaryFormat(), binaryFormat())
		for r.NextRow() {
			if !yield(r.Values(), nil) {
				_, _ = r.Close()
				return
			}
		}
		if _, err := r.Close(); err != nil {
			yield(nil, err)
		}
	}
}

// query runs an SQL text that is not prepared and returns its rows, as text. A name that the database
// may hold escaped has to be read with [text].
func (c *conn) query(ctx context.Context, sql string, args ...any) ([][]string, error) {
	texts := make([][]byte, len(args))
	for i, a := range args {
		if s, isText := a.(string); isText {
			texts[i] = escape(s)
		} else {
			texts[i] = fmt.Append(nil, a)
		}
	}
	r := c.ExecParams(ctx, sql, texts, nil, nil, nil).Read()
	rows := make([][]string, len(r.Rows))
	for i, row := range r.Rows {
		for _, v := range row {
			rows[i] = append(rows[i], string(v))
		}
	}
	return rows, r.Err
}

// value is query for a text with one row of one column.
func (c *conn) value(ctx context.Context, sql string, args ...any) (string, error) {
	rows, err := c.query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("%d rows for %q: %w", len(rows), sql, storage.ErrDamaged)
	}
	return rows[0][0], nil
}

// binaryFormat is that of all parameters and results of prepared statements.
func binaryFormat() []int16 { return []int16{1} }

// broken reports whether an error has ended the connection, has come from a server that takes no writes,
// or is about what the connection has prepared.
func (c *conn) broken(err error) bool {
	if c.IsClosed() || c.local || c.TxStatus() != 'I' {
		return true
	}
	code := codeOf(err)
	return code == "" || code == notSupported || code == noSuchStatement || code == readOnly || code[:2] == "57" && code != queryCanceled || code[:2] == "08"
}

// codeOf is the SQLSTATE of an error that a server has answered, "" of any other.
func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) && len(e.Code) == 5 {
		return e.Code
	}
	return ""
}
