package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// What a terminal or a reader of logs would obey: a title, a cleared screen, a colour by one byte of the upper control
// characters, text that runs backwards, and a line of its own.
const steering = "\x1b]0;owned\a\x1b[2J\u009b31m\u202e\r\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged"

// everyField sends that in each field of which clients decide, over HTTP and the native protocol, and returns what was
// taken.
func everyField(t *testing.T, b *broker) (taken []string) {
	t.Helper()
	api := func(field, method, path string, body any) map[string]any {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, b.url+"/api/v1"+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer := map[string]any{}
		_ = json.NewDecoder(resp.Body).Decode(&answer)
		if resp.StatusCode < 300 {
			taken = append(taken, field)
		}
		return answer
	}
	type o = map[string]any
	api("", "POST", "/topics", o{"name": "T"})
	api("topic", "POST", "/topics", o{"name": steering})
	api("", "POST", "/topics/T/groups", o{"name": "g", "settle": "explicit", "maxDeliver": 5, "start": "earliest"})
	api("group", "POST", "/topics/T/groups", o{"name": steering})
	api("filter", "POST", "/topics/T/groups", o{"name": "f", "filter": strings.ReplaceAll(steering, ";", "")})
	for field, message := range map[string]o{
		"id": {"id": steering}, "tag": {"tag": steering}, "body": {"body": steering},
		"value of a header": {"headers": o{"x-note": steering}}, "name of a header": {"headers": o{steering: "x"}}, "type": {"headers": o{"content-type": steering}},
	} {
		message["body"] = steering
		api(field, "POST", "/topics/T/messages", message)
	}
	pulled := api("", "POST", "/topics/T/groups/g:pull", o{"max": 1})
	if all, _ := pulled["deliveries"].([]any); len(all) == 1 {
		first, _ := all[0].(o)
		api("reason of a nack", "POST", "/topics/T/groups/g:nack", o{"handles": []any{first["handle"]}, "reason": steering, "dead": true})
	}
	plan := api("", "POST", "/topics/T/groups/g/plans", o{"to": "latest"})
	api("reason of a move", "POST", fmt.Sprint("/plans/", plan["id"], ":apply"), o{"reason": steering})
	api("method", "POST", "/rpc/none", o{"method": steering})
	raw := func(text string, wait time.Duration) {
		c, err := net.Dial("tcp", b.address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(wait))
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
	const moment = 100 * time.Millisecond       // some are not answered
	one := strings.SplitN(steering, "\r", 2)[0] // what has no line of its own gets further
	for _, credential := range []string{"Bearer hello", "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+steering)), "Basic " + base64.StdEncoding.EncodeToString([]byte(steering+":ann"))} {
		raw("GET /api/v1/topics HTTP/1.1\r\nHost: "+b.address()+"\r\nAccept-Encoding: gzip\r\nConnection: close\r\nauthorization: "+credential+"\r\n\r\n", 30*time.Second)
	}
	for _, text := range []string{steering, one} {
		for _, name := range []string{"cmd", "topic", "id", "tag", "token", "consume_group", "group_filter", "sender", "recver", "method", "authorization", "x-forwarded-for", "host", "origin", "user-agent", "cookie"} {
			fields := "cmd: produce\r\ntopic: T\r\nid: 1\r\n"
			raw("GET / HTTP/1.1\r\n"+fields+name+": "+text+"\r\ncontent-length: 0\r\n\r\n", moment)
			raw("GET /api/v1/topics HTTP/1.1\r\nHost: "+b.address()+"\r\nAccept-Encoding: gzip\r\n"+name+": "+text+"\r\n\r\n", moment)
		}
		raw("GET /"+text+" HTTP/1.1\r\n\r\n", moment)
		raw(text+"\r\n\r\n", moment)
		raw("GET / HTTP/1.1\r\n"+text+": x\r\n\r\n", moment)
	}
	return taken
}

// obeyed is what of a text would be obeyed.
func obeyed(text string) string {
	text = regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(text, "") // colours are the program's own
	for i, r := range text {
		if r == utf8.RuneError || r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
			return fmt.Sprintf("%q in %q", r, text[max(i-40, 0):min(i+40, len(text))])
		}
	}
	return ""
}

func TestWhatClientsSaySteersNoLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir(), "--log-level=debug", "--log-format="+format))
		everyField(t, b)
		first := command(t, nil, "account", "add", "ann", "--admin", "--password-stdin", "--server", b.url)
		first.Stdin = strings.NewReader("a good password\n")
		if r := run(t, first); r.code != 0 {
			t.Fatal(r.stderr)
		}
		// And once more, with access on.
		everyField(t, b)
		b.stop(t, syscall.SIGTERM)
		log := b.stderr.String()
		for _, what := range []string{"credential refused", "wrong password"} {
			if !strings.Contains(log, what) {
				t.Errorf("%s: the log does not say %q, so this tells nothing", format, what)
			}
		}
		if bad := obeyed(log); bad != "" {
			t.Errorf("%s: %s", format, bad)
		}
		for line := range strings.Lines(log) {
			if format == "json" && !json.Valid([]byte(line)) || format == "text" && !strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "time=2026-01-01T00:00:00Z") {
				t.Errorf("%s: a line that is none: %q", format, line)
			}
		}
	}
}

// Every command that shows it on a terminal prints it escaped, and the terminal obeys none of it.
func TestWhatClientsSaySteersNoTerminal(t *testing.T) {
	t.Parallel()
	terminal, err := exec.LookPath("script")
	if err != nil {
		t.Skip("NOT TESTED: a terminal needs script(1)")
	}
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	taken := everyField(t, b)
	t.Logf("taken: %q", taken)
	shown := 0
	for _, args := range []string{
		"topic list", "topic show T", "group list", "group list T", "group show T g", "group show T f", "group journal T g", "group filter T f",
		"message list T", "message show T 0", "message show T 1", "message show T 2", "message find T owned", "message tail T", "message list T.dead", "message show T.dead 0",
		"consume T", "server sessions", "server audit", "server list", "server export", "server info", "server stats",
		"topic show '" + steering + "'", "message find T '" + steering + "'",
	} {
		for _, flag := range []string{"", " --json"} {
			cmd := command(t, nil, "--server", b.url)
			line := cmd.Args[0] + " " + args + " --server " + b.url + flag
			cmd.Path, cmd.Args = terminal, []string{"script", "-qec", line, "/dev/null"}
			out := run(t, cmd).out
			if bad := obeyed(out); bad != "" {
				t.Errorf("zbus %s%s: %s", args, flag, bad)
			}
			if strings.Contains(out, "owned") {
				shown++
			}
		}
	}
	if t.Logf("%d show something of it", shown); shown < 20 {
		t.Errorf("only %d show something of it", shown)
	}
}

// Nor does what accounts write about themselves, their tokens and their roles, in any list of those: neither what a
// terminal obeys, nor a line of its own.
func TestWhatAccountsWriteSteersNoTerminal(t *testing.T) {
	t.Parallel()
	terminal, err := exec.LookPath("script")
	if err != nil {
		t.Skip("NOT TESTED: a terminal needs script(1)")
	}
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--data", t.TempDir()))
	type o = map[string]any
	api := func(method, path string, body any) map[string]any {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, b.url+"/api/v1"+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth("ann", "a good password")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer := o{}
		_ = json.NewDecoder(resp.Body).Decode(&answer)
		if answer["status"] = float64(resp.StatusCode); resp.StatusCode >= 500 {
			t.Errorf("%s %s: %v", method, path, answer)
		}
		return answer
	}
	grants := []string{"publish:" + strings.ReplaceAll(steering, ";", ""), "publish:#"}
	api("PUT", "/roles/desk", o{"note": steering, "grants": grants[1:]})
	api("PUT", "/roles/till", o{"grants": grants})
	api("PUT", "/roles/"+url.PathEscape(steering), o{"grants": grants[1:]})
	api("POST", "/accounts", o{"name": "ann", "password": "a good password", "roles": []string{"admin"}, "note": steering})
	api("POST", "/accounts", o{"name": "bob", "note": steering, "grants": grants, "roles": []string{steering}})
	api("POST", "/accounts", o{"name": "bob", "note": steering, "roles": []string{"desk"}})
	api("POST", "/accounts", o{"name": steering})
	made := api("POST", "/tokens", o{"account": "ann", "note": steering})
	api("POST", "/tokens", o{"account": "bob", "note": steering, "grants": grants})
	token, _ := made["token"].(string)
	if token == "" {
		t.Fatalf("there is no token: %v", made)
	}
	shown := 0
	for _, args := range []string{
		"account list", "account show ann", "account show bob", "role list", "token list", "token list bob", "whoami", "server audit",
		"account show '" + steering + "'", "token list '" + steering + "'", "can '" + steering + "' publish t", "can bob publish '" + steering + "'",
		"role put '" + steering + "' --grant observe", "token create bob --note '" + steering + "'", "role put desk --grant 'publish:#' --note '" + steering + "'",
		"token create bob --grant 'publish:" + steering + "'", "login --help",
	} {
		for _, flag := range []string{"", " --json"} {
			cmd := command(t, nil, "--server", b.url)
			line := cmd.Args[0] + " " + args + " --server " + b.url + flag
			cmd.Path, cmd.Args = terminal, []string{"script", "-qec", line, "/dev/null"}
			cmd.Env = append(cmd.Env, "ZBUS_TOKEN="+token)
			out := run(t, cmd).out
			if bad := obeyed(out); bad != "" {
				t.Errorf("zbus %s%s: %s", args, flag, bad)
			}
			if regexp.MustCompile(`(?m)^time=2026`).MatchString(out) {
				t.Errorf("zbus %s%s: a line that is none: %q", args, flag, out)
			}
			if strings.Contains(out, "owned") {
				shown++
			}
		}
	}
	if t.Logf("%d show something of it", shown); shown < 16 {
		t.Errorf("only %d show something of it", shown)
	}
}
