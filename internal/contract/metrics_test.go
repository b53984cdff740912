package contract

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// seriesOf are the names of all series in a text of Prometheus, with their types and the names
// of their labels.
func seriesOf(text string) map[string]bool {
	types, all := map[string]string{}, map[string]bool{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			types[name] = kind
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		family := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if of, ok := strings.CutSuffix(name, suffix); ok && types[of] != "" {
				family = of
			}
		}
		var names []string
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		all[strings.TrimSpace(fmt.Sprint(name, " ", types[family], " ", strings.Join(names, ",")))] = true
	}
	return all
}

// Dashboards and alerts go by these names.
func TestMetricsKeepTheirNamesTypesAndLabels(t *testing.T) {
	raw, err := os.ReadFile("testdata/series.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if runtime.GOOS == "linux" || !strings.HasPrefix(line, "process_") {
			want[strings.TrimSpace(line)] = true
		}
	}
	b := start(t, func(c *config.Config) { c.AddressSockets, c.LimitLoopback = 1, true })
	c := b.client(t)
	explicitGroup(c, 3)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/rpc/calc/add", list{1, 2}).refused(503, "unavailable", "calc")
	stream := b.open(t, "GET "+base+"/topics/T/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.ReadFull(stream, make([]byte, len("HTTP/1.1 200"))); err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/topics/T/events").refused(429, "quota", "this address has 1")
	_, body := outside(c, "/metrics")
	got := seriesOf(body)
	maps.Copy(got, seriesOf(startGuarded(t).metrics())) // those that accounts have
	for _, line := range slices.Sorted(maps.Keys(want)) {
		if !got[line] && !strings.HasPrefix(line, "zbus_condition ") { // there may be nothing wrong
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(got)) {
		if !want[line] {
			t.Errorf("not in testdata/series.txt: %s", line)
		}
	}
}

// Prometheus' own reader and linter are in the module of the tools, which the product is not built
// with.
func TestPrometheusTakesTheMetrics(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 3)
	c.post("/topics/T/groups/g:pull", object{"max": 2, "timeout": 5000}).want(200)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/rpc/calc/add", list{1, 2}).refused(503, "unavailable", "calc")
	_, body := outside(c, "/metrics")
	lint := exec.CommandContext(t.Context(), "go", "-C", "../../tools", "run", "./promlint")
	ofAccounts := startGuarded(t).metrics()
	at := strings.Index(ofAccounts, "# HELP zbus_account_")
	ofAccounts = ofAccounts[at:]
	for n, line := range strings.SplitAfter(ofAccounts, "\n") {
		if strings.HasPrefix(line, "# HELP ") && !strings.HasPrefix(line, "# HELP zbus_account_") {
			ofAccounts = strings.Join(strings.SplitAfter(ofAccounts, "\n")[:n], "")
			break
		}
	}
	lint.Stdin = strings.NewReader(body + ofAccounts)
	if said, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	for _, line := range []string{
		`zbus_topic_published_messages_total{topic="T"} 3`, `zbus_topic_messages{topic="T"} 3`,
		`zbus_group_delivered_messages_total{group="g",topic="T"} 2`, `zbus_group_in_flight_messages{group="g",topic="T"} 2`,
		`zbus_group_lag_messages{group="g",topic="T"} 3`, `zbus_rpc_calls_total{method="add",outcome="unavailable",topic="calc"} 1`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	for name := range seriesOf(body) {
		if !strings.HasPrefix(name, "zbus_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s has no prefix of ours", name)
		}
	}
}

// metrics are those of a broker with access on.
func (g *guarded) metrics() string {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.addr+"/metrics", http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		g.t.Fatalf("%s %s %v", resp.Status, text, err)
	}
	return string(text)
}

// Each account has its own figures, whichever way it publishes and consumes.
func TestMetricsOfAccounts(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token, other := g.limited("shop", object{"messages": 100}), g.limited("other", object{})
	g.admin.do("POST", "/topics/t/messages", list{object{"body": "12345"}, object{"body": "678"}}, as(token)).want(201)
	n := g.native(t)
	n.send("produce topic=t id=1 token=" + token)
	n.next()
	for range 5 {
		n.send("produce topic=t id=1 token=" + other)
		n.next()
	}
	many := list{}
	for range 200 {
		many = append(many, object{"body": "x"})
	}
	stored, refused := 3, 0
	for stored == 3 || refused == 0 { // more than a second's worth needs a full second, and the next one waits
		if g.unchecked.do("POST", "/topics/t/messages", many, as(token)).status == 201 {
			stored += len(many)
		} else {
			refused++
		}
	}
	for got := 0; got < 8; {
		got += len(g.admin.do("POST", "/topics/t/groups/g:pull", object{"max": 8 - got, "timeout": 30_000}, as(token)).want(200).list("deliveries"))
	}
	eventually(t, "all is counted", func() bool {
		text := g.metrics()
		for _, line := range []string{
			fmt.Sprint(`zbus_account_published_messages_total{account="shop"} `, stored), fmt.Sprint(`zbus_account_published_bytes_total{account="shop"} `, stored+5),
			`zbus_account_delivered_messages_total{account="shop"} 8`, `zbus_account_delivered_bytes_total{account="shop"} 8`,
			fmt.Sprint(`zbus_account_refused_total{account="shop"} `, refused), `zbus_account_published_messages_total{account="other"} 5`,
			`zbus_account_connections{account="other"} 1`, `zbus_account_connections{account="shop"} 0`,
		} {
			if !strings.Contains(text, "\n"+line+"\n") {
				return false
			}
		}
		return true
	})
	g.admin.do("DELETE", "/accounts/shop", as(g.token)).want(204)
	if strings.Contains(g.metrics(), `account="shop"`) {
		t.Error("an account that is gone has series still")
	}
}
