package postgres

import (
	"context"
	"net"
	"time"
)

// Status is what a database knows of the brokers that use it, and of its servers.
type Status struct {
	Nodes     []Node // the one that has the database first
	Primary   string // address of the server that takes writes
	Standbys  []Standby
	Takeovers []Takeover // the newest first
}

// Standby is a server that follows the primary. What the user may not see is empty.
type Standby struct {
	Name, Address, State string
	Synchronous          bool
	Lag                  int64 // bytes of the log that it has not written to its disk; -1: not known
}

// Takeover is how a broker came to have the database.
type Takeover struct {
	Time           time.Time
	Node, Previous string
	Reason         string // "first", "stopped" or "silent"
}

// shownTakeovers is how many Status has.
const shownTakeovers = 50

// Status asks the database.
func (s *Store) Status(ctx context.Context) (st Status, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		st = Status{Nodes: []Node{{Name: s.node, Address: s.options.Address}}, Primary: serverOf(c)}
		for _, ask := range []func(context.Context, *conn) error{st.askWaiting, st.askStandbys, st.askTakeovers} {
			if err := ask(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	return st, err
}

// serverOf is the address of the server that a connection is to.
func serverOf(c *conn) string {
	to := c.Conn().RemoteAddr()
	if to.Network() == "unix" {
		return "unix:" + to.String()
	}
	if host, port, err := net.SplitHostPort(to.String()); err == nil {
		return net.JoinHostPort(host, port)
	}
	return to.String()
}

func (st *Status) askWaiting(ctx context.Context, c *conn) error {
	rows, err := c.query(ctx, "SELECT name, address FROM waiting WHERE clock_timestamp() - seen < $1::bigint * interval '1 millisecond' ORDER BY name", leaseTime.Milliseconds())
	for _, r := range rows {
		st.Nodes = append(st.Nodes, Node{Name: text([]byte(r[0])), Address: text([]byte(r[1])), Waiting: true})
	}
	return err
}

func (st *Status) askStandbys(ctx context.Context, c *conn) error {
	rows, err := c.query(ctx, "SELECT coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(state, ''), coalesce(sync_state IN ('sync', 'quorum'), false),"+
		" coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), -1)::bigint FROM pg_stat_replication ORDER BY 1")
	for _, r := range rows {
		st.Standbys = append(st.Standbys, Standby{Name: r[0], Address: r[1], State: r[2], Synchronous: r[3] == "t", Lag: max(number(r[4]), -1)})
	}
	return err
}

func (st *Status) askTakeovers(ctx context.Context, c *conn) error {
	rows, err := c.query(ctx, "SELECT (extract(epoch FROM time) * 1000)::bigint, node, previous, reason FROM takeovers ORDER BY generation DESC LIMIT $1", shownTakeovers)
	for _, r := range rows {
		at := time.UnixMilli(number(r[0])) // wall clock: the database's, for people
		st.Takeovers = append(st.Takeovers, Takeover{Time: at, Node: text([]byte(r[1])), Previous: text([]byte(r[2])), Reason: r[3]})
	}
	return err
}
