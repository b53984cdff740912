// Package pgtest starts PostgreSQL servers for tests.
package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Cluster is a server of its own in a temporary directory. It listens on a Unix socket, and stops
// with the test.
type Cluster struct {
	dir, bin string
	user     *syscall.SysProcAttr // nil: our own
	made     atomic.Int64         // databases
}

// Start starts a server. Without the programs of one the test is skipped, and fails where CI is set.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{bin: programs()}
	if c.bin == "" || runtime.GOOS != "linux" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no PostgreSQL here: install the package postgresql")
		}
		t.Skip("NOT TESTED: no PostgreSQL here; the package postgresql has it")
	}
	c.home(t)
	c.must(t, "initdb", "--pgdata", c.data(), "--auth", "trust", "--username", "zbus", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	c.set(t, append([]string{"listen_addresses = ''", "fsync = off", "max_connections = 200", "shared_buffers = 32MB"}, settings...))
	t.Cleanup(func() { c.Stop() })
	c.Go(t)
	return c
}

// Twin starts a server that has what this one has now, and goes its own way from then on.
func (c *Cluster) Twin(t testing.TB) *Cluster {
	t.Helper()
	n := &Cluster{bin: c.bin}
	n.home(t)
	n.must(t, "pg_basebackup", "--pgdata", n.data(), "--host", c.dir, "--username", "zbus", "--checkpoint", "fast", "--no-sync")
	n.set(t, nil)
	t.Cleanup(func() { n.Stop() })
	n.Go(t)
	return n
}

// Standby starts a server that follows this one, under a name that synchronous_standby_names can have.
func (c *Cluster) Standby(t testing.TB, name string) *Cluster {
	t.Helper()
	n := &Cluster{bin: c.bin}
	n.home(t)
	n.must(t, "pg_basebackup", "--pgdata", n.data(), "--dbname", "host="+c.dir+" user=zbus application_name="+name,
		"--checkpoint", "fast", "--no-sync", "--write-recovery-conf")
	n.set(t, nil)
	t.Cleanup(func() { n.Stop() })
	n.Go(t)
	return n
}

// Promote makes a standby the server that takes writes.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.must(t, "pg_ctl", "--pgdata", c.data(), "--timeout", "60", "--wait", "promote")
}

// Synchronous has commits wait for standbys of these names, or for none.
func (c *Cluster) Synchronous(t testing.TB, names string) {
	t.Helper()
	c.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'")
	c.SQL(t, "postgres", "SELECT pg_reload_conf()")
}

// Secure restarts the server, which then listens at an address of this machine as well, for TLS alone.
func (c *Cluster) Secure(t testing.TB, address, cert, key string) {
	t.Helper()
	for from, to := range map[string]string{cert: "tls.crt", key: "tls.key"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(c.data(), to), text, 0o600)
		}
		if err == nil && c.user != nil {
			err = give(filepath.Join(c.data(), to), c.user)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Stop()
	c.set(t, []string{"listen_addresses = '" + address + "'", "ssl = on", "ssl_cert_file = 'tls.crt'", "ssl_key_file = 'tls.key'"})
	rules := "local all all trust\nlocal replication all trust\nhostssl all all 127.0.0.0/8 trust\n"
	if err := os.WriteFile(filepath.Join(c.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Go(t)
}

// home makes the server's directory.
func (c *Cluster) home(t testing.TB) {
	t.Helper()
	dir, err := os.MkdirTemp("", "zbus-pg") // a socket's path may have 107 bytes, and others have to reach it
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() != 0 { // which PostgreSQL does not run as
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	c.user = as(uid, gid)
	if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// set adds settings to those of the server, and has it listen in its directory.
func (c *Cluster) set(t testing.TB, settings []string) {
	t.Helper()
	conf := strings.Join(append(settings, "unix_socket_directories = '"+c.dir+"'"), "\n") + "\n"
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(conf)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// programs is the directory of the newest server's programs, "" if there is none.
func programs() string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(release(a), release(b)) })
		return filepath.Dir(newest)
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
}

// release is the version in the path of a Debian package's program, such as 9.6 or 15.
func release(path string) float64 {
	v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(path))), 64)
	return v
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) must(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := c.run(program, args...); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (c *Cluster) run(program string, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = c.user
	out, err := os.CreateTemp("", "zbus-pg") // no pipe: a server keeps it open
	if err != nil {
		return "", err
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, _ := os.ReadFile(out.Name())
	return string(text), err
}

// Go starts a server that has stopped, and waits until it takes connections.
func (c *Cluster) Go(t testing.TB) {
	t.Helper()
	c.must(t, "pg_ctl", "--pgdata", c.data(), "--log", filepath.Join(c.dir, "log"), "--timeout", "60", "--wait", "start")
}

// Stop stops the server as a crash would.
func (c *Cluster) Stop() {
	_, _ = c.run("pg_ctl", "--pgdata", c.data(), "--mode", "immediate", "--wait", "stop")
}

// Freeze stops all processes of the server where they are, until thaw.
func (c *Cluster) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	pids := c.processes(t)
	pause(pids, true)
	return func() { pause(pids, false) }
}

// processes are those of the server: the first one and its children.
func (c *Cluster) processes(t testing.TB) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var first int
	if _, err := fmt.Sscan(string(text), &first); err != nil {
		t.Fatal(err)
	}
	pids := []int{first}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	for rest := string(children); ; {
		var pid int
		n, _ := fmt.Sscan(rest, &pid)
		if n == 0 {
			return pids
		}
		pids = append(pids, pid)
		rest = rest[len(strconv.Itoa(pid))+1:]
	}
}

// RequirePassword has the server ask for passwords from soon on.
func (c *Cluster) RequirePassword(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.data(), "pg_hba.conf"), []byte("local all all scram-sha-256\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(t, "pg_ctl", "--pgdata", c.data(), "reload")
}

// Database creates an empty database and returns its address.
func (c *Cluster) Database(t testing.TB) string { return c.Copy(t, "template1") }

// Copy creates a copy of a database that is not in use and returns its address.
func (c *Cluster) Copy(t testing.TB, of string) string {
	t.Helper()
	name := fmt.Sprintf("db%d", c.made.Add(1))
	c.SQL(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+of)
	return c.URL(name)
}

// URL is the address of a database, which other servers may have as well.
func (c *Cluster) URL(name string, others ...*Cluster) string {
	hosts := c.dir
	for _, o := range others {
		hosts += "," + o.dir
	}
	u := url.URL{Scheme: "postgres", User: url.User("zbus"), Path: "/" + name, RawQuery: url.Values{"host": {hosts}}.Encode()}
	return u.String()
}

// Name is the database of an address.
func Name(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path[1:]
}

// SQL runs a statement in a database, and returns what it answers.
func (c *Cluster) SQL(t testing.TB, database, text string) string {
	t.Helper()
	out, err := c.run("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--host", c.dir, "--username", "zbus", "--dbname", database, "--command", text)
	if err != nil {
		t.Fatalf("%s: %v\n%s", text, err, out)
	}
	return out
}

// Socket is the path of the socket that the server listens on.
func (c *Cluster) Socket() string { return filepath.Join(c.dir, ".s.PGSQL.5432") }
