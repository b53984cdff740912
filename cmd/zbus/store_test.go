//go:build unix

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/postgres"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// ask makes a request of the dialect that needs no client, and returns the answer's status and body.
func (b *broker) ask(t *testing.T, path, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(b.url+path, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// published publishes a message that has to be stored.
func (b *broker) published(t *testing.T, text string) {
	t.Helper()
	if status, answer := b.ask(t, "/produce/orders", text); status != http.StatusOK {
		t.Fatalf("publish: %d %s", status, answer)
	}
}

// untilReady waits until /readyz answers with a status.
func (b *broker) untilReady(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(b.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("/readyz answers %d, not %d, for a minute", resp.StatusCode, want)
		}
	}
}

func (b *broker) consumed(t *testing.T, want string) {
	t.Helper()
	if status, text := b.ask(t, "/consume/orders?timeout=10000", ""); status != http.StatusOK || text != want {
		t.Fatalf("consume: %d %q, want %q", status, text, want)
	}
}

func TestBrokerOnPostgres(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	serve := func(node string) *broker {
		return start(t, command(t, nil, "--listen=127.0.0.1:0", "--store="+url, "--node="+node))
	}
	a := serve("a")
	if line := a.line("data"); !strings.HasPrefix(line, "PostgreSQL database "+pgtest.Name(url)+" at /") {
		t.Errorf("the screen says %q", line)
	}
	if status, answer := a.ask(t, "/declare/orders", ""); status != http.StatusOK {
		t.Fatalf("declare: %d %s", status, answer)
	}
	a.published(t, "one")
	a.published(t, "two")
	a.consumed(t, "one")

	// What an answered message survives is said as it is.
	if status, answer := a.ask(t, "/declare/rest", ""); status != http.StatusOK {
		t.Fatalf("declare: %d %s", status, answer)
	}
	says := func(want string) {
		t.Helper()
		resp, err := http.Post(a.url+"/api/v1/topics/rest/messages", "application/json", strings.NewReader(`{"body": "x"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(text), `"durability":"`+want+`"`) {
			t.Fatalf("publish: %s %s %v, want %s", resp.Status, text, err, want)
		}
	}
	says("local")

	// A second one of the same name is refused while the first one runs, and disturbs nothing.
	r := run(t, command(t, nil, "--listen=127.0.0.1:0", "--store="+url, "--node=a"))
	if r.code != exitInUse || !strings.Contains(r.stderr, `the broker "a" has the database, and runs`) {
		t.Fatalf("a second broker: %d %s", r.code, r.stderr)
	}
	a.published(t, "three")

	// No file is left behind: the broker has no directory.
	if entries, err := os.ReadDir(a.cmd.Dir); err != nil || len(entries) > 0 {
		t.Errorf("in the working directory: %v, %v", entries, err)
	}

	// Killed, or stopped gracefully: the next one has all of it.
	a.stop(t, syscall.SIGKILL)
	b := serve("b")
	b.consumed(t, "two")
	if code := b.stop(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}
	again := serve("a")
	again.consumed(t, "three")
	resp, err := http.Get(again.url + "/api/v1/backup")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "pg_basebackup") {
		t.Errorf("a backup: %d %s", resp.StatusCode, text)
	}

	// The server goes away and comes back: the broker is not ready, and then it is.
	c.Stop()
	again.untilReady(t, http.StatusServiceUnavailable)
	c.Go(t)
	again.untilReady(t, http.StatusOK)
	again.published(t, "four")
	again.consumed(t, "four")
}

// A broker that is frozen for longer than its lease finds itself fenced, stores nothing more, and ends.
func TestFrozenBrokerOnPostgresIsFenced(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	serve := func(node string) *broker {
		return start(t, command(t, nil, "--listen=127.0.0.1:0", "--store="+url, "--node="+node))
	}
	a := serve("a")
	if status, answer := a.ask(t, "/declare/orders", ""); status != http.StatusOK {
		t.Fatalf("declare: %d %s", status, answer)
	}
	a.published(t, "one")
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b := serve("b")
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	defer killLate(a.cmd)()
	_ = a.cmd.Wait()
	if code := a.cmd.ProcessState.ExitCode(); code != exitIO || !strings.Contains(a.stderr.String(), "lease has ended") {
		t.Errorf("exit code %d: %s", code, a.stderr)
	}
	b.published(t, "two")
	b.consumed(t, "one")
	b.consumed(t, "two")
}

func TestStoreSettingsAndCheck(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"serve --store=mysql://zbus:geheim@db/zbus":                    {exitUsage, "store: must be a URL"},
		"serve --store=postgres://zbus:geheim@db/zbus --disk-floor=1G": {exitUsage, "disk-floor: is not for a broker with store"},
		"serve --store=postgres://zbus:geheim@127.0.0.1:1/zbus":        {exitUnavailable, "127.0.0.1:1"},
		"store check": {exitUsage, "give the URL"},
		"store check postgres://zbus:geheim@127.0.0.1:1/zbus": {exitUnavailable, "127.0.0.1:1"},
	} {
		r := run(t, command(t, nil, strings.Fields(args)...))
		if r.code != want.code || !strings.Contains(r.stderr, want.text) || strings.Contains(r.stderr, "geheim") {
			t.Errorf("%s: %d %s", args, r.code, r.stderr)
		}
	}

	c := pgtest.Start(t)
	r := run(t, command(t, []string{"HOME=/", "ZBUS_STORE=" + c.Database(t)}, "store", "check"))
	// Servers of tests do without fsync.
	if r.code != 1 || !strings.Contains(r.out, "wrong    fsync: off") || !strings.Contains(r.out, "ALTER SYSTEM SET fsync = on") {
		t.Errorf("check: %d %s %s", r.code, r.out, r.stderr)
	}
	r = run(t, command(t, nil, "store", "check", "--json", c.Database(t)))
	var found []postgres.Finding
	if err := json.Unmarshal([]byte(r.out), &found); err != nil || postgres.Wrong(found) != 1 {
		t.Errorf("check --json: %v %s", err, r.out)
	}

	// A password is in libpq's password file, or nowhere.
	home := t.TempDir()
	file := filepath.Join(home, "pass")
	c.SQL(t, "postgres", "ALTER ROLE zbus PASSWORD 'geheim'")
	url := c.Database(t)
	c.RequirePassword(t)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // until the server knows
		r := run(t, command(t, nil, "store", "check", url))
		if r.code == exitIO && strings.Contains(r.stderr, "password") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without a password: %d %s %s", r.code, r.out, r.stderr)
		}
	}
	if err := os.WriteFile(file, []byte("*:*:*:zbus:geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, command(t, []string{"HOME=" + home, "PGPASSFILE=" + file}, "store", "check", url)); r.code != 1 {
		t.Errorf("with a password file: %d %s", r.code, r.stderr)
	}
}
