package cluster_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// soon is by far less than the interval at which servers tell what has not changed, and enough for a machine
// that is busy. Otherwise it takes some milliseconds.
const soon = 20 * time.Second

// answer is what the API has answered.
type answer struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// ask asks the API, with the header lines that are given.
func ask(t *testing.T, addr, method, path, body string, header ...string) (answer, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var v map[string]any
	if err != nil || len(text) > 0 && json.Unmarshal(text, &v) != nil {
		t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, text)
	}
	return answer{resp.StatusCode, resp.Status, resp.Header}, v
}

// shared declares a topic on all servers, and waits until all of them know.
func shared(t *testing.T, all []*zbustest.Broker, topic string) (clients []*client) {
	t.Helper()
	for _, b := range all {
		c := connect(t, b.Addr)
		c.ok("declare", "topic", topic)
		clients = append(clients, c)
	}
	for _, b := range all {
		s := subscribe(t, b.Addr)
		for lists(s, topic) != len(all) {
			s.next()
		}
	}
	return clients
}

// lists is how many servers of the latest table a topic is on.
func lists(s *subscriber, topic string) (n int) {
	for _, server := range s.latest.ServerTable {
		if _, ok := server.TopicTable[topic]; ok {
			n++
		}
	}
	return n
}

// shows waits for a table in which a server has exactly these topics.
func (s *subscriber) shows(server string, topics ...string) {
	s.t.Helper()
	for {
		info, listed := s.latest.ServerTable[server]
		var got []string
		for name := range info.TopicTable {
			got = append(got, name)
		}
		slices.Sort(got)
		if listed && slices.Equal(got, topics) {
			return
		}
		s.next()
	}
}

func TestDrainedServerIsNotChosenAndSaysWhereToGo(t *testing.T) {
	t.Parallel()
	all := set(t, 3)
	list := addrs(all)
	clients := shared(t, all, "orders")
	clients[0].ok("declare", "topic", "alone")
	reader := connect(t, list[0]) // has something to consume, so the server stays in the table
	clients[0].ok("produce", "topic", "orders")
	reader.send("consume", nil, "topic", "orders", "window", "0")
	var subs []*subscriber
	for _, a := range list {
		s := subscribe(t, a)
		s.shows(list[0], "alone", "orders")
		subs = append(subs, s)
	}
	began := time.Now()
	resp, v := ask(t, list[1], "POST", "/servers/"+list[0]+":drain", "") // passed on by another
	if resp.StatusCode != 200 || v["state"] != "draining" || v["address"] != list[0] || v["this"] != false {
		t.Fatalf("%s %v", resp.Status, v)
	}
	for i, s := range subs {
		s.shows(list[0], "alone")
		if servers(t, list[i])[list[0]]["state"] != "draining" {
			t.Errorf("at %s: %v", list[i], servers(t, list[i])[list[0]])
		}
		if servers(t, list[i])[list[1]]["state"] != "up" {
			t.Errorf("at %s: %v", list[i], servers(t, list[i])[list[1]])
		}
	}
	if took := time.Since(began); took > soon {
		t.Errorf("all trackers knew after %s", took)
	}
	others := strings.Join(slices.Sorted(slices.Values(list[1:])), ";")
	m := clients[0].ask("produce", []byte("x"), "topic", "orders")
	if m.Status != 503 || m.Get("servers") != others {
		t.Errorf("produce: %d %q %s", m.Status, m.Get("servers"), m.Body)
	}
	resp, v = ask(t, list[0], "POST", "/topics/orders/messages", `{"body":"x"}`)
	told := []string{}
	for _, a := range v["servers"].([]any) {
		told = append(told, a.(string))
	}
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || strings.Join(told, ";") != others || v["code"] != "unavailable" {
		t.Errorf("POST messages: %s %v", resp.Status, v)
	}
	clients[0].ok("produce", "topic", "alone") // nobody else has it
	clients[1].ok("produce", "topic", "orders")
	// Undrained, it is chosen again.
	if _, v = ask(t, list[0], "POST", "/servers/"+list[0]+":undrain", ""); v["state"] != "up" {
		t.Errorf("undrain: %v", v)
	}
	for _, s := range subs {
		s.shows(list[0], "alone", "orders")
	}
	clients[0].ok("produce", "topic", "orders")
	_, v = ask(t, list[0], "GET", "/audit", "")
	text, _ := json.Marshal(v)
	for _, action := range []string{"server.drain", "server.undrain"} {
		if !strings.Contains(string(text), action) {
			t.Errorf("%s is not in the audit trail: %s", action, text)
		}
	}
}

// Publishes to a drained server are taken when the server with the topic is gone, too.
func TestDrainedServerTakesWhatNobodyElseCan(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	clients := shared(t, all, "orders")
	request(t, all[0].Addr, "POST", "/servers/"+all[0].Addr+":drain", "", false)
	if m := clients[0].ask("produce", nil, "topic", "orders"); m.Status != 503 {
		t.Fatalf("produce: %d %s", m.Status, m.Body)
	}
	if err := all[1].Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last server takes messages", func() bool { return clients[0].ask("produce", nil, "topic", "orders").Status == 200 })
	if v := servers(t, all[0].Addr)[all[0].Addr]; v["state"] != "draining" {
		t.Errorf("%v", v)
	}
}

// A message that is known by its id is stored, wherever its publisher is sent.
func TestDrainedServerKnowsWhatItHasStored(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	c := shared(t, all, "orders")[0]
	publish := func(id string) answer {
		resp, _ := ask(t, all[0].Addr, "POST", "/topics/orders/messages", `{"id":"`+id+`","body":"x"}`)
		return resp
	}
	if publish("a").StatusCode >= 300 {
		t.Fatal("not stored")
	}
	request(t, all[0].Addr, "POST", "/servers/"+all[0].Addr+":drain", "", false)
	if resp := publish("a"); resp.StatusCode >= 300 {
		t.Errorf("again: %s", resp.Status)
	}
	if resp := publish("b"); resp.StatusCode != 503 {
		t.Errorf("another one: %s", resp.Status)
	}
	if m := c.ask("query", nil, "topic", "orders"); !strings.Contains(string(m.Body), `"messageDepth":1,`) {
		t.Errorf("%s", m.Body)
	}
}

// Consumers take what is left, settle what they hold, and are closed; then the server is in no
// table.
func TestConsumersTakeWhatIsLeftAndGo(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	list := addrs(all)
	clients := shared(t, all, "orders")
	for _, c := range clients {
		c.ok("declare", "topic", "orders", "consume_group", "g", "group_mask", "64", "group_ack_timeout", "600000")
	}
	for range 3 {
		clients[0].ok("produce", "topic", "orders")
	}
	s := subscribe(t, list[1])
	s.shows(list[0], "orders")
	reader := connect(t, list[0])
	first := reader.ask("consume", nil, "topic", "orders", "consume_group", "g")
	request(t, list[0], "POST", "/servers/"+list[0]+":drain", "", false)
	s.shows(list[0])
	for m := first; ; {
		reader.ok("ack", "topic", "orders", "consume_group", "g", "offset", m.Get("offset"))
		if m.Get("offset") == "2" {
			break
		}
		m = reader.ask("consume", nil, "topic", "orders", "consume_group", "g")
	}
	s.until(list[1]) // it is empty
	reader.send("consume", nil, "topic", "orders", "consume_group", "g")
	if m, err := reader.r.Read(); err == nil && m.Status != 503 {
		t.Errorf("a connection that should be closed got %d %s", m.Status, m.Body)
	}
	// Who comes now is sent on, and it can be asked and managed as ever.
	late := connect(t, list[0])
	if m := late.ask("consume", nil, "topic", "orders", "consume_group", "g"); m.Status != 503 || m.Get("servers") != list[1] {
		t.Errorf("consume: %d %q %s", m.Status, m.Get("servers"), m.Body)
	}
	if v := servers(t, list[0]); len(v) != 2 {
		t.Errorf("%v", v)
	}
	if v := servers(t, list[1]); v[list[0]]["state"] != "draining" {
		t.Errorf("%v", v)
	}
	// After a restart it is used again.
	if err := all[0].Restart(); err != nil {
		t.Fatal(err)
	}
	s.shows(list[0], "orders")
	connect(t, list[0]).ok("produce", "topic", "orders")
}

// Calls under way are answered; new ones go where another provider is.
func TestProvidersAnswerWhatTheyHaveAndGo(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	list := addrs(all)
	for _, b := range all {
		connect(t, b.Addr).ok("declare", "topic", "calc", "topic_mask", "2")
	}
	provider := connect(t, list[0])
	provider.send("consume", nil, "topic", "calc", "window", "10")
	other := connect(t, list[1])
	other.send("consume", nil, "topic", "calc", "window", "10")
	s := subscribe(t, list[1])
	for _, a := range list {
		for s.latest.ServerTable[a].TopicTable["calc"].ConsumerCount != 1 {
			s.next()
		}
	}
	caller := connect(t, list[0])
	id := caller.send("produce", []byte("1+1"), "topic", "calc", "ack", "false")
	call := provider.receive()
	request(t, list[0], "POST", "/servers/"+list[0]+":drain", "", false)
	s.until(list[1])
	if m := caller.ask("produce", []byte("2+2"), "topic", "calc", "ack", "false"); m.Status != 503 || m.Get("servers") != list[1] {
		t.Errorf("a new call: %d %q %s", m.Status, m.Get("servers"), m.Body)
	}
	provider.send("route", []byte("2"), "recver", call.Get("sender"), "id", call.Get("origin_id"))
	if m := caller.receive(); m.Get("id") != id || m.Status != 200 || string(m.Body) != "2" {
		t.Errorf("the call: %d %s", m.Status, m.Body)
	}
	if m, err := provider.r.Read(); err == nil {
		t.Errorf("the provider got %d %s, and should be closed", m.Status, m.Body)
	}
}

func TestOnlyAdministratorsDrain(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	alone := zbustest.Start(t)
	token := guard(t, alone, "shop", "publish:orders.#", true)
	resp, v := ask(t, alone.Addr, "POST", "/servers/"+alone.Addr+":drain", "", "Authorization", "Bearer "+token)
	if resp.StatusCode != 403 || v["missing"] != "admin" {
		t.Errorf("%s %v", resp.Status, v)
	}
	if resp, v = ask(t, alone.Addr, "POST", "/servers/10.1.2.3:15555:drain", "", "Authorization", "Basic Ym9zczphIGdvb2QgcGFzc3dvcmQ="); resp.StatusCode != 404 {
		t.Errorf("a server that is not known: %s %v", resp.Status, v)
	}
	// What was passed on is not passed on again.
	if resp, v = ask(t, all[0].Addr, "POST", "/servers/"+all[1].Addr+":drain", "", "Zbus-Hop", "1"); resp.StatusCode != 409 {
		t.Errorf("a second hop: %s %v", resp.Status, v)
	}
	if s := servers(t, all[1].Addr)[all[1].Addr]; s["state"] != "up" {
		t.Errorf("%v", s)
	}
}

// The credential of the caller is the one that counts on the server that drains.
func TestDrainIsPassedOnWithTheCallersCredential(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	list := addrs(all)
	subscribe(t, list[0]).until(list...)
	guard(t, all[1], "x", "join", true) // has accounts now, the first one none
	path := "/servers/" + list[1] + ":drain"
	resp, v := ask(t, list[0], "POST", path, "")
	if resp.StatusCode != 401 || !strings.Contains(v["detail"].(string), list[1]) {
		t.Errorf("without a credential: %s %v", resp.Status, v)
	}
	resp, v = ask(t, list[0], "POST", path, "", "Authorization", "Basic Ym9zczphIGdvb2QgcGFzc3dvcmQ=")
	if resp.StatusCode != 200 || v["state"] != "draining" {
		t.Errorf("with it: %s %v", resp.Status, v)
	}
}

// A server that no tracker is, and that clients see nothing of, knows of drained servers, too.
func TestEveryServerKnowsWhoIsDrained(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	join := func(c *config.Config) { c.Trackers = []string{tracker.Addr} }
	a, b := zbustest.Start(t, join), zbustest.Start(t, join)
	for _, s := range []*zbustest.Broker{a, b} {
		connect(t, s.Addr).ok("declare", "topic", "orders")
	}
	subscribe(t, tracker.Addr).shows(b.Addr, "orders")
	eventually(t, "both know each other", func() bool {
		return servers(t, a.Addr)[b.Addr]["state"] == "up" && servers(t, b.Addr)[a.Addr]["state"] == "up"
	})
	connect(t, a.Addr).ok("produce", "topic", "orders") // which nobody consumes
	began := time.Now()
	request(t, tracker.Addr, "POST", "/servers/"+a.Addr+":drain", "", false)
	eventually(t, "the other server knows", func() bool { return servers(t, b.Addr)[a.Addr]["state"] == "draining" })
	if took := time.Since(began); took > soon {
		t.Errorf("it knew after %s", took)
	}
	subscribe(t, tracker.Addr).until(tracker.Addr, b.Addr) // it has gone from the table of clients
	for _, at := range []string{tracker.Addr, b.Addr} {
		s := servers(t, at)[a.Addr]
		if s["state"] != "draining" || s["topics"] != 1.0 || !slices.Equal(s["trackers"].([]any), []any{tracker.Addr}) {
			t.Errorf("at %s: %v", at, s)
		}
		topic := request(t, at, "GET", "/topics?scope=cluster", "", false)["topics"].([]any)[0].(map[string]any)
		on := topic["servers"].([]any)
		if topic["depth"] != "1" || topic["lag"] != "1" || len(on) != 2 {
			t.Errorf("at %s: %v", at, topic)
		}
		for _, s := range on {
			s := s.(map[string]any)
			if drained := s["address"] == a.Addr; drained != (s["state"] == "draining") || drained != (s["depth"] == "1") {
				t.Errorf("at %s: %v", at, s)
			}
		}
	}
}
