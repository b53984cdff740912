package cluster_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

var update = flag.Bool("update", false, "write what clients are sent into the golden file")

// goldenFile has what clients are sent, byte by byte: a section is the head of a frame or a table, with a line
// for each field. Words in braces are for what differs from run to run.
const goldenFile = "testdata/tables.golden"

// origin is a client of the original: what it sends for a table, and what it reads of one.
type origin struct {
	name     string
	sub, ssl string // header lines; {id} and {server} are filled in
	byKey    bool   // it finds servers by the keys of the table, and not by their addresses
	depth    bool   // of two servers with as many consumers it takes the one with fewer messages
	topic    []string
}

var origins = []origin{
	{name: "Go", sub: "cmd: track_sub\r\nid: {id}\r\nconnection: Keep-Alive\r\n", topic: []string{"topicName", "consumerCount", "consumeGroupList"}},
	{name: "Java", depth: true, sub: "cmd: track_sub\r\nconnection: Keep-Alive\r\nversion: 0.9.0\r\nack: 0\r\nid: {id}\r\n", ssl: "cmd: ssl\r\nserver: {server}\r\nconnection: Keep-Alive\r\nversion: 0.9.0\r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount", "messageDepth", "consumeGroupList"}},
	{name: ".NET", sub: "connection: Keep-Alive\r\ncmd: track_sub\r\nversion: 0.8.0\r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount"}},
	{name: "JavaScript", byKey: true, sub: "cmd: track_sub\r\nid: {id}\r\ntoken: undefined\r\n", ssl: "cmd: ssl\r\nserver: {server}\r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount"}},
	{name: "Python", sub: "cmd: track_sub\r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount"}},
	{name: "PHP", sub: "cmd: track_sub\r\ntoken: \r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount"}},
	{name: "C++", sub: "ack: 0\r\ncmd: track_sub\r\nid: {id}\r\n", topic: []string{"topicName", "consumerCount", "consumeGroupList"}},
}

// sight is a table as a client reads it.
type sight struct {
	version float64
	servers []string
	topics  map[string][]string // the servers of each
	chosen  map[string]string   // where a message to a topic goes
}

// read reads a table as the client does. Clients of the original end where a field is missing.
func (o *origin) read(body []byte) (s sight, err error) {
	defer func() {
		if missing := recover(); missing != nil {
			err = fmt.Errorf("%s: %v", o.name, missing)
		}
	}()
	var table map[string]any
	if err := json.Unmarshal(body, &table); err != nil {
		return s, err
	}
	s = sight{version: table["infoVersion"].(float64), topics: map[string][]string{}, chosen: map[string]string{}}
	_ = address(table["serverAddress"])
	most, least := map[string]float64{}, map[string]float64{}
	servers := table["serverTable"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(servers)) {
		info := servers[key].(map[string]any)
		_, _ = info["infoVersion"].(float64), info["trackerList"].([]any)
		name := address(info["serverAddress"])
		if o.byKey {
			name = key
		}
		s.servers = append(s.servers, name)
		for topic, v := range info["topicTable"].(map[string]any) {
			t := v.(map[string]any)
			for _, field := range o.topic {
				if t[field] == nil {
					panic(fmt.Sprint(topic, " has no ", field))
				}
			}
			consumers, depth := t["consumerCount"].(float64), t["messageDepth"].(float64)
			first := len(s.topics[topic]) == 0
			s.topics[topic] = append(s.topics[topic], name)
			if first || consumers > most[topic] || o.depth && consumers == most[topic] && depth < least[topic] {
				most[topic], least[topic], s.chosen[topic] = consumers, depth, address(t["serverAddress"])
			}
		}
	}
	return s, nil
}

// address is the name of a server, of which clients read both fields.
func address(v any) string {
	a := v.(map[string]any)
	if a["sslEnabled"].(bool) {
		return "[SSL]" + a["address"].(string)
	}
	return a["address"].(string)
}

// old is a client of the original that is connected to a tracker.
type old struct {
	*origin
	conn    net.Conn
	seen    bytes.Buffer // of the frame at hand
	r       *wire.Reader
	version float64
}

// capture keeps the bytes that a reader is given.
type capture struct{ *old }

func (c capture) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.seen.Write(p[:n])
	return n, err
}

// ask connects to a server and sends a request, as a client does.
func (o *origin) ask(t *testing.T, conn net.Conn, head string, pairs ...string) *old {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &old{origin: o, conn: conn}
	c.r = wire.NewReader(capture{c}, wire.Limits{Body: 1 << 20})
	text := "GET / HTTP/1.1\r\n" + strings.NewReplacer(append(pairs, "{id}", "an-id-of-"+o.name)...).Replace(head) + "content-length: 0\r\n\r\n"
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return c
}

// frame reads one frame: its head as it came, with the id and the length as words, and its body.
func (c *old) frame(t *testing.T) (head string, m *wire.Message) {
	t.Helper()
	m, err := c.r.Read()
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	raw := c.seen.Next(bytes.Index(c.seen.Bytes(), m.Body) + len(m.Body))
	head = string(raw[:len(raw)-len(m.Body)])
	head = strings.Replace(head, "id: an-id-of-"+c.name+"\r\n", "id: {id}\r\n", 1)
	return strings.Replace(head, fmt.Sprintf("content-length: %d\r\n", len(m.Body)), "content-length: {length}\r\n", 1), m
}

// recorder compares what comes with the golden file.
type recorder struct {
	t       *testing.T
	want    map[string]string
	got     []string
	names   map[string]string // words for addresses
	ordered []string
}

func record(t *testing.T, names map[string]string) *recorder {
	t.Helper()
	r := &recorder{t: t, want: map[string]string{}, names: names}
	text, err := os.ReadFile(goldenFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "== ") {
		name, lines, _ := strings.Cut(part, "\n")
		r.want[name] = strings.TrimSuffix(lines, "\n")
	}
	return r
}

var (
	moments   = regexp.MustCompile(`"(createdTime|lastUpdatedTime)":\d+`)
	versions  = regexp.MustCompile(`"infoVersion":\d+`)
	cursors   = regexp.MustCompile(`"cursor":\d{9,}`) // of topics in memory: they begin at the time
	consumers = regexp.MustCompile(`"consumerList":\["[^"\]]+"\]`)
)

// table compares the bytes of a table.
func (r *recorder) table(name, client string, body []byte) {
	r.t.Helper()
	text := string(body)
	for addr, word := range r.names {
		text = strings.ReplaceAll(text, addr, word)
	}
	text = moments.ReplaceAllString(text, `"$1":{time}`)
	text = versions.ReplaceAllString(text, `"infoVersion":{version}`)
	text = cursors.ReplaceAllString(text, `"cursor":{time}`)
	text = consumers.ReplaceAllString(text, `"consumerList":["{consumer}"]`)
	r.section(name, client, strings.ReplaceAll(text, ",", ",\n"))
}

// head compares the bytes of a head.
func (r *recorder) head(name, client, head string) {
	r.t.Helper()
	r.section(name, client, strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(head, "\r", `\r`), "\n", "\\n\n"), "\n"))
}

func (r *recorder) section(name, client, text string) {
	r.t.Helper()
	if *update && !slices.Contains(r.ordered, name) {
		r.want[name] = text
		r.got = append(r.got, "== "+name+"\n"+text+"\n")
	}
	r.ordered = append(r.ordered, name)
	got, want := strings.Split(text, "\n"), strings.Split(r.want[name], "\n")
	for i := range max(len(got), len(want)) {
		if g, w := at(got, i), at(want, i); g != w {
			r.t.Errorf("%s, %s: line %d is %q, want %q", name, client, i+1, g, w)
			return
		}
	}
}

// at is a line, or nothing after the last one.
func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// save writes the file, when the test was asked to.
func (r *recorder) save() {
	if !*update {
		return
	}
	if err := os.WriteFile(goldenFile, []byte(strings.Join(r.got, "")), 0o644); err != nil {
		r.t.Error(err)
	}
}

// fleet is the clients of the original, all connected to one tracker.
type fleet struct {
	*recorder
	clients []*old
}

// subscribe has each client ask for the table of a tracker.
func (f *fleet) subscribe(tracker string) {
	f.t.Helper()
	f.clients = nil
	for i := range origins {
		conn, err := net.Dial("tcp", tracker)
		if err != nil {
			f.t.Fatal(err)
		}
		f.clients = append(f.clients, origins[i].ask(f.t, conn, origins[i].sub))
	}
}

// until waits until each client has a table that is so, and compares it. answered says that they have asked
// for a table: the first frame is the answer.
func (f *fleet) until(name string, answered bool, so func(sight) bool) {
	f.t.Helper()
	for _, c := range f.clients {
		for first := answered; ; first = false {
			head, m := c.frame(f.t)
			if first {
				f.head("head of the answer to track_sub", c.name, head)
			} else {
				f.head("head of a push", c.name, head)
			}
			s, err := c.read(m.Body)
			if err != nil {
				f.t.Fatal(err)
			}
			if s.version <= c.version {
				f.t.Errorf("%s: version %v after %v", c.name, s.version, c.version)
			}
			c.version = s.version
			if so(s) {
				f.table(name, c.name, m.Body)
				break
			}
		}
	}
}

// listing is a table with just these servers.
func listing(servers ...string) func(sight) bool {
	servers = slices.Sorted(slices.Values(servers))
	return func(s sight) bool { return slices.Equal(slices.Sorted(slices.Values(s.servers)), servers) }
}

// What each client of the original is sent, to the byte, and what it reads of that, while a server joins, has a
// consumer, leaves, comes back, is killed, and while its tracker is restarted.
func TestTablesOfSeveralServersAreThoseThatOldClientsRead(t *testing.T) {
	free := []string{zbustest.FreeAddr(t), zbustest.FreeAddr(t), zbustest.FreeAddr(t)}
	slices.Sort(free) // as tables are
	started := 0
	trackers := set(t, 2, func(c *config.Config) {
		c.Listen = []string{free[started]}
		started++
	})
	list, dir := addrs(trackers), t.TempDir()
	alone := launch(t, dir, free[2])
	c := connect(t, alone.addr)
	c.ok("declare", "topic", "orders")
	c.ok("declare", "topic", "mails", "topic_mask", "2", "consume_group", "readers")
	alone.kill()
	subscribe(t, list[0]).until(list...)
	connect(t, list[0]).ok("declare", "topic", "orders")
	f := &fleet{recorder: record(t, map[string]string{list[0]: "{tracker}", list[1]: "{other}", alone.addr: "{server}"})}
	f.subscribe(list[0])
	orders := func(s sight) bool { return len(s.topics["orders"]) == 1 && listing(list...)(s) }
	f.until("the first table", true, orders)

	server := launch(t, dir, alone.addr, list...)
	all := append([]string{server.addr}, list...)
	f.until("a server has joined", false, listing(all...))
	connect(t, server.addr).send("consume", nil, "topic", "orders")
	f.until("it has a consumer, and gets what is published", false, func(s sight) bool { return s.chosen["orders"] == server.addr })
	if err := server.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = server.cmd.Wait()
	f.until("it has left", false, orders)
	server = launch(t, dir, alone.addr, list...)
	f.until("it is back", false, listing(all...))
	server.kill()
	f.until("it was killed", false, orders)

	server = launch(t, dir, alone.addr, list...)
	f.until("it is back", false, listing(all...))
	if err := trackers[0].Restart(); err != nil {
		t.Fatal(err)
	}
	was := f.clients
	f.subscribe(list[0])
	for i, c := range f.clients {
		c.version = was[i].version
	}
	f.until("the tracker was started again", true, listing(all...))
	f.tls()
	f.save()
}

// tls compares what clients are sent of servers with TLS: their keys, and the certificate by which they verify them.
func (f *fleet) tls() {
	cert, key, text := certificate(f.t)
	secure := func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key }
	server := zbustest.Start(f.t, secure)
	tracker := zbustest.Start(f.t, secure)
	server.Configure(tracked("[SSL]" + tracker.Addr))
	if err := server.Restart(); err != nil {
		f.t.Fatal(err)
	}
	f.names = map[string]string{tracker.Addr: "{tracker}", server.Addr: "{server}"}
	trusts := func(pem []byte, addr string) net.Conn {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool})
		if err != nil {
			f.t.Fatal(err)
		}
		return conn
	}
	f.clients = nil
	for i := range origins {
		if origins[i].ssl != "" {
			f.clients = append(f.clients, origins[i].ask(f.t, trusts(text, tracker.Addr), origins[i].sub))
		}
	}
	f.until("servers with TLS", true, listing("[SSL]"+tracker.Addr, "[SSL]"+server.Addr))
	for i := range origins {
		o := &origins[i]
		if o.ssl == "" {
			continue
		}
		head, m := o.ask(f.t, trusts(text, tracker.Addr), o.ssl, "{server}", server.Addr).frame(f.t)
		f.head("head of the answer to ssl", o.name, head)
		if !bytes.Equal(m.Body, text) {
			f.t.Errorf("%s: the certificate is %q", o.name, m.Body)
		}
		_ = trusts(m.Body, server.Addr).Close()
		head, m = o.ask(f.t, trusts(text, tracker.Addr), o.ssl, "{server}", "127.0.0.1:1").frame(f.t)
		f.head("head of the answer to ssl of no server", o.name, head)
		f.section("its body", o.name, string(m.Body))
	}
}
