package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Grade is what a finding means.
type Grade string

// The grades of findings.
const (
	Good Grade = "ok"
	Warn Grade = "warning" // a broker runs, and something is worth knowing
	Bad  Grade = "wrong"   // a broker does not run, or loses what it answers
)

// Finding is one thing that [Check] has looked at.
type Finding struct {
	Grade Grade  `json:"grade"`
	Name  string `json:"name"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // how to put it right
}

// oldest is the oldest server that this package knows to have all that it asks for.
const oldest = 130000

// checkTime is how long a check may take. Each of its questions is answered at once by a server that is well.
const checkTime = 30 * time.Second

// Check looks at a database and its server as a broker would find them, and changes nothing. The
// error says why it could not.
func Check(ctx context.Context, url string) ([]Finding, error) {
	return checkWithin(ctx, url, checkTime)
}

func checkWithin(ctx context.Context, url string, most time.Duration) ([]Finding, error) {
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	d, err := newDialer(url, false)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	c, err := d.dial(ctx, "zbus-check")
	if err != nil {
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	defer c.leave()
	k := checker{c: c}
	for _, look := range []func(context.Context) error{k.version, k.encryption, k.encoding, k.rights, k.disk, k.standbys, k.limits, k.schema, k.holder} {
		if err := look(ctx); err != nil {
			return k.found, fmt.Errorf("store: %w", explain(err))
		}
	}
	return k.found, nil
}

// checker notes what it finds.
type checker struct {
	c     *conn
	found []Finding
}

// note adds a finding: what is right, or what is wrong and how to put that right.
func (k *checker) note(name string, right bool, otherwise Grade, good, bad, fix string) {
	f := Finding{Grade: Good, Name: name, Text: good}
	if !right {
		f = Finding{Grade: otherwise, Name: name, Text: bad, Fix: fix}
	}
	k.found = append(k.found, f)
}

func (k *checker) version(ctx context.Context) error {
	v, err := k.c.value(ctx, "SHOW server_version")
	if err != nil {
		return err
	}
	n, err := k.c.value(ctx, "SHOW server_version_num")
	k.note("version", number(n) >= oldest, Bad, "PostgreSQL "+v, "PostgreSQL "+v+" is older than 13", "upgrade the server with pg_upgrade; zbus is tested with 15")
	return err
}

func (k *checker) encryption(ctx context.Context) error {
	how, err := k.c.value(ctx, "SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), '')")
	local := k.c.Conn().RemoteAddr().Network() == "unix"
	good := "encrypted with " + how
	if local {
		good = "over a socket of this machine"
	}
	k.note("encryption", how != "" || local, Warn, good, "what is stored can be read on the network",
		"set ssl = on at the server, and add sslmode=verify-full and sslrootcert=FILE to the address")
	return err
}

func (k *checker) encoding(ctx context.Context) error {
	v, err := k.c.value(ctx, "SHOW server_encoding")
	k.note("encoding", v == "UTF8", Bad, v, "the encoding is "+v+", which can't hold all texts", "create the database anew: createdb --encoding UTF8 --template template0 NAME")
	return err
}

func (k *checker) rights(ctx context.Context) error {
	v, err := k.c.value(ctx, "SELECT has_schema_privilege(current_schema(), 'CREATE') AND has_schema_privilege(current_schema(), 'USAGE')")
	if err != nil {
		return err
	}
	schema, _ := k.c.value(ctx, "SELECT coalesce(current_schema(), 'public')")
	k.note("permissions", v == "t", Bad, "the user may create tables", "the user may not create tables in the schema "+schema,
		"make the user the database's owner: ALTER DATABASE NAME OWNER TO USER")
	return nil
}

func (k *checker) disk(ctx context.Context) error {
	for _, s := range []struct {
		name  string
		grade Grade
		bad   string
		fix   string
	}{
		{"fsync", Bad, "a power loss may take what was answered, or the whole database", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"},
		{"full_page_writes", Bad, "a power loss may damage the database", "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()"},
		{"data_checksums", Warn, "damage on the disk is found out late", "stop the server and run pg_checksums --enable"},
	} {
		v, err := k.c.value(ctx, "SELECT current_setting($1)", s.name)
		if err != nil {
			return err
		}
		k.note(s.name, v == "on", s.grade, "on", "off: "+s.bad, s.fix)
	}
	return nil
}

// standbys looks at the servers that have answered commits, too. Brokers set synchronous_commit themselves.
func (k *checker) standbys(ctx context.Context) error {
	v, err := k.c.value(ctx, "SELECT setting FROM pg_settings WHERE name = 'synchronous_commit'")
	if err != nil {
		return err
	}
	k.note("synchronous_commit", v == "on" || v == "remote_apply", Warn, v,
		"the session could not be given it: it is "+v, "ALTER ROLE USER RESET synchronous_commit, and have no pooler between")
	names, err := k.c.value(ctx, "SHOW synchronous_standby_names")
	if err != nil {
		return err
	}
	k.note("synchronous standby", names != "", Warn, names, "there is none: what is answered is lost with the server",
		"give it a standby, then ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'; SELECT pg_reload_conf()")
	if names == "" {
		return nil
	}
	n, err := k.c.value(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
	if err != nil {
		return err
	}
	hidden, err := k.c.value(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state IS NULL")
	if n == "0" && hidden != "0" {
		k.note("standbys connected", false, Warn, "", "the user may not see them", "GRANT pg_read_all_stats TO USER")
		return err
	}
	k.note("standbys connected", n != "0", Bad, n, "none, so that every commit waits", "start a standby that synchronous_standby_names names; see pg_stat_replication")
	return err
}

func (k *checker) limits(ctx context.Context) error {
	v, err := k.c.value(ctx, "SELECT least(current_setting('max_connections')::int, nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),"+
		" nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1))")
	if err != nil {
		return err
	}
	const needed = 6 // one writes, four read, one changes the schema
	k.note("connections", number(v) >= needed, Bad, v, v+" are allowed, and a broker has up to 6",
		"raise max_connections, or the limits of the user and the database: ALTER ROLE USER CONNECTION LIMIT -1")
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"} {
		rows, err := k.c.query(ctx, "SELECT setting FROM pg_settings WHERE name = $1", name)
		if err != nil {
			return err
		}
		if len(rows) == 1 {
			k.note(name, rows[0][0] == "0", Warn, "none in a broker's sessions", "it is "+rows[0][0]+" ms, and ends a broker's sessions or statements",
				"ALTER ROLE USER SET "+name+" = 0")
		}
	}
	return nil
}

func (k *checker) schema(ctx context.Context) error {
	v, err := schemaOf(ctx, k.c)
	switch {
	case err == nil && v < 1:
		k.note("schema", true, Bad, "none yet: the first broker creates it", "", "")
		return nil
	case err != nil:
		return err
	}
	newest, err := newestSchema()
	k.note("schema", v <= newest, Bad, strconv.FormatInt(v, 10), fmt.Sprintf("%d is newer than this zbus knows (%d)", v, newest), "use the zbus that wrote it, or a newer one")
	return err
}

func (k *checker) holder(ctx context.Context) error {
	list, err := holders(ctx, k.c)
	if codeOf(err) == undefinedTable {
		return nil
	}
	names := make([]string, len(list))
	for i, h := range list {
		names[i] = fmt.Sprintf("%q, seen %v ago", h.name, h.age.Round(1e8))
	}
	if len(names) == 0 {
		names = []string{"none has it"}
	}
	k.note("broker", true, Good, strings.Join(names, ", "), "", "")
	return err
}

// Wrong counts what is wrong.
func Wrong(found []Finding) (n int) {
	for _, f := range found {
		if f.Grade == Bad {
			n++
		}
	}
	return n
}
