package contract

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// JSON values, to be written in tests.
type (
	object = map[string]any
	list   = []any
)

// client asks the API of one broker.
type client struct {
	t    testing.TB
	http *http.Client
	addr string
}

func (b *instance) client(t testing.TB) *client { return &client{t, b.http(t), b.addr} }

// startClient is what most tests begin with.
func startClient(t testing.TB) *client {
	t.Helper()
	return start(t).client(t)
}

// header is a header to send; anything else that a call is given is its body.
type header struct{ name, value string }

// lines is a body of newline-delimited JSON, rawJSON one of JSON, as it is.
type (
	lines   string
	rawJSON string
)

// reply is what came back. Status and headers are those of HTTP.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	raw    []byte
	value  any // of JSON; numbers are json.Number
}

// do makes one request. path is below the base, with names that are escaped as a
// URL needs it.
func (c *client) do(method, path string, args ...any) *reply {
	c.t.Helper()
	r, err := c.try(method, path, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// try is do for goroutines that must not end the test.
func (c *client) try(method, path string, args ...any) (*reply, error) {
	req, err := c.request(method, base+path, args...)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &reply{t: c.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header}
	if r.raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if strings.HasSuffix(resp.Header.Get("Content-Type"), "json") {
		d := json.NewDecoder(bytes.NewReader(r.raw))
		d.UseNumber()
		err = d.Decode(&r.value)
	}
	return r, err
}

// request makes a request from a path and the arguments of a call.
func (c *client) request(method, path string, args ...any) (*http.Request, error) {
	ctx, head := c.t.Context(), http.Header{}
	var body io.Reader
	for _, arg := range args {
		kind := "application/json"
		switch arg := arg.(type) {
		case header:
			head.Set(arg.name, arg.value)
			continue
		case standing:
			ctx = sentAs(ctx, arg)
			continue
		case lines:
			body, kind = strings.NewReader(string(arg)), "application/x-ndjson"
		case rawJSON:
			body = strings.NewReader(string(arg))
		default:
			raw, err := json.Marshal(arg)
			if err != nil {
				return nil, err
			}
			body = bytes.NewReader(raw)
		}
		head.Set("Content-Type", kind)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, body)
	if err != nil {
		return nil, err
	}
	req.Header, req.Host = head, head.Get("Host")
	return req, nil
}

func (c *client) get(path string, args ...any) *reply {
	c.t.Helper()
	return c.do("GET", path, args...).want(http.StatusOK)
}

func (c *client) post(path string, args ...any) *reply {
	c.t.Helper()
	return c.do("POST", path, args...)
}

// query makes the query part of a path: names and values in turn.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

// want checks the status.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: got %d %s, want %d", r.what, r.status, r.raw, status)
	}
	return r
}

// refused checks that it is a problem with this status and code, whose text has
// all of the words.
func (r *reply) refused(status int, code string, words ...string) *reply {
	r.t.Helper()
	r.want(status)
	r.is("code", code)
	if got := r.num("status"); got != int64(status) {
		r.t.Errorf("%s: the problem says %d, the response %d", r.what, got, status)
	}
	for _, w := range words {
		if !strings.Contains(r.str("detail"), w) {
			r.t.Errorf("%s: the detail %q does not have %q", r.what, r.str("detail"), w)
		}
	}
	return r
}

// at finds a value: member names and indices with dots between. nil: there is none.
func (r *reply) at(path string) any {
	v := r.value
	for _, step := range strings.Split(path, ".") {
		switch in := v.(type) {
		case object:
			v = in[step]
		case list:
			i := atoi(step)
			if i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// is checks values: paths and what they have to be in turn. Numbers of 64 bits are
// strings in JSON and numbers here.
func (r *reply) is(pairs ...any) *reply {
	r.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		path := pairs[i].(string)
		got, want := r.at(path), pairs[i+1]
		switch n := want.(type) {
		case int:
			want = strconv.Itoa(n)
		case int64:
			want = strconv.FormatInt(n, 10)
		}
		if n, ok := got.(json.Number); ok {
			got = n.String()
		}
		if got != want {
			r.t.Errorf("%s: %s is %v, want %v", r.what, path, got, want)
		}
	}
	return r
}

// str is a string that has to be there.
func (r *reply) str(path string) string {
	r.t.Helper()
	s, ok := r.at(path).(string)
	if !ok {
		r.t.Fatalf("%s: %s is %v, want a string, in %s", r.what, path, r.at(path), r.raw)
	}
	return s
}

// num is a number that has to be there, in either form.
func (r *reply) num(path string) int64 {
	r.t.Helper()
	text, ok := r.at(path).(string)
	if n, isNumber := r.at(path).(json.Number); isNumber {
		text, ok = n.String(), true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		r.t.Fatalf("%s: %s is %v, want a number, in %s", r.what, path, r.at(path), r.raw)
	}
	return n
}

// list is an array that has to be there.
func (r *reply) list(path string) list {
	r.t.Helper()
	l, ok := r.at(path).(list)
	if !ok {
		r.t.Fatalf("%s: %s is %v, want an array, in %s", r.what, path, r.at(path), r.raw)
	}
	return l
}

// each is one string member of every element of an array.
func (r *reply) each(path, member string) []string {
	r.t.Helper()
	all := []string{}
	for i := range r.list(path) {
		all = append(all, r.str(path+"."+strconv.Itoa(i)+"."+member))
	}
	return all
}

// atoi reads a number that a test wrote.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
