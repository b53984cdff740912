package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestBadCommandLineIsOneLineAndExits64(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"--bogus", "unknown flag: --bogus"},
		{"serve --bogus", "unknown flag: --bogus"},
		{"-z", "unknown shorthand flag: 'z'"},
		{"--data", "flag needs an argument: --data"},
		{"serv", `unknown command "serv" (did you mean serve?)`},
		{"bogus", `unknown command "bogus"`},
		{"serve now", `unknown command "now"`},
		{"version --data x", "unknown flag: --data"},
		{"version x", `unknown command "x"`},
		{"help bogus", `unknown command "bogus"`},
		{"completion bogus", `unknown command "bogus"`},
		{"--durability fsnyc", `zbus: durability "fsnyc": must be fsync or relaxed`},
		{"serve --durability fsnyc", `zbus: durability "fsnyc": must be fsync or relaxed`},
		{"--insecure=maybe", `zbus: insecure "maybe": must be true or false`},
		{"--listen :15555", `zbus: listen ":15555": must be a loopback address`},
		{"--tls-cert c.pem", `zbus: tls-cert "c.pem": needs tls-key as well`},
		{"--tls-cert c.pem --tls-key k.pem", `zbus: tls-cert "c.pem" with tls-key "k.pem": open c.pem: no such file`},
		{"--tls-cert /dev/null --tls-key /dev/null", `zbus: tls-cert "/dev/null" with tls-key "/dev/null": tls: failed to find`},
		{"--tls-client-ca ca.pem", `zbus: tls-client-ca "ca.pem": needs tls-cert and tls-key as well`},
		{"--pprof 0.0.0.0:6060", `zbus: pprof "0.0.0.0:6060": must be a loopback HOST:PORT`},
		{"--config missing.yaml", `zbus: config file "missing.yaml": open missing.yaml: no such file`},
	} {
		t.Run(c.args, func(t *testing.T) {
			wantFailure(t, run(t, command(t, nil, strings.Fields(c.args)...)), exitUsage, c.want)
		})
	}
}

func TestBadEnvironmentIsOneLineAndExits64(t *testing.T) {
	for variable, want := range map[string]string{
		"ZBUS_LISEN=127.0.0.1:0":      "zbus: ZBUS_LISEN: unknown variable; the closest setting is ZBUS_LISTEN",
		"ZBUS_SYNC_INTERVAL=1":        `zbus: sync-interval "1": must be a duration from 10ms to 10s`,
		"ZBUS_MAX_BODY=16 MiO":        `zbus: max-body "16 MiO": must be a size from 1KiB to 512MiB`,
		"ZBUS_LISTEN=127.0.0.1":       `zbus: listen "127.0.0.1": must be HOST:PORT`,
		"ZBUS_LOG_LEVEL=loud\nthings": `zbus: log-level "loud\nthings": must be debug, info, warn or error`,
	} {
		t.Run(variable, func(t *testing.T) {
			wantFailure(t, run(t, command(t, []string{variable})), exitUsage, want)
		})
	}
}

func TestBadFileIsOneLineAndExits64(t *testing.T) {
	for text, want := range map[string]string{
		"lisen: 127.0.0.1:0":      `unknown setting "lisen"; the closest is "listen"`,
		"tail-cache: 1GiB":        `zbus: tail-cache "1GiB": must be less than max-memory, which is 512MiB`,
		"data: a\ndata: b\n":      "already defined",
		"max-connections: plenty": `zbus: max-connections "plenty": must be a number`,
	} {
		t.Run(text, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zbus.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			wantFailure(t, run(t, command(t, nil, "serve", "--config", path)), exitUsage, want)
		})
	}
}

func TestRefusedStartLeavesNothingBehind(t *testing.T) {
	cmd := command(t, nil, "--durability", "fsnyc")
	wantFailure(t, run(t, cmd), exitUsage, "durability")
	left, err := os.ReadDir(cmd.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestVersionNamesZbusGoAndSQLite(t *testing.T) {
	r := run(t, command(t, nil, "version"))
	want := regexp.MustCompile(`^zbus \S+\ngo1\.\d+\S* \w+/\w+\nSQLite 3\.\d+\.\d+\n$`)
	if r.code != 0 || r.stderr != "" || !want.MatchString(r.out) {
		t.Errorf("got %+v", r)
	}
}

func TestHelpListsEverySetting(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"help", "serve"}} {
		r := run(t, command(t, nil, args...))
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.out, "--sync-interval DURATION") {
			t.Errorf("%v: got %+v", args, r)
		}
	}
}

func TestAnotherWebServerExits69(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for _, args := range [][]string{{"topic", "list"}, {"produce", "T", "--body", "x"}, {"consume", "T"}, {"server", "info"}, {"backup", "copy.db"}} {
		r := run(t, command(t, nil, append(args, "--server", other.URL)...))
		wantFailure(t, r, exitUnavailable, "it is another server, so look at --server")
	}
}

// A terminal gets what a body says, and does not do it; a pipe gets it as it is.
func TestBodiesDoNotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	terminal, err := exec.LookPath("script")
	if err != nil {
		t.Skip("NOT TESTED: a terminal needs script(1)")
	}
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	ask(t, b.url+"/declare/T", "")
	ask(t, b.url+"/produce/T", "\x1b]0;owned\a")
	consume := []string{"consume", "T", "--server", b.url}
	if r := run(t, command(t, nil, consume...)); r.out != "\x1b]0;owned\a\n" {
		t.Errorf("through a pipe: %q", r.out)
	}
	for flag, want := range map[string]string{"": `\x1b]0;owned\x07`, " --raw": "\x1b]0;owned\a"} {
		cmd := command(t, nil, consume...)
		line := strings.Join(cmd.Args, " ") + flag
		cmd.Path, cmd.Args = terminal, []string{"script", "-qec", line, "/dev/null"}
		if r := run(t, cmd); strings.TrimRight(r.out, "\r\n") != want {
			t.Errorf("on a terminal%s: %q, want %q; %s", flag, r.out, want, r.stderr)
		}
	}
}

func TestConsumeToAClosedOutputTakesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	ask(t, b.url+"/declare/T/g?group_mask=64", "") // with acks
	ask(t, b.url+"/produce/T", "stays")
	consume := command(t, nil, "consume", "T", "--group", "g", "--server", b.url)
	closed := command(t, nil)
	closed.Path, closed.Args = "/bin/sh", []string{"sh", "-c", strings.Join(consume.Args, " ") + " >&-"}
	wantFailure(t, run(t, closed), exitUsage, "standard output is closed")
	full := command(t, nil)
	full.Path, full.Args = "/bin/sh", []string{"sh", "-c", strings.Join(consume.Args, " ") + " >/dev/full"}
	if r := run(t, full); r.code == 0 {
		t.Error("a full disk took messages")
	}
	if r := run(t, consume); r.out != "stays\n" {
		t.Errorf("left: %q, %s", r.out, r.stderr)
	}
}
