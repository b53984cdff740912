package server_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// scripted serves a topic with an answer for each method: headers of the route, and
// its body. It notes the bodies that it got.
func (b *instance) scripted(t testing.TB, topic string, answers map[string][2]string) (got func() string) {
	c := b.dial(t).provides(topic, 1000)
	var mu sync.Mutex
	var last string
	var g sync.WaitGroup
	g.Go(func() {
		for {
			a, err := c.next()
			if err != nil {
				return
			}
			var call struct{ Method string }
			_ = json.Unmarshal(a.Body, &call)
			mu.Lock()
			last = string(a.Body)
			mu.Unlock()
			if x, ok := answers[call.Method]; ok {
				_, _ = c.conn.Write([]byte(request("route recver="+a.Get("sender")+" id="+a.Get("origin_id")+" "+x[0], x[1])))
			} else if call.Method == "die" {
				_ = c.conn.Close()
			}
		}
	})
	t.Cleanup(func() { _ = c.conn.Close(); g.Wait() })
	return func() string { mu.Lock(); defer mu.Unlock(); return last }
}

func TestCallsOverREST(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxBody = 4096 })
	b.dial(t).ok("declare topic=log")
	got := b.scripted(t, "calc", map[string][2]string{
		"plus": {"content-type=application/json", `{"error":null,"result":12345678901234567890}`},
		"void": {"", `{"error":null}`}, "bare": {"", ` [1, 2]`}, "empty": {"", ""},
		"fails": {"", `{"error":"by zero","result":null}`}, "throws": {"", `{"error":{"message":"no such user","@type":"x"}}`},
		"status": {"origin_status=404", "no such thing"}, "coded": {"error_status=409", `{"error":"sold out","code":"so","data":[1]}`}, "java": {"content-type=text/plain", `{"result": 3L}`},
		"page": {"content-type=text/html", "<script>"},
	})
	for _, x := range []struct {
		path, body string
		status     int
		want       string // of the answer, in part; "=" in front: all of it
		sent       string // to the provider, if it matters
	}{
		{"calc/plus", "[1, 2]", 200, "=12345678901234567890\n", `{"method":"plus","params":[1,2]}`},
		{"calc/plus?module=m", `{"a": 1.50, "b": 9007199254740993}`, 200, "", `{"method":"plus","params":[{"a":1.50,"b":9007199254740993}],"module":"m"}`},
		{"calc/plus", "", 200, "", `{"method":"plus","params":[]}`},
		{"calc/plus", "3", 400, "array of parameters", ""},
		{"calc/plus", "[1", 400, "not JSON", ""},
		{"calc/void", "[]", 200, "=null\n", ""},
		{"calc/bare", "[]", 200, "=[1,2]\n", ""},
		{"calc/empty", "[]", 200, "=null\n", ""},
		{"calc/fails", "[]", 500, `"code":"call_failed","detail":"by zero","error":"by zero"`, ""},
		{"calc/throws", "[]", 500, `"detail":"no such user","error":{"message":"no such user","@type":"x"}`, ""},
		{"calc/status", "[]", 404, `status 404: no such thing`, ""},
		{"calc/coded", "[]", 409, `"code":"call_failed","detail":"sold out","error":{"message":"sold out","code":"so","data":[1]}`, ""},
		{"calc/java", "[]", 502, `"code":"bad_answer"`, ""},
		{"calc/hangs?timeout=20", "[]", 504, `"code":"timeout"`, ""},
		{"calc/plus?timeout=0", "[]", 400, "timeout", ""},
		{"none/plus", "[]", 404, `"code":"not_found"`, ""},
		{"log/plus", "[]", 400, `is not for calls`, ""},
		{"calc/plus", `["` + strings.Repeat("x", 5000) + `"]`, 413, `"code":"too_large"`, ""},
		{"calc", `{"method":"java","params":[1,2],"more":1}`, 200, `={"result": 3L}`, `{"method":"java","params":[1,2],"more":1}`},
		{"calc", `{"method":"status"}`, 404, "=no such thing", ""},
		{"calc", `{"method":"coded"}`, 409, `={"error":"sold out","code":"so","data":[1]}`, ""},
		{"calc", `[1]`, 400, "an object with a method", ""},
	} {
		res := b.post(t, "POST", "/api/v1/rpc/"+x.path, x.body)
		exact, isExact := strings.CutPrefix(x.want, "=")
		if res.status != x.status || isExact && res.body != exact || !strings.Contains(res.body, exact) {
			t.Errorf("%s %.40s: %d %.200q, want %d %q", x.path, x.body, res.status, res.body, x.status, x.want)
		}
		if x.sent != "" && got() != x.sent {
			t.Errorf("%s: the provider got %q, want %q", x.path, got(), x.sent)
		}
	}
	if res := b.post(t, "POST", "/api/v1/rpc/calc", `{"method":"page"}`); res.contentType != "text/html" {
		t.Errorf("a page: %+v", res)
	}
	if res := b.post(t, "POST", "/api/v1/rpc/calc/die", "[]"); res.status != 502 || !strings.Contains(res.body, `"code":"provider_gone"`) {
		t.Errorf("a provider that dies: %+v", res)
	}
	if res := b.post(t, "POST", "/api/v1/rpc/calc/plus", "[]"); res.status != 503 || !strings.Contains(res.body, `"code":"unavailable"`) {
		t.Errorf("without a provider: %+v", res)
	}
}

func TestServicesAreListedWithWhatTheirProvidersSay(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=log")
	p, c := b.dial(t).provides("calc", 10), b.dial(t)
	if a := p.call("describe topic=calc", `{"name":"Calculator","version":"1.2.0","methods":[
		{"name":"plus","description":"adds","params":{"type":"array"},"result":{"type":"number"}},{"name":"minus","module":"m"}]}`); a.Status != 200 {
		t.Fatalf("describe: %d %q", a.Status, a.Body)
	}
	for _, bad := range []string{
		`{`, `{"nome":"x"}`, `{"methods":[{}]}`, `{"methods":[{"name":"m","params":3}]}`, `[]`, `{} {}`,
		`{"name":"` + strings.Repeat("x", 300_000) + `"}`,
	} {
		if a := p.call("describe topic=calc", bad); a.Status != 400 || !strings.HasPrefix(string(a.Body), "Bad description: ") {
			t.Errorf("describe %.40s: %d %q", bad, a.Status, a.Body)
		}
	}
	if a := p.call("describe topic=log", "{}"); a.Status != 400 {
		t.Errorf("describe of a topic that is not for calls: %d", a.Status)
	}
	for _, method := range []string{" rpc_method=plus", " rpc_method=other", ""} {
		c.send("produce topic=calc ack=0 id=1"+method, "x")
		call := p.recv().without(t, "rpc_method")
		p.answers(call, "y")
		c.recv()
	}
	s := b.service(t, "calc")
	if len(s.Providers) != 1 || s.Providers[0].Name != "Calculator" || s.Providers[0].Version != "1.2.0" || s.Providers[0].Answered != "3" {
		t.Errorf("providers: %+v", s.Providers)
	}
	want := []struct {
		name, module, calls, result string
		described                   bool
	}{{"", "", "1", "", false}, {"minus", "m", "0", "", true}, {"other", "", "1", "", false}, {"plus", "", "1", `{"type":"number"}`, true}}
	if len(s.Methods) != len(want) {
		t.Fatalf("methods: %+v", s.Methods)
	}
	for i, w := range want {
		m := s.Methods[i]
		if m.Name != w.name || m.Module != w.module || m.Calls["answered"] != w.calls || string(m.Result) != w.result || m.Described != w.described {
			t.Errorf("method %d: %+v, want %+v", i, m, w)
		}
	}
	if s.Latency.Count != "3" || s.Latency.P50 <= 0 || s.Latency.P99 < s.Latency.P50 {
		t.Errorf("latency: %+v", s.Latency)
	}
	var list struct {
		Services []struct{ Topic string }
		Total    int
	}
	b.get(t, "/api/v1/rpc?name=CAL", &list)
	if list.Total != 1 || list.Services[0].Topic != "calc" {
		t.Errorf("list: %+v", list)
	}
	if res := b.post(t, "GET", "/api/v1/rpc/log", ""); res.status != 404 {
		t.Errorf("a topic that is no service: %+v", res)
	}
	if res := b.post(t, "GET", "/metrics", ""); !strings.Contains(res.body, `zbus_rpc_calls_total{method="plus",outcome="answered",topic="calc"} 1`) ||
		!strings.Contains(res.body, `zbus_rpc_duration_seconds_count{topic="calc"} 3`) || !strings.Contains(res.body, `zbus_rpc_providers{topic="calc"} 1`) {
		t.Errorf("metrics: %.2000s", res.body)
	}
	p.ok("describe topic=calc")
	if s := b.service(t, "calc"); s.Providers[0].Name != "" {
		t.Errorf("a description that was taken back: %+v", s.Providers[0])
	}
	p.conn.Close()
	eventually(t, "the provider is gone", func() bool { return len(b.service(t, "calc").Providers) == 0 })
	b.dial(t).ok("remove topic=calc")
	if res := b.post(t, "GET", "/metrics", ""); strings.Contains(res.body, `topic="calc"`) {
		t.Error("metrics of a topic that was removed")
	}
}
