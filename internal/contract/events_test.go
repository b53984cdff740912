package contract

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stream is a stream of server-sent events that is being read.
type stream struct {
	t      testing.TB
	resp   *http.Response
	resume chan string // what to come back with before any event came
	events chan event  // closed at its end
}

// event is one of them.
type event struct{ kind, id, data string }

// listen opens a stream, and closes it when the test ends.
func (c *client) listen(path string, args ...any) *stream {
	c.t.Helper()
	req, err := c.request("GET", base+path, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		c.t.Fatalf("%s: %d of type %q", path, resp.StatusCode, kind)
	}
	s := &stream{c.t, resp, make(chan string, 1), make(chan event, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.events)
		s.read()
	}()
	c.t.Cleanup(func() { s.close(); <-done })
	return s
}

func (s *stream) close() { _ = s.resp.Body.Close() }

// read reads events until the stream ends. Lines that begin with a colon only show
// that it lives.
func (s *stream) read() {
	var e event
	for in := bufio.NewScanner(s.resp.Body); in.Scan(); {
		name, value, _ := strings.Cut(in.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data += value
		case "":
			switch {
			case e.data != "":
				s.events <- e
			case e.id != "":
				s.resume <- e.id
			}
			e = event{}
		}
	}
}

// next waits for the next event; false says that the stream is over.
func (s *stream) next() (event, bool) {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		return e, ok
	case <-time.After(patience):
		s.t.Fatal("no event comes, nor an end")
	}
	return event{}, false
}

// bodies waits for messages and checks their bodies and ids.
func (s *stream) bodies(want ...string) (last event) {
	s.t.Helper()
	for _, body := range want {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %q", body)
		}
		var m struct{ Offset, Body string }
		if err := json.Unmarshal([]byte(e.data), &m); err != nil || m.Body != body || m.Offset != e.id {
			s.t.Fatalf("got %+v %v, want the message %q", e, err, body)
		}
		last = e
	}
	return last
}

func TestEventsBringWhatIsPublished(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", object{"body": "before"}).want(201)
	all, some := c.listen("/topics/T/events"), c.listen("/topics/T/events?filter=a")
	c.post("/topics/T/messages", list{object{"body": "1", "tag": "a"}, object{"body": "2"}, object{"body": "3\n", "tag": "a"}}).want(201)
	last := all.bodies("1", "2", "3\n")
	some.bodies("1", "3\n")
	all.close()

	// A client that comes back gets what it has missed.
	c.post("/topics/T/messages", object{"body": "4"}).want(201)
	again := c.listen("/topics/T/events", header{"Last-Event-ID", last.id})
	again.bodies("4")
	first := c.listen("/topics/T/events", header{"Last-Event-ID", "0"})
	first.bodies("1", "2", "3\n", "4")
	c.do("GET", "/topics/T/events", header{"Last-Event-ID", "x"}).refused(400, "invalid", "Last-Event-ID")
	first.close()
	again.close()
	some.close()
	eventually(t, "the groups of the callers are gone", func() bool { return len(c.get("/topics/T").list("groups")) == 0 })
}

// A caller can come back before it got anything, and notices when the log is another one.
func TestEventsAreResumedFromTheFirstMoment(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	id := func(s *stream) string {
		t.Helper()
		select {
		case id := <-s.resume:
			return id
		case <-time.After(patience):
			t.Fatal("no id comes")
		}
		return ""
	}
	s := c.listen("/topics/T/events")
	last := id(s)
	s.close()
	c.post("/topics/T/messages", list{object{"body": "1", "tag": "a"}, object{"body": "2"}}).want(201)
	s = c.listen("/topics/T/events", header{"Last-Event-ID", last})
	if got := id(s); got != "-1" || last != "-1" {
		t.Errorf("ids %q and %q", last, got)
	}
	s.bodies("1", "2")
	s.close()
	s = c.listen("/topics/T/events?filter=b")
	if last = id(s); last != "1" {
		t.Errorf("id %q, want that of the last message", last)
	}
	s.close()
	for _, beyond := range []string{"2", "9223372036854775807"} {
		s = c.listen("/topics/T/events", header{"Last-Event-ID", beyond})
		if e, ok := s.next(); !ok || e.kind != "reset" || e.id != "-1" {
			t.Errorf("beyond the log: %+v", e)
		}
		s.bodies("1", "2")
		s.close()
	}
	s = c.listen("/topics/T/events", header{"Last-Event-ID", "1"})
	id(s)
	c.post("/topics/T/messages", object{"body": "3"}).want(201)
	s.bodies("3")
}

func TestEventsOfAGroupConsumeInIt(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 0, object{"settle": "auto", "filter": "a"})
	c.post("/topics/T/messages", list{object{"body": "1", "tag": "a"}, object{"body": "2"}, object{"body": "3", "tag": "a"}}).want(201)
	s := c.listen("/topics/T/events?group=g")
	s.bodies("1", "3")
	cursorIs(c, 3)
	s.close()
	c.post("/topics/T/messages", object{"body": "4", "tag": "a"}).want(201)
	s = c.listen("/topics/T/events?group=g")
	s.bodies("4")
	c.do("DELETE", "/topics/T/groups/g").want(204)
	if e, ok := s.next(); !ok || e.kind != "end" {
		t.Errorf("got %+v, want an event that says that this is the end", e)
	}
	if e, ok := s.next(); ok {
		t.Errorf("got %+v behind the end", e)
	}
}

func TestEventsEndAtShutdown(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 0, object{"settle": "auto"})
	own, group := c.listen("/topics/T/events"), c.listen("/topics/T/events?group=g")
	c.post("/topics/T/messages", object{"body": "1"}).want(201)
	own.bodies("1")
	group.bodies("1")
	began := time.Now()
	b.stop(t)
	for _, s := range []*stream{own, group} {
		if e, ok := s.next(); ok {
			t.Errorf("got %+v, want the end", e)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the broker waited %s for streams that have no end of their own", took)
	}
}

func TestStreamsAndPullsThatWaitAreSessions(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 0)
	for _, end := range []func(id string){
		func(id string) { c.do("DELETE", "/sessions/"+id+query("reason", "two\nlines")).want(204) },
		func(string) {
			c.do("DELETE", "/sessions"+query("topic", "T", "reason", "two lines")).want(200).is("closed", 1)
		},
	} {
		s := c.listen("/topics/T/events")
		c.post("/topics/T/messages", object{"body": "1"}).want(201)
		s.bodies("1")
		eventually(t, "what was written is counted", func() bool { return c.get("/sessions?topic=T").num("sessions.0.out") == 1 })
		one := c.get("/sessions?topic=T&protocol=api").is("total", 1, "sessions.0.in", 1, "sessions.0.out", 1,
			"sessions.0.subscriptions.0.topic", "T", "sessions.0.subscriptions.0.group", c.get("/topics/T").str("groups.1.name"))
		end(one.str("sessions.0.id"))
		if e, ok := s.next(); !ok || e.kind != "end" || e.data != "two lines" {
			t.Errorf("got %+v, want the reason why this is the end", e)
		}
		if e, ok := s.next(); ok {
			t.Errorf("got %+v behind the end", e)
		}
		eventually(t, "the stream and its group are gone", func() bool {
			return c.get("/sessions").num("total") == 0 && len(c.get("/topics/T").list("groups")) == 1
		})
	}
	c.post("/topics/T/groups", object{"name": "late", "start": "latest"}).want(201)
	ended := make(chan *reply, 1)
	go func() {
		r, _ := c.try("POST", "/topics/T/groups/late:pull", object{"timeout": 30_000})
		ended <- r
	}()
	eventually(t, "the pull waits", func() bool { return c.get("/sessions?topic=T").num("total") == 1 })
	c.get("/sessions").is("sessions.0.protocol", "api", "sessions.0.subscriptions.0.group", "late", "sessions.0.subscriptions.0.credit", 1)
	c.do("DELETE", "/sessions?protocol=api").want(200).is("closed", 1)
	select {
	case r := <-ended:
		r.refused(503, "unavailable", "administrator")
	case <-time.After(patience):
		t.Error("the pull continues")
	}
	c.post("/topics/T/messages", object{"body": "x"}).want(201)
	c.post("/topics/T/groups/late:pull", object{"timeout": 5000}).want(200).is("deliveries.0.body", "x")
}
