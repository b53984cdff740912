package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// bystander publishes and consumes on one connection, message by message, until
// the test is over: whatever others do, it gets every message once, in order.
func (b *instance) bystander(t *testing.T) (rounds func() int) {
	c := b.dial(t)
	c.ok("declare topic=Good")
	stop := make(chan struct{})
	var mu sync.Mutex
	n := 0
	var g sync.WaitGroup
	g.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			body := strconv.Itoa(i)
			for _, line := range []string{"produce topic=Good id=" + body, "consume topic=Good id=" + body} {
				if _, err := io.WriteString(c.conn, request(line, body)); err != nil {
					t.Errorf("bystander: %v", err)
					return
				}
				if a, err := c.next(); err != nil || a.Status != 200 || a.Get("id") != body || line[0] == 'c' && string(a.Body) != body {
					t.Errorf("bystander: round %d: %v, %v", i, a.Message, err)
					return
				}
			}
			mu.Lock()
			n++
			mu.Unlock()
		}
	})
	t.Cleanup(func() { close(stop); g.Wait() })
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// undisturbed waits until the bystander has made progress.
func undisturbed(t *testing.T, rounds func() int) {
	t.Helper()
	from := rounds()
	eventually(t, "the bystander makes progress", func() bool { return rounds() > from+3 || t.Failed() })
}

func TestBadFramingIsRefusedAndOnlyItsConnectionClosed(t *testing.T) {
	t.Parallel()
	b := start(t)
	rounds := b.bystander(t)
	const head = "GET / HTTP/1.1\r\ncmd: ping\r\n"
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"garbage":                       {strings.Repeat("\xff\xfe\x01\n garbage ", 100) + "\r\n\r\n", 400},
		"NUL in the start line":         {"GE\x00T / HTTP/1.1\r\ncmd: ping\r\n\r\n", 400},
		"no text at all":                {"\x00\x00\x00\x00\r\n\r\n", 400},
		"two content-lengths":           {head + "content-length: 0\r\ncontent-length: 5\r\n\r\nhello", 400},
		"content-length and chunked":    {head + "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"chunked and content-length":    {head + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400},
		"a length with a sign":          {head + "content-length: +5\r\n\r\nhello", 400},
		"a negative length":             {head + "content-length: -1\r\n\r\n", 400},
		"a length that is a list":       {head + "content-length: 5, 5\r\n\r\nhello", 400},
		"a length beyond all numbers":   {head + "content-length: 99999999999999999999\r\n\r\n", 400},
		"a length beyond the limit":     {head + "content-length: 999999999999\r\n\r\n", 413},
		"bare line feeds":               {"GET / HTTP/1.1\ncmd: ping\n\n", 400},
		"one bare line feed":            {head + "a: b\nc: d\r\n\r\n", 400},
		"a space before the colon":      {head + "content-length : 5\r\n\r\nhello", 400},
		"a folded line":                 {head + "a: b\r\n c: d\r\n\r\n", 400},
		"a bare carriage return":        {head + "a: b\rc: d\r\n\r\n", 400},
		"an unknown coding":             {head + "transfer-encoding: gzip\r\n\r\n", 501},
		"a bad chunk":                   {head + "transfer-encoding: chunked\r\n\r\nzz\r\n", 400},
		"a header of 1 MB":              {head + "a: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431},
		"10,000 headers":                {head + strings.Repeat("a: b\r\n", 10_000) + "\r\n", 431},
		"an endless start line":         {"GET /" + strings.Repeat("x", 1<<20), 431},
		"a control character in a name": {head + "a\x01b: c\r\n\r\n", 400},
	} {
		for _, before := range []string{"", request("ping id=good", "")} { // as the first message, and as a later one
			conn := b.dial(t)
			go func() { _, _ = io.WriteString(conn.conn, before+c.raw) }() // may fail half-way
			if before != "" {
				conn.recv().want(t, 200, "OK")
			}
			if a := conn.recv(); a.Status != c.status {
				t.Errorf("%s: %d %q, want %d", name, a.Status, a.Body, c.status)
			}
			if _, err := conn.next(); err == nil || isTimeout(err) {
				t.Errorf("%s: the connection stays open: %v", name, err)
			}
			conn.conn.Close()
		}
	}
	undisturbed(t, rounds)
}

func TestNamesAndValuesCannotBreakWhatOthersRead(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, name := range []string{"a/b", `a\b`, "..", "a..b", "a%00b", "é", "a,b", strings.Repeat("x", 201)} {
		for _, line := range []string{"declare topic=", "declare topic=T consume_group="} {
			if a := c.call(line + name); a.Status != 400 {
				t.Errorf("%s%.20s: %d %q", line, name, a.Status, a.Body)
			}
		}
	}
	evil := []string{
		"a\\r\\nevil: 1", "\xff\xfe", "x\tcontent-length: 99", `"},{"`, "\\u000d\\u000aevil: 1", "%0d%0aevil:%201", "\u2028\u0085", strings.Repeat("v", 8000),
	}
	for i, v := range evil {
		c.write("POST /%0d%0aevil:%201 HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: " + v[:min(len(v), 100)] + "\r\ntag: t" + strconv.Itoa(i) + "\r\nx-value: " + v + "\r\nx" + strconv.Itoa(i) + "!#$%&'*+.^_`|~: " + v + "\r\ncontent-length: 4\r\n\r\nbody")
		if a := c.recv(); a.Status != 200 {
			t.Errorf("produce with %.20q: %d %q", v, a.Status, a.Body)
		}
		a := c.ok("consume topic=T").want(t, 200, "body").header(t, "x-value", v, "x"+strconv.Itoa(i)+"!#$%&'*+.^_`|~", v, "origin_url", "/%0d%0aevil:%201")
		a.without(t, "evil")
		if strings.Count(a.head, "\n") != strings.Count(a.head, "\r\n") {
			t.Errorf("a bare line feed in %q", a.head)
		}
	}
	// From URLs, where anything can be encoded, through either side.
	do := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
	for _, handed := range []bool{false, true} {
		if handed {
			do(t, "GET", "/healthz", "")
		}
		for _, url := range []string{
			"/produce/T?tag=a%0d%0aevil:%201", "/produce/T?evil%0d%0aevil=1", "/produce/T?id=1%0aevil:1", "/produce/T?content-length=999",
			"/produce/T?transfer-encoding=chunked", "/produce/T?%00=%00", "/produce/T?a%20b=c", "/produce/T?connection=close%0d%0a",
			"/produce/T?encoding=%0d", "/produce/T?content-type=text/html%0d%0a%0d%0a<script>",
		} {
			if r := do(t, "POST", url, "body"); r.status != 200 {
				t.Errorf("%s: %+v", url, r)
			}
			c.ok("consume topic=T").want(t, 200, "body").without(t, "evil", "tag", "transfer-encoding", "encoding", "a b")
		}
	}
	// Through an answer, straight into the caller's connection.
	a := b.dial(t)
	c.ok("declare topic=R topic_mask=2")
	c.send("consume topic=R id=c window=10")
	c.quiet()
	for _, status := range []string{"abc", "99", "1000", "200 OK\\r\\nevil: 1", "-1"} {
		a.send("produce topic=R id=1 ack=0", "who")
		sender := c.recv().Get("sender")
		c.write("GET / HTTP/1.1\r\ncmd: route\r\nrecver: " + sender + "\r\nid: 1\r\norigin_status: " + status + "\r\ncontent-length: 1\r\n\r\nx")
		a.recv().want(t, 200, "x")
	}
}

func TestOneByteAtATimeIsAsGoodAsAll(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, raw := range []string{
		request("produce topic=T id=1", "slow"),
		http11("POST", "/produce/T?id=1", "slow", ""),
		"POST /produce/T HTTP/1.1\r\nid: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nsl\r\n2\r\now\r\n0\r\n\r\n",
	} {
		for _, fresh := range []bool{true, false} {
			s := c
			if fresh {
				s = b.dial(t)
			}
			for i := range len(raw) {
				s.write(raw[i : i+1])
			}
			if a := s.recv(); a.Status != 200 || a.Get("id") != "1" {
				t.Errorf("%.30q: %d %q", raw, a.Status, a.Body)
			}
			c.ok("consume topic=T").want(t, 200, "slow")
		}
	}
}

func TestAHalfClosedConnectionGetsItsReplies(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	c := b.dial(t)
	for i := range 100 {
		c.send("produce topic=T id=" + strconv.Itoa(i))
	}
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		c.recv().header(t, "id", strconv.Itoa(i))
	}
	c.closed()
}

func TestARefusedClientCanStillReadWhatWasSentToIt(t *testing.T) {
	t.Parallel()
	b := start(t)
	admin, c := b.dial(t), b.dial(t)
	admin.ok("declare topic=T")
	admin.ok("produce topic=T", strings.Repeat("x", 8<<20))
	c.send("consume topic=T")
	if _, err := io.ReadFull(c.conn, make([]byte, 1)); err != nil { // the delivery is on its way
		t.Fatal(err)
	}
	c.write("GET / HTTP/1.1\r\nbad header\r\n" + strings.Repeat("more", 50_000))
	text, err := io.ReadAll(c.conn)
	if err != nil || len(text) < 8<<20 || !strings.Contains(string(text[8<<20:]), "HTTP/1.1 400 ") {
		t.Errorf("got %d bytes, then %v", len(text), err)
	}
}

// heap is the live memory of this process, broker and test together.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAConsumerThatStopsReadingCostsOthersNothing(t *testing.T) {
	b := start(t, func(c *config.Config) { c.TailCache = 1 << 20 })
	rounds := b.bystander(t)
	p, lazy, good := b.dial(t), b.dial(t), b.dial(t)
	p.ok("declare topic=T")
	p.ok("declare topic=T consume_group=other")
	_ = lazy.conn.(*net.TCPConn).SetReadBuffer(4096)
	before := heap()
	lazy.send("consume topic=T id=lazy window=100000")
	body := strings.Repeat("x", 64<<10)
	const n = 300 // 19 MB
	for i := range n {
		p.ok("produce topic=T", body)
		if i%10 == 0 {
			good.ok("consume topic=T consume_group=other")
		}
	}
	for range n - n/10 {
		good.ok("consume topic=T consume_group=other").want(t, 200, body)
	}
	if grown := heap() - before; grown > 10<<20 {
		t.Errorf("%d MB are held for a consumer that does not read", grown>>20)
	}
	undisturbed(t, rounds)
	// What it did not take goes to the next consumer of its group.
	lazy.conn.Close()
	a := good.ok("consume topic=T")
	last, err := strconv.Atoi(a.Get("offset"))
	if err != nil || last > n-50 {
		t.Errorf("the group continues at offset %q: the broker wrote %d messages to a socket that is not read", a.Get("offset"), last)
	}
}

func TestAClientThatReadsNoRepliesIsNotReadFrom(t *testing.T) {
	b := start(t, func(c *config.Config) { c.TailCache, c.MaxInflight = 1<<20, 64 })
	rounds := b.bystander(t)
	admin := b.dial(t)
	admin.ok("declare topic=T")
	admin.ok("declare topic=Big")
	for i := range 40 { // so that a query has a long answer
		admin.ok("declare topic=T consume_group=" + strings.Repeat("g", 150) + strconv.Itoa(i))
	}
	for kind, c := range map[string]struct {
		request string
		times   int
	}{
		"publishes": {request("produce topic=Big", strings.Repeat("x", 16<<10)), 2500}, // 40 MB
		"queries":   {request("query topic=T", ""), 5000},                              // 100 MB of answers
	} {
		// A large delivery that it does not read keeps its writer busy.
		lazy := b.dial(t)
		_ = lazy.conn.(*net.TCPConn).SetReadBuffer(4096)
		admin.ok("produce topic=T", strings.Repeat("x", 8<<20))
		lazy.send("consume topic=T")
		before := heap()
		var g sync.WaitGroup
		sent := 0
		g.Go(func() {
			for ; sent < c.times; sent++ {
				if _, err := io.WriteString(lazy.conn, c.request); err != nil {
					return
				}
			}
		})
		from := rounds()
		eventually(t, "the bystander has a long life", func() bool { return rounds() > from+80 || t.Failed() })
		if grown := heap() - before; grown > 32<<20 {
			t.Errorf("%s: %d MB are held for a client that does not read", kind, grown>>20)
		}
		lazy.conn.Close()
		g.Wait()
		if kind == "publishes" && sent == c.times {
			t.Errorf("%s: everything was taken from a client that reads nothing", kind)
		}
	}
}

func TestConnectionsOverTheLimitAreRefusedAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxConnections = 5 })
	good := b.dial(t)
	good.ok("ping")
	web := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
	web(t, "GET", "/healthz", "") // it counts on the HTTP side, too
	b.socket(t, "/").ws.CloseRead(t.Context())
	silent := []net.Conn{b.tcp(t), b.tcp(t)}
	over := b.dial(t)
	if a, err := over.next(); err != nil || a.Status != 503 {
		t.Errorf("the sixth connection: %v, %v", a.Message, err)
	}
	over.closed()
	good.ok("ping")
	for _, c := range silent {
		c.Close()
	}
	eventually(t, "there is room again", func() bool {
		conn := b.tcp(t)
		defer conn.Close()
		fmt.Fprint(conn, request("ping id=1", ""))
		line, err := bufio.NewReader(conn).ReadString('\n')
		return err == nil && strings.Contains(line, "200")
	})
	web(t, "GET", "/healthz", "")
}

func TestBodiesOfManyConnectionsShareOneLimit(t *testing.T) {
	b := start(t, func(c *config.Config) { c.MaxMemory, c.TailCache, c.MaxBody = 32<<20, 0, 4<<20 })
	b.dial(t).ok("declare topic=T")
	rounds := b.bystander(t)
	before := heap()
	var all []net.Conn
	body := strings.Repeat("x", 3<<20)
	for i := range 16 { // 48 MB announced and sent but for the last byte
		for _, url := range []string{"/produce/T", "/T"} {
			conn := b.tcp(t)
			defer conn.Close()
			all = append(all, conn)
			go func() {
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a%d.localhost\r\nContent-Length: %d\r\n\r\n%s", url, i, len(body)+1, body)
			}()
		}
	}
	refused := 0
	replies := make(chan string, len(all))
	for _, conn := range all {
		go func() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			replies <- line
		}()
	}
	for refused < len(all)/2 { // those over the limit are answered, or cut while they send
		if line := <-replies; line != "" && !strings.Contains(line, " 503 ") {
			t.Errorf("got %q", line)
		}
		refused++
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("%d MB are held", grown>>20)
	}
	undisturbed(t, rounds)
	for _, conn := range all {
		conn.Close()
	}
	eventually(t, "the memory is free again", func() bool {
		conn := b.tcp(t)
		defer conn.Close()
		res, _ := exchange(t, conn, bufio.NewReader(conn), http11("POST", "/produce/T", body, ""))
		return res.status == 200
	})
	for range len(all) - refused {
		<-replies
	}
}

// A reply that waits behind a large one must not take the id of a request that came
// later, which the connection ends with.
func TestAReplyThatWaitsKeepsItsID(t *testing.T) {
	b := start(t)
	admin, lazy := b.dial(t), b.dial(t)
	admin.ok("declare topic=T")
	admin.ok("declare topic=Seen")
	admin.ok("produce topic=T", strings.Repeat("x", 8<<20))
	lazy.send("consume topic=T id=large")
	if err := lazy.r.Fill(); err != nil { // its writer is at it
		t.Fatal(err)
	}
	lazy.send("produce topic=None id=first")
	lazy.send("produce topic=Seen id=seen")
	admin.ok("consume topic=Seen") // both were read
	lazy.send("produce topic=None id=final connection=close")
	for _, id := range []string{"large", "first", "seen", "final"} {
		lazy.recv().header(t, "id", id)
	}
	lazy.closed()
}

// The same for an answer that another session has brought.
func TestAnAnswerThatWaitsKeepsItsID(t *testing.T) {
	b := start(t)
	admin, asker, answerer := b.dial(t), b.dial(t), b.dial(t)
	for _, topic := range []string{"T", "Seen", "Questions topic_mask=2"} {
		admin.ok("declare topic=" + topic)
	}
	admin.ok("produce topic=T", strings.Repeat("x", 8<<20))
	answerer.send("consume topic=Questions id=c")
	answerer.quiet()
	asker.send("produce topic=Questions id=first ack=0")
	who := answerer.recv().Get("sender")
	asker.send("consume topic=T id=large")
	if err := asker.r.Fill(); err != nil {
		t.Fatal(err)
	}
	answerer.send("route recver=" + who + " id=first")
	answerer.quiet() // it was read
	nobody := strings.Repeat("0", len(who))
	answerer.write(request("route recver="+nobody+" id=final", "") + request("produce topic=Seen", ""))
	admin.ok("consume topic=Seen")
	asker.send("produce topic=None id=final connection=close")
	for _, id := range []string{"large", "first", "final"} {
		asker.recv().header(t, "id", id)
	}
	asker.closed()
}
