package server_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// golden is what the two ends of a call get to read when both are of one family:
// {S} stands for the id of a session, {N} for a number of the broker's. The bytes
// that they write are those of families.
type golden struct {
	family, delivery, answer string
}

var exchanges = []golden{
	{
		"JS",
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 32\r\n\r\n" + `{"method":"plus","params":[1,2]}`,
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ntopic: T\r\ncontent-length: 25\r\n\r\n" + `{"error":null,"result":3}`,
	},
	{
		"Python",
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 50\r\n\r\n" + `{"params": [1, 2], "method": "plus", "module": ""}`,
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\ntopic: T\r\ncontent-type: application/json\r\ncontent-length: 28\r\n\r\n" + `{"error": null, "result": 3}`,
	},
	{
		"PHP",
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 46\r\n\r\n" + `{"method":"plus","params":[1,2],"module":null}`,
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ncontent-length: 25\r\n\r\n" + `{"result":3,"error":null}`,
	},
	{
		".NET",
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\ncontent-type: application/json\r\nencoding: utf-8\r\nversion: 0.8.0\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 32\r\n\r\n" + `{"method":"plus","params":[1,2]}`,
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\ncontent-type: application/json\r\nencoding: utf-8\r\ncontent-length: 25\r\n\r\n" + `{"result":3,"error":null}`,
	},
	{
		"C++",
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 49\r\n\r\n" + "{\n   \"method\" : \"plus\",\n   \"params\" : [ 1, 2 ]\n}\n",
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\ncontent-type: application/json\r\ntopic: T\r\ncontent-length: 39\r\n\r\n" + "{\n   \"error\" : null,\n   \"result\" : 3\n}\n",
	},
	{
		"Java", // neither of its bodies is JSON
		"HTTP/1.1 200 OK\r\nid: c1\r\norigin_id: r1\r\nsender: {S}\r\nversion: 0.9.0\r\ncontent-type: text/plain; charset=UTF-8\r\ntopic: T\r\norigin_url: /\r\ncontent-length: 84\r\n\r\n" + `{"@type":"io.zbus.rpc.Request","method":"plus","module":"","params":[1,2L,"x",1.5D]}`,
		"HTTP/1.1 200 OK\r\nid: r1\r\nsender: {S}\r\nversion: 0.9.0\r\ntopic: T\r\ncontent-type: text/plain; charset=UTF-8\r\ncontent-length: 14\r\n\r\n" + `{"result": 3L}`,
	},
}

var (
	anySession = regexp.MustCompile(`(?m)^(sender: )[0-9a-f-]{36}\r$`)
	anyNumber  = regexp.MustCompile(`(?m)^((?:offset|timestamp): )[0-9]+\r$`)
)

// golden is a message as it arrived, with what differs from run to run masked.
func (a answer) golden() string {
	head := anySession.ReplaceAllString(a.head, "$1{S}\r")
	return anyNumber.ReplaceAllString(head, "$1{N}\r") + string(a.Body)
}

func TestGoldenExchangesOfEveryFamily(t *testing.T) {
	t.Parallel()
	for i, x := range exchanges {
		f := families[i]
		if f.name != x.family {
			t.Fatalf("exchange %d is of %s, the family is %s", i, x.family, f.name)
		}
		t.Run(x.family, func(t *testing.T) {
			b := start(t)
			s, c := b.dial(t), b.dial(t)
			f.serve(s, "T", "c1")
			f.write(c, f.invoke, "T", "r1", f.invokeBody)
			a := s.recv()
			if got := a.golden(); got != x.delivery {
				t.Errorf("the service got\n%q, want\n%q", got, x.delivery)
			}
			f.write(s, f.route, "T", "", f.routeBody, "{sender}", a.Get("sender"), "{to}", "r1")
			if got := c.recv().golden(); got != x.answer {
				t.Errorf("the caller got\n%q, want\n%q", got, x.answer)
			}
			// The next call is taken with the service's next consume, and it dies.
			f.write(s, f.consume, "T", strings.ReplaceAll(f.again, "{id}", "c1"), "")
			f.write(c, f.invoke, "T", "r2", f.invokeBody)
			s.recv()
			s.conn.Close()
			wantFailure(t, c.recv(), 502, "Bad Gateway", "r2", "Topic(T) lost the provider that got the call before it answered: the call may have run")
			f.write(c, f.invoke, "T", "r3", f.invokeBody)
			wantFailure(t, c.recv(), 503, "Service Unavailable", "r3", "Topic(T) has no provider: start one that consumes it")
			c.quiet()
		})
	}
}

// wantFailure checks a broker's own answer to a call byte by byte: clients read it
// without a content type, and show its text.
func wantFailure(t *testing.T, a answer, status int, reason, id, text string) {
	t.Helper()
	want := "HTTP/1.1 " + strconv.Itoa(status) + " " + reason + "\r\nid: " + id + "\r\ncontent-length: " + strconv.Itoa(len(text)) + "\r\n\r\n" + text
	if got := a.head + string(a.Body); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
