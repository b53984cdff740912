package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// watched is a program that notes its arguments and its environment in the file log, and does the rest.
const watched = "#!/bin/sh\n{ echo \"args: $*\"; env; } >>\"$WATCH_LOG\"\n"

// helper is a credential helper: it keeps what it was given last for a context.
const helper = watched + `read -r line
context=$(printf '%s' "$line" | sed 's/.*"context":"\([^"]*\)".*/\1/')
case $1 in
get) cat "$WATCH_LOG.$context" 2>/dev/null ;;
store) printf '%s' "$line" >"$WATCH_LOG.$context" ;;
erase) rm -f "$WATCH_LOG.$context" ;;
esac
`

// aToken is what tokens look like.
var aToken = regexp.MustCompile(`zb_[a-z0-9]{8}_[a-z0-9]+`)

// loginPlace is a user of a broker that has accounts, whose directories are the test's.
type loginPlace struct {
	t       *testing.T
	dir     string
	log     string // see watched
	environ []string
	address string
}

func newLoginPlace(t *testing.T) *loginPlace {
	t.Helper()
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	dir := t.TempDir()
	p := &loginPlace{t: t, dir: dir, log: filepath.Join(dir, "log"), address: b.address()}
	p.environ = []string{
		"HOME=" + dir, "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_DATA_HOME=" + filepath.Join(dir, "share"),
		"ZBUS_SERVER=" + b.address(), "WATCH_LOG=" + p.log, "PATH=" + filepath.Join(dir, "bin") + ":" + filepath.Dir(os.Getenv(binaryVariable)) + ":" + os.Getenv("PATH"),
	}
	p.zbus("a good password\n", "account", "add", "ann", "--admin", "--password-stdin")
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// program writes one that is found in the path.
func (p *loginPlace) program(name, text string) (path string) {
	p.t.Helper()
	path = filepath.Join(p.dir, "bin", name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// zbus runs a command that has to work.
func (p *loginPlace) zbus(in string, args ...string) result {
	p.t.Helper()
	cmd := command(p.t, p.environ, args...)
	cmd.Stdin = strings.NewReader(in)
	r := run(p.t, cmd)
	if r.code != 0 {
		p.t.Fatalf("%s: %d %s", args, r.code, r.stderr)
	}
	return r
}

// contexts is the text of the file of contexts.
func (p *loginPlace) contexts() string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "config", "zbus", "contexts.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// noToken checks that no token is in a text, and that there is such a text.
func (p *loginPlace) noToken(what, text string) {
	p.t.Helper()
	if found := aToken.FindString(text); found != "" || text == "" {
		p.t.Errorf("%s has %d bytes and the token %q", what, len(text), found)
	}
}

// logged is what the watched programs have noted.
func (p *loginPlace) logged() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func TestACredentialHelperKeepsTheToken(t *testing.T) {
	t.Parallel()
	p := newLoginPlace(t)
	program := p.program("my-vault", helper)
	file := p.log + "." + p.address
	p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin", "--no-keyring")
	old := aToken.FindString(p.contexts())
	if old == "" {
		t.Fatalf("without a keyring the file has no token: %s", p.contexts())
	}
	// The one before is revoked, and no longer in the file. ZBUS_TOKEN is for zbus, not for its children.
	p.environ = append(p.environ, "ZBUS_TOKEN="+old)
	r := p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin", "--helper", program)
	if !strings.Contains(r.stderr, program) {
		t.Errorf("it does not say where the token is: %s", r.stderr)
	}
	p.environ = p.environ[:len(p.environ)-1]
	p.noToken("the file of contexts", p.contexts())
	stored, err := os.ReadFile(file)
	var request struct{ Context, Server, Token string }
	if err != nil || json.Unmarshal(stored, &request) != nil || request.Context != p.address || request.Server != p.address || !aToken.MatchString(request.Token) {
		t.Fatalf("the helper was given %s: %v", stored, err)
	}
	if r := p.zbus("", "whoami"); !strings.Contains(r.out, "account  ann\n") {
		t.Errorf("%+v", r)
	}
	if r := p.zbus("", "context", "list"); !strings.Contains(r.out, "in "+program) {
		t.Errorf("contexts: %s", r.out)
	}
	p.zbus("", "logout")
	if _, err := os.Stat(file); err == nil {
		t.Error("the helper still has the token")
	}
	if r := run(t, command(t, append(p.environ, "ZBUS_TOKEN="+request.Token), "whoami")); r.code != 77 {
		t.Errorf("the token is not revoked: %+v", r)
	}
	if text := p.logged(); strings.Count(text, "args: ") < 4 || !strings.Contains(text, "args: store") {
		t.Errorf("the helper was run so: %s", text)
	}
	p.noToken("the arguments and the environment of the helper", p.logged())
}

// What can't be kept is not lost without a word, and what can't be got says why.
func TestACredentialHelperThatFails(t *testing.T) {
	t.Parallel()
	p := newLoginPlace(t)
	program := p.program("my-vault", "#!/bin/sh\necho 'the vault is sealed' >&2\nexit 3\n")
	cmd := command(t, p.environ, "login", "--account", "ann", "--password-stdin", "--helper", program)
	cmd.Stdin = strings.NewReader("a good password\n")
	if r := run(t, cmd); r.code == 0 || !strings.Contains(r.stderr, "the vault is sealed") {
		t.Errorf("%+v", r)
	}
	p.program("my-vault", helper)
	p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin", "--helper", program)
	p.program("my-vault", "#!/bin/sh\necho 'the vault is sealed' >&2\nexit 3\n")
	if r := run(t, command(t, p.environ, "whoami")); r.code == 0 || !strings.Contains(r.stderr, "the vault is sealed") {
		t.Errorf("%+v", r)
	}
	p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin", "--no-keyring") // a way out
	if !aToken.MatchString(p.contexts()) {
		t.Error("the file has no token")
	}
	p.zbus("", "whoami")
}

// A token is erased only when the one that replaces it is saved.
func TestATokenStaysAsLongAsNoOtherIsSaved(t *testing.T) {
	t.Parallel()
	p := newLoginPlace(t)
	program := p.program("my-vault", helper)
	p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin", "--helper", program)
	contexts := filepath.Join(p.dir, "config", "zbus")
	spoiler := p.program("spoiler", "#!/bin/sh\n[ $1 = store ] && mv '"+contexts+"' '"+contexts+".away' && touch '"+contexts+"'\nexit 0\n")
	cmd := command(t, p.environ, "login", "--account", "ann", "--password-stdin", "--helper", spoiler)
	cmd.Stdin = strings.NewReader("a good password\n")
	if r := run(t, cmd); r.code == 0 {
		t.Fatalf("logged in, though the context can't be saved: %+v", r)
	}
	if err := os.Remove(contexts); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(contexts+".away", contexts); err != nil {
		t.Fatal(err)
	}
	if r := p.zbus("", "whoami"); !strings.Contains(r.out, "account  ann\n") {
		t.Errorf("after a login that failed: %+v", r)
	}
	if r := p.zbus("", "token", "list", "--json"); strings.Count(r.out, "zbus login on") != 1 {
		t.Errorf("the token that was not saved is not revoked: %s", r.out)
	}
	for _, args := range []string{"context add " + p.address + " --server " + p.address, "context remove " + p.address} {
		cmd := command(t, p.environ)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "trap '' XFSZ; ulimit -f 0; exec zbus " + args} // no file can grow
		if r := run(t, cmd); r.code == 0 {
			t.Fatalf("%s: %+v", args, r)
		}
		if r := p.zbus("", "whoami"); !strings.Contains(r.out, "account  ann\n") {
			t.Errorf("after %s, which failed: %+v", args, r)
		}
	}
}

// The keyring is there and does not work, as with a session bus and nobody who keeps secrets.
func TestWithoutAKeyringThatWorksTheFileKeepsTheToken(t *testing.T) {
	t.Parallel()
	p := newLoginPlace(t)
	p.program("secret-tool", watched+"cat >/dev/null; echo 'no such service' >&2; exit 1\n")
	p.environ = append(p.environ, "DBUS_SESSION_BUS_ADDRESS=unix:path="+p.dir+"/none")
	r := p.zbus("a good password\n", "login", "--account", "ann", "--password-stdin")
	if !strings.Contains(r.stderr, "no such service") || !aToken.MatchString(p.contexts()) {
		t.Errorf("%s, and the file has %s", r.stderr, p.contexts())
	}
	info, err := os.Stat(filepath.Join(p.dir, "config", "zbus", "contexts.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode: %v %v", info.Mode(), err)
	}
	p.zbus("", "whoami")
	p.noToken("the arguments and the environment of secret-tool", p.logged())
}

// inSession runs a shell script with a session bus and an unlocked keyring of its own.
const inSession = `printf 'the keyring' | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 || exit 90
printf 'a secret' | /usr/bin/secret-tool store --label=probe probe yes || exit 91
`

func TestTheKeyringOfTheSystemKeepsTheToken(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon", "/usr/bin/secret-tool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: %s is missing (apt-get install gnome-keyring libsecret-tools dbus)", program)
		}
	}
	p := newLoginPlace(t)
	p.program("secret-tool", watched+"exec /usr/bin/secret-tool \"$@\"\n")
	session := func(script string) result {
		t.Helper()
		cmd := command(t, p.environ)
		cmd.Path, cmd.Args = "/usr/bin/env", []string{"env", "dbus-run-session", "--", "sh", "-c", inSession + script}
		r := run(t, cmd)
		if r.code == 90 || r.code == 91 {
			t.Skipf("NOT TESTED: no keyring can be run here: %s", r.stderr)
		}
		return r
	}
	r := session(`set -e
printf 'a good password\n' | zbus login --account ann --password-stdin
zbus whoami
zbus context list
secret-tool lookup service zbus context "$ZBUS_SERVER"`)
	token := aToken.FindString(r.out)
	if r.code != 0 || token == "" || !strings.Contains(r.out, "account  ann\n") || !strings.Contains(r.out, "in the keyring of the system") {
		t.Fatalf("%+v", r)
	}
	p.noToken("the file of contexts", p.contexts())
	r = session(`zbus whoami && zbus logout && ! /usr/bin/secret-tool lookup service zbus context "$ZBUS_SERVER"`) // the next day
	if r.code != 0 || !strings.Contains(r.out, "account  ann\n") || strings.Contains(r.stderr, "not revoked") {
		t.Errorf("%+v", r)
	}
	if r := run(t, command(t, append(p.environ, "ZBUS_TOKEN="+token), "whoami")); r.code != 77 {
		t.Errorf("the token is not revoked: %+v", r)
	}
	p.noToken("the arguments and the environment of secret-tool", p.logged())
}
