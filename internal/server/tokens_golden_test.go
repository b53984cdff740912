package server_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// boss is the administrator of startClosed.
const boss = "Authorization: Basic Ym9zczphIGdvb2QgcGFzc3dvcmQ=\r\n"

// startClosed runs a broker with access on, with an account "app" that has some grants and a token.
func startClosed(t *testing.T, grants ...string) (b *instance, token string) {
	t.Helper()
	b = start(t, func(c *config.Config) { c.Auth = config.AuthAuto })
	ask := func(path string, spec map[string]any, lines string) (v map[string]any) {
		body, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		resp := b.web(t, "POST", "/api/v1"+path, lines+"Content-Type: application/json\r\n", string(body))
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, pageOf(t, resp))
		}
		if err := json.Unmarshal([]byte(pageOf(t, resp)), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	ask("/accounts", map[string]any{"name": "boss", "password": "a good password", "roles": []string{"admin"}}, "")
	ask("/accounts", map[string]any{"name": "app", "grants": grants}, boss)
	return b, ask("/tokens", map[string]any{"account": "app"}, boss)["token"].(string)
}

var tokenLine = regexp.MustCompile(`token: [^\r]*\r\n`)

// with is the family when its user has set a token. It goes with each request, but for the answers of
// PHP and .NET.
func (f family) with(token string) family {
	if token == "" {
		return f
	}
	line := "token: " + token + "\r\n"
	for _, template := range []*string{&f.declare, &f.consume, &f.produce, &f.invoke, &f.route} {
		if *template = tokenLine.ReplaceAllString(*template, ""); template != &f.route || f.name != "PHP" && f.name != ".NET" {
			*template = line + *template
		}
	}
	return f
}

// varying matches what differs from run to run: handles first, which may begin with digits.
var varying = regexp.MustCompile(`[A-Z2-7]{26}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]{4,}|content-length: [0-9]+`)

// story is what a family reads, message by message, when it calls, publishes, consumes and asks.
func (f family) story(t *testing.T, b *instance, token string) (read []string) {
	s, c := b.dial(t), b.dial(t)
	note := func(a answer) answer {
		t.Helper()
		read = append(read, varying.ReplaceAllString(a.head+string(a.Body), "{N}"))
		return a
	}
	if !f.declareFirst {
		f.write(s, f.consume, "T", "c1", "")
		note(s.recv())
	}
	f.write(s, f.declare, "T", "c1", "")
	note(s.recv())
	f.write(s, f.consume, "T", "c1", "")
	eventually(t, "the service consumes", func() bool {
		return strings.Contains(string(b.dialOnce(t, "query topic=T token="+token).Body), `"consumerCount":1`)
	})
	f.write(c, f.invoke, "T", "r1", f.invokeBody)
	call := note(s.recv())
	f.write(s, f.route, "T", "", f.routeBody, "{sender}", call.Get("sender"), "{to}", "r1")
	note(c.recv())

	b.dialOnce(t, "remove topic=T token="+token)  // whose call is settled at some time
	b.dialOnce(t, "declare topic=L token="+token) // on disk: not what the family's mask makes of it
	f.write(c, f.produce, "L", "p1", "body")
	note(c.recv())
	f.write(c, f.consume, "L", "c2", "")
	note(c.recv())
	f.write(c, f.produce, "nowhere", "p2", "body")
	note(c.recv())
	said := "" // of those that come without, the first one's holds
	if token != "" && f.name != "PHP" {
		said = "token: " + token + "\r\n"
	}
	last := call
	for _, line := range []string{
		"cmd: query\r\ntopic: L\r\n", "cmd: query\r\ntopic: L\r\nconsume_group: L\r\n", "cmd: query\r\n", "cmd: tracker\r\n", "cmd: server\r\n",
		"cmd: declare\r\ntopic: L\r\nconsume_group: g\r\ngroup_mask: 64\r\n", "cmd: produce\r\ntopic: L\r\n", "cmd: consume\r\ntopic: L\r\nconsume_group: g\r\n",
		"cmd: ack\r\ntopic: L\r\nconsume_group: g\r\noffset: {offset}\r\nhandle: {handle}\r\n", "cmd: unconsume\r\ntopic: L\r\nconsume_group: g\r\n",
		"cmd: empty\r\ntopic: L\r\n", "cmd: remove\r\ntopic: L\r\nconsume_group: g\r\n", "cmd: remove\r\ntopic: L\r\n",
	} {
		f.write(c, said+"id: {id}\r\n"+line, "L", "q", "", "{offset}", last.Get("offset"), "{handle}", last.Get("handle"))
		last = note(c.recv())
	}
	return read
}

// With access on, clients of the original that have a token read, byte by byte, what they read without.
func TestAClientWithATokenReadsTheSame(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			open := f.story(t, start(t), "")
			b, token := startClosed(t, "publish,consume,manage,move,call,serve:#", "observe")
			closed := f.with(token).story(t, b, token)
			for i := range max(len(open), len(closed)) {
				if i >= len(open) || i >= len(closed) || open[i] != closed[i] {
					t.Fatalf("message %d:\n%q, without access\n%q", i, closed[i], open[i])
				}
			}
			if len(open) < 17 {
				t.Errorf("%d messages", len(open))
			}
			for i, text := range open {
				if !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") && !strings.HasPrefix(text, "HTTP/1.1 404 ") {
					t.Errorf("message %d: %q", i, text)
				}
			}
		})
	}
}

// Who has no token, a wrong one, or one that may not, reads why: without a content type, under the id
// of the request.
func TestARefusedClientReadsWhy(t *testing.T) {
	t.Parallel()
	b, token := startClosed(t, "consume:T")
	if resp := b.web(t, "POST", "/api/v1/topics", boss+"Content-Type: application/json\r\n", `{"name":"T"}`); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			c := b.dial(t)
			f.write(c, f.produce, "T", "p1", "body")
			wantFailure(t, c.recv(), 401, "Unauthorized", "p1", "a token or a login is needed; to do this takes the grant publish:T")
			f.write(c, f.consume, "T", "c1", "")
			wantFailure(t, c.recv(), 401, "Unauthorized", "c1", "a token or a login is needed")
			f.write(c, "cmd: heartbeat\r\n", "", "", "")
			f.write(c, f.with(token).declare, "T", "d1", "")
			wantFailure(t, c.recv(), 403, "Forbidden", "d1", "account app lacks the grant manage:T")
			f.write(c, f.with(token).produce, "T", "p2", "body")
			wantFailure(t, c.recv(), 403, "Forbidden", "p2", "account app lacks the grant publish:T")
			f.write(c, f.with(token).produce, "unseen", "p3", "body")
			wantFailure(t, c.recv(), 404, "Not Found", "p3", "Topic(unseen) not found")
			f.write(c, f.with("zb_aaaaaaaa_b").produce, "T", "p4", "body")
			wantFailure(t, c.recv(), 401, "Unauthorized", "p4", "the token, password or login is wrong, has expired or was revoked")
			c.closed()
		})
	}
}
