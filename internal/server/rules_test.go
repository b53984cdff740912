package server_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

func TestAnyStartLineIsAcceptedWithACmdHeader(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, line := range []string{
		"GET / HTTP/1.1", "GET / HTTP/1.0", "anything /consume/other HTTP/1.1", "HTTP/1.1 200 OK", "http/1.0 404 Not Found",
		"\xad\xe6GET / HTTP/1.1", "X", "GET  /a b c HTTP/9", "POST http://elsewhere/ HTTP/1.1",
	} {
		c.write(line + "\r\ncmd: produce\r\ntopic: T\r\nid: " + fmt.Sprintf("%x", line) + "\r\ncontent-length: 4\r\n\r\nbody")
		if a := c.recv(); a.Status != 200 || a.Get("id") != fmt.Sprintf("%x", line) {
			t.Errorf("%q: got %d %q id %q", line, a.Status, a.Body, a.Get("id"))
		}
		c.call("consume topic=T").want(t, 200, "body")
	}
	c.write("X\r\nid: 1\r\n\r\n")
	if a := c.recv(); a.Status != 400 || a.Get("id") != "1" {
		t.Errorf("bad start line without cmd: %d %q", a.Status, a.Body)
	}
	c.write("X\r\nhost: localhost\r\nid: 2\r\n\r\n")
	if a := c.recv(); a.Status != 400 || a.Get("id") != "2" {
		t.Errorf("bad start line with a host: %d %q", a.Status, a.Body)
	}
	c.quiet()
}

// replies are requests by what kind of reply they get.
var replies = []struct {
	line   string
	status int
	json   bool
}{
	{"declare topic=J", 200, true},
	{"declare topic=J consume_group=g", 200, true},
	{"query topic=J", 200, true},
	{"query topic=J consume_group=g", 200, true},
	{"query", 200, true},
	{"tracker", 200, true},
	{"server", 200, true},
	{"track_sub", 200, true},
	{"relocate topic=J to=latest", 200, true},
	{"produce topic=J", 200, false},
	{"ping", 200, false},
	{"unconsume topic=J", 200, false},
	{"empty topic=J", 200, false},
	{"empty topic=J consume_group=g", 200, false},
	{"track_pub", 400, false},
	{"track_probe", 200, true},
	{"remove topic=J consume_group=g", 200, false},
	{"produce", 400, false},
	{"declare", 400, false},
	{"remove", 400, false},
	{"nonsense", 400, false},
	{"declare topic=a/b", 400, false},
	{"declare topic=J topic_mask=x", 400, false},
	{"consume topic=J window=x", 400, false},
	{"relocate topic=J to=nowhere", 400, false},
	{"relocate topic=J", 400, false},
	{"ack topic=J", 400, false},
	{"produce topic=none", 404, false},
	{"consume topic=none", 404, false},
	{"consume topic=J consume_group=none", 404, false},
	{"unconsume topic=none", 404, false},
	{"query topic=none", 404, false},
	{"query topic=J consume_group=none", 404, false},
	{"remove topic=none", 404, false},
	{"remove topic=J consume_group=none", 404, false},
	{"empty topic=none", 404, false},
	{"relocate topic=J from_group=none", 404, false},
	{"rpc topic=none", 404, false},
	{"ssl", 404, false},
	{"ack topic=J offset=0 handle=a.b.c", 409, false},
}

func TestEveryReplyEchoesTheIDOnceAndOnlyJSONHasAContentType(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, r := range replies {
		c := b.dial(t) // one each: a track_sub brings pushes
		a := c.call(r.line)
		if a.Status != r.status {
			t.Errorf("%s: got %d %q, want %d", r.line, a.Status, a.Body, r.status)
		}
		switch v, ok := a.Lookup("content-type"); {
		case r.json && (v != "application/json" || !json.Valid(a.Body)):
			t.Errorf("%s: content-type %q, body %q", r.line, v, a.Body)
		case !r.json && ok:
			t.Errorf("%s: a text with content-type %q", r.line, v)
		}
		if r.line != "track_sub" {
			c.quiet()
		}
	}
	c := b.dial(t)
	c.write("GET / HTTP/1.1\r\ncmd: ping\r\n\r\n")
	if a := c.recv(); a.Get("id") == "" {
		t.Error("a request without an id gets a reply without one")
	}
}

func TestNothingAnswersHeartbeatRouteAndUnackedProduce(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, line := range []string{
		"heartbeat", "heartbeat ack=1", "route recver=nobody", "route ack=1", "route",
		"produce topic=T ack=false", "track_pub ack=0",
	} {
		c.send(line+" id=silent", "x")
		c.quiet()
	}
	if a := c.call("produce topic=none ack=false"); a.Status != 404 {
		t.Errorf("produce to an unknown topic without ack: %d", a.Status)
	}
}

func TestAckIsTrueOnlyWhenAbsentOr1OrTrue(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for i, v := range []struct {
		header string
		ack    bool
	}{
		{"", true},
		{"ack: 1\r\n", true},
		{"ack: true\r\n", true},
		{"ack: True\r\n", true},
		{"Ack:TRUE\r\n", true},
		{"ack: \r\n", false},
		{"ack:\r\n", false},
		{"ack: 0\r\n", false},
		{"ack: false\r\n", false},
		{"ack: False\r\n", false},
		{"ack: yes\r\n", false},
		{"ack: null\r\n", false},
	} {
		c.write("GET / HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: p\r\n" + v.header + "content-length: 1\r\n\r\nx")
		if v.ack {
			if a := c.recv(); a.Get("id") != "p" || !regexp.MustCompile(`^\d{13}$`).Match(a.Body) {
				t.Errorf("%q: got id %q, body %q", v.header, a.Get("id"), a.Body)
			}
		}
		if a := c.ok("query topic=T"); !strings.Contains(string(a.Body), fmt.Sprintf(`"messageDepth":%d,`, i+1)) {
			t.Errorf("%q: not stored: %s", v.header, a.Body)
		}
	}
}

func TestSenderIsTheSessionsUUIDAndCannotBeForged(t *testing.T) {
	t.Parallel()
	b := start(t)
	seen := map[string]bool{}
	for range 3 {
		c := b.dial(t)
		c.ok("declare topic=T")
		c.ok("produce topic=T sender=somebody:else")
		a := c.ok("consume topic=T")
		id := a.Get("sender")
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || seen[id] {
			t.Errorf("sender %q", id)
		}
		seen[id] = true
	}
}

func TestASecondConsumeReplacesTheWaitingOne(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	c.ok("declare topic=T consume_group=other")
	for _, ids := range [][2]string{{"old", "new"}, {"same", "same"}} {
		c.send("consume topic=T id=" + ids[0])
		c.send("consume topic=T id=" + ids[1])
		c.ok("ping")
		c.send("produce topic=T ack=0", "m")
		c.recv().want(t, 200, "m").header(t, "id", ids[1])
		c.quiet()
	}
	// Another group of the topic waits on its own, on the same connection.
	c.ok("consume topic=T consume_group=other")
	c.ok("consume topic=T consume_group=other")
	c.send("consume topic=T id=1")
	c.send("consume topic=T id=2 consume_group=other")
	c.quiet()
	c.send("produce topic=T ack=0", "both")
	got := map[string]bool{c.recv().Get("id"): true, c.recv().Get("id"): true}
	if !got["1"] || !got["2"] {
		t.Errorf("answered: %v", got)
	}
	c.quiet()
}

func TestConsumeOfAnUnknownTopicOrGroupIs404AndCreatesNothing(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, line := range []string{"topic=U", "topic=U consume_group=g", "topic=T consume_group=g"} {
		for _, cmd := range []string{"consume ", "query ", "unconsume ", "empty ", "remove ", "relocate to=latest "} {
			if a := c.call(cmd + line); a.Status != 404 {
				t.Errorf("%s%s: %d", cmd, line, a.Status)
			}
		}
	}
	if a := c.ok("server"); strings.Contains(string(a.Body), `"U"`) || strings.Contains(string(a.Body), `"g"`) {
		t.Errorf("something was created: %s", a.Body)
	}
}

func TestDeclareWithoutAGroupMakesSureOfTheDefaultGroup(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	groups := func(a answer) (names []string) {
		var info struct {
			ConsumeGroupList []struct{ GroupName string }
		}
		if err := json.Unmarshal(a.Body, &info); err != nil {
			t.Fatal(err)
		}
		for _, g := range info.ConsumeGroupList {
			names = append(names, g.GroupName)
		}
		return names
	}
	c.ok("declare topic=T consume_group=g")
	if got := groups(c.ok("query topic=T")); fmt.Sprint(got) != "[g]" {
		t.Errorf("a declare with a group made %v", got)
	}
	if got := groups(c.ok("declare topic=t")); fmt.Sprint(got) != "[T g]" {
		t.Errorf("a declare without a group made %v", got)
	}
	c.ok("remove topic=T consume_group=T")
	if got := groups(c.ok("declare topic=T")); fmt.Sprint(got) != "[T g]" {
		t.Errorf("a second declare without a group made %v", got)
	}
}

func TestADeliveryKeepsTheMessageAndSaysWhereItCameFrom(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	body := "\x00\xff\r\n\r\nGET / HTTP/1.1\r\n"
	c.write("POST /svc/method?x=1 HTTP/1.1\r\nCmd: produce\r\nTOPIC: t\r\nid: m1\r\ntag: a.b\r\nencoding: gbk\r\n" +
		"Content-Type: text/x; charset=GBK\r\nX-Trace: v:1\xe9\r\nempty:\r\nack: 1\r\ntoken: secret\r\ncookie: secret\r\nconnection: Keep-Alive\r\n" +
		"host: forged\r\norigin_id: forged\r\nhandle: forged\r\noffset: 99\r\nlocation: http://evil/\r\naccess-control-allow-origin: *\r\n" +
		fmt.Sprintf("content-length: %d\r\n\r\n%s", len(body), body))
	c.recv().header(t, "id", "m1")
	a := c.ok("consume topic=T").want(t, 200, body)
	a.header(t, "origin_id", "m1", "origin_url", "/svc/method?x=1", "topic", "t", "tag", "a.b", "encoding", "gbk",
		"content-type", "text/x; charset=GBK", "x-trace", "v:1\xe9", "offset", "0", "delivery-count", "")
	a.without(t, "cmd", "ack", "token", "cookie", "connection", "host", "handle", "location", "access-control-allow-origin", "origin_status")
	if _, ok := a.Lookup("empty"); !ok {
		t.Error("an empty header is lost")
	}
	if !regexp.MustCompile(`^\d{13}$`).MatchString(a.Get("timestamp")) {
		t.Errorf("timestamp %q", a.Get("timestamp"))
	}
	c.ok("produce topic=T")
	c.ok("consume topic=T").want(t, 200, "").header(t, "origin_url", "/", "offset", "1").without(t, "content-type", "tag")

	c.write("HTTP/1.1 404 Not Found\r\ncmd: produce\r\ntopic: T\r\nid: m2\r\n\r\n")
	c.recv().header(t, "id", "m2")
	c.ok("consume topic=T").header(t, "origin_status", "404", "origin_id", "m2", "origin_url", "/")
}

func TestInfoVersionsIncreaseAlsoAcrossRestarts(t *testing.T) {
	t.Parallel()
	b := start(t)
	last := time.Now().Add(-time.Minute).UnixMilli()
	for range 2 {
		c := b.dial(t)
		for range 20 {
			for _, cmd := range []string{"tracker", "server", "query"} {
				var info struct{ InfoVersion int64 }
				if err := json.Unmarshal(c.ok(cmd).Body, &info); err != nil || info.InfoVersion <= last {
					t.Fatalf("%s: version %d (%v) after %d", cmd, info.InfoVersion, err, last)
				}
				last = info.InfoVersion
			}
		}
		b = b.restart(t)
	}
}

func TestTheServerTableIsKeyedByTheServersAddressAndHasNoNulls(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	for _, declare := range []string{"", "declare topic=T consume_group=g"} {
		if declare != "" {
			c.ok(declare)
		}
		for _, line := range []string{"tracker", "server", "track_sub"} {
			a := b.dialOnce(t, line)
			if strings.Contains(string(a.Body), "null") || strings.Contains(string(a.Body), `"error"`) || strings.Contains(string(a.Body), "creator") {
				t.Errorf("%s: %s", line, a.Body)
			}
			address := fmt.Sprintf(`"serverAddress":{"address":%q,"sslEnabled":false},"serverVersion":"test","infoVersion":`, b.addr)
			if !strings.HasPrefix(string(a.Body), "{"+address) || line != "server" && !strings.Contains(string(a.Body), fmt.Sprintf(`"serverTable":{%q:{%s`, b.addr, address)) {
				t.Errorf("%s: %s", line, a.Body)
			}
		}
	}
}

func TestSubscribersAreToldSoonAfterADeclare(t *testing.T) {
	t.Parallel()
	b := start(t)
	sub, c := b.dial(t), b.dial(t)
	sub.ok("track_sub").header(t, "cmd", "track_pub")
	for _, step := range []struct{ line, tell string }{
		{"declare topic=New", `"New":{"topicName":"New"`},
		{"declare topic=New consume_group=g", `"groupName":"g"`},
		{"consume topic=New consume_group=g timeout=0", `"consumerCount":1`},
		{"remove topic=New", `"topicTable":{}`},
	} {
		began := time.Now()
		c.send(step.line)
		for {
			a := sub.recv()
			a.header(t, "cmd", "track_pub", "content-type", "application/json").without(t, "id")
			if strings.Contains(string(a.Body), step.tell) {
				break
			}
		}
		if took := time.Since(began); took > 20*time.Second { // not only with the next broadcast, after 30 s
			t.Errorf("%s: told after %v", step.line, took)
		}
		for a := c.recv(); a.Status != 200 && a.Status != 204; {
			t.Fatalf("%s: %d %q", step.line, a.Status, a.Body)
		}
	}
}

// The original's clients look a new topic up in the table that pushes bring as soon as its
// declaration is answered.
func TestSubscribersKnowBeforeADeclareIsAnswered(t *testing.T) {
	t.Parallel()
	b := start(t)
	sub, c := b.dial(t), b.dial(t)
	sub.ok("track_sub")
	c.ok("track_sub")
	for i := range 5 {
		for _, x := range []struct{ line, name string }{
			{"declare topic=New" + strconv.Itoa(i), `"New` + strconv.Itoa(i) + `":{`},
			{"declare consume_group=g" + strconv.Itoa(i) + " topic=New" + strconv.Itoa(i), `"groupName":"g` + strconv.Itoa(i)},
		} {
			began := time.Now()
			c.send(x.line + " id=declared")
			var told string // the version of the push that told the client
			for a := c.recv(); a.Get("id") != "declared"; a = c.recv() {
				if told == "" && strings.Contains(string(a.Body), x.name) {
					told = infoVersion(t, a.Body)
				}
			}
			if told == "" {
				t.Errorf("%s: answered before the client was told", x.line)
			}
			if took := time.Since(began); took < announceTime {
				t.Errorf("%s: answered after %v, when others may not have read of it", x.line, took)
			}
			push := sub.recv()
			for !strings.Contains(string(push.Body), x.name) {
				push = sub.recv()
			}
			if v := infoVersion(t, push.Body); v != told {
				t.Errorf("%s: others are told with version %s, the client with %s, which was before", x.line, v, told)
			}
		}
	}
}

// infoVersion is the version of a table that a tracker pushes.
func infoVersion(t *testing.T, body []byte) string {
	t.Helper()
	var table struct{ InfoVersion json.Number }
	if err := json.Unmarshal(body, &table); err != nil {
		t.Fatal(err)
	}
	return table.InfoVersion.String()
}

// announceTime is how long the reply to a declare waits for subscribers to read of it.
const announceTime = 15 * time.Millisecond

func TestOnlySilentConnectionsAreClosedAsIdle(t *testing.T) {
	t.Parallel()
	if d := config.Default().IdleTimeout; d < 2*time.Minute {
		t.Errorf("by default the idle timeout is %v; clients send a heartbeat every minute", d)
	}
	b := start(t, func(c *config.Config) { c.IdleTimeout = time.Second })
	alive, silent, mute := b.dial(t), b.dial(t), b.dial(t)
	silent.ok("ping")
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = silent.next()
		_, _ = mute.next()
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); ; {
		select {
		case <-tick.C:
			alive.send("heartbeat")
			continue
		case <-limit:
			t.Fatal("silent connections stay open")
		case <-over:
		}
		break
	}
	alive.ok("ping")
}
