package contract

import (
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// outside asks for something that is not part of the document.
func outside(c *client, path string) (*http.Response, string) {
	c.t.Helper()
	req, err := c.request("GET", path, anyway)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("%s: %d %v %s", path, resp.StatusCode, err, body)
	}
	return resp, string(body)
}

func TestHealthAndReadinessAreAnswered(t *testing.T) {
	c := startClient(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if _, body := outside(c, path); body != "ok\n" {
			t.Errorf("%s: %q", path, body)
		}
	}
}

func TestDocumentIsValidAndServedAsItIs(t *testing.T) {
	if _, errs := theContract().validator.ValidateDocument(); len(errs) > 0 {
		t.Error(complaint(&operation{id: "openapi.yaml"}, "it", errs))
	}
	c := startClient(t)
	resp, body := outside(c, base+"/openapi.yaml")
	if kind := resp.Header.Get("Content-Type"); kind != "application/yaml" || body != openAPI() {
		t.Errorf("type %q, %d bytes; the file has %d", kind, len(body), len(openAPI()))
	}
}

func TestWhatIsNotInTheDocumentIsAProblem(t *testing.T) {
	c := startClient(t)
	for _, x := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"PUT", "/topics", 405, "invalid"},
		{"POST", "/server", 405, "invalid"},
		{"GET", "/topic", 404, "not_found"},
		{"POST", "/topics/T:flush", 405, "invalid"},
		{"GET", "", 404, "not_found"},
	} {
		c.do(x.method, x.path, anyway).refused(x.status, x.code, "openapi.yaml")
	}
}

func TestMisusedActionIsToldWhatThereIs(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	for _, x := range []struct {
		method, path string
		status       int
		code, allow  string
		words        []string
	}{
		{"POST", "/topics/T/groups/g:pul", 405, "invalid", "GET, HEAD, PUT, PATCH, DELETE", []string{"no action :pul", "(did you mean :pull?)", ":ack, :extend, :nack or :pull"}},
		{"POST", "/topics/T/groups/g:apply", 405, "invalid", "GET, HEAD, PUT, PATCH, DELETE", []string{"no action :apply", "use :ack"}},
		{"POST", "/topics/a:b:puase", 405, "invalid", "GET, HEAD, PUT, PATCH, DELETE", []string{"no action :puase", "(did you mean :pause?)", ":accept, :empty, :pause or :resume"}},
		{"POST", "/plans/p-1:aply", 405, "invalid", "GET, HEAD", []string{"(did you mean :apply?)", "use :apply"}},
		{"POST", "/topics/T/filters:tset", 404, "not_found", "", []string{"no action :tset", "(did you mean :test?)"}},
		{"POST", "/topics/T/groups/g", 405, "invalid", "GET, HEAD, PUT, PATCH, DELETE", []string{"POST is not possible here: use GET, PUT, PATCH or DELETE", "or POST with an action: :ack, :extend, :nack or :pull"}},
		{"PUT", "/topics", 405, "invalid", "GET, HEAD, POST", []string{"PUT is not possible here: use GET or POST"}},
		{"PUT", "/topics/T/filters:test", 405, "invalid", "POST", []string{":test is an action: use POST"}},
		{"GET", "/topics/T/filters:test", 405, "invalid", "POST", []string{":test is an action: use POST"}},
		{"GET", "/messages:transaction", 405, "invalid", "POST", []string{":transaction is an action: use POST"}},
		// It could be a name, so the code says that there is nothing of that name.
		{"GET", "/topics/T/groups/g:pull", 405, "not_found", "POST", []string{"ConsumeGroup(g:pull) not found", ":pull is an action: use POST"}},
		{"GET", "/topics/T:pause", 405, "not_found", "POST", []string{"Topic(T:pause) not found", ":pause is an action: use POST"}},
		{"GET", "/topics/T/groups/g:other", 404, "not_found", "", []string{"ConsumeGroup(g:other)"}},
		{"GET", "/topics/none:pull/groups/g", 404, "not_found", "", []string{"Topic(none:pull)"}},
		{"DELETE", "/topics/T:pause", 404, "not_found", "", []string{"Topic(T:pause)"}},
	} {
		r := c.do(x.method, x.path, anyway).refused(x.status, x.code, x.words...)
		if got := r.header.Get("Allow"); got != x.allow {
			t.Errorf("%s %s: Allow is %q, want %q", x.method, x.path, got, x.allow)
		}
	}
	// Nothing is created by mistake that is named like an action.
	for _, path := range []string{"/topics/T/groups/g:pull", "/topics/T:pause", "/topics/new:empty"} {
		r := c.do("PUT", path, object{}).refused(405, "not_found", "is an action: use POST")
		if got := r.header.Get("Allow"); got != "POST" {
			t.Errorf("PUT %s: Allow is %q", path, got)
		}
	}
	c.post("/topics/T/groups", object{"name": "g:pull"}).want(201)
	c.do("PUT", "/topics/T/groups/g:pull", object{"paused": true}).want(200).is("outcome", "changed")
	c.get("/topics/T/groups/g:pull").is("name", "g:pull")
}

func TestMemberThatIsWrongIsRefusedWithWhatWasMeant(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	for _, x := range []struct {
		path string
		body any
		want string
	}{
		{"/topics/T/groups", object{"name": "h", "filtre": "a"}, `unknown member "filtre" (did you mean "filter"?)`},
		{"/topics/T/groups", object{"name": "h", "Filter": "a"}, `(did you mean "filter"?)`},
		{"/topics/T/messages", object{"boddy": "a"}, `(did you mean "body"?)`},
		{"/topics/T/groups/g/plans", object{"to": object{"ofset": 1}}, `(did you mean "offset"?)`},
		{"/messages:transaction", object{"messages": list{object{"topic": "T", "tga": "a"}}}, `(did you mean "tag"?)`},
		{"/topics", object{"name": "x", "retention": object{"maxAge": "1h"}}, "the member retention.maxAge can't be a JSON string: it must be a whole number"},
		{"/topics", object{"name": 5}, "the member name can't be a JSON number: it must be a string"},
		{"/topics", object{"name": "x", "retention": 5}, "it must be an object"},
		{"/messages:transaction", object{"messages": object{}}, "it must be an array"},
		{"/topics/T/messages", lines("{\"boddy\":\"a\"}\n"), `line 1: unknown member "boddy" (did you mean "body"?)`},
	} {
		c.do("POST", x.path, anyway, x.body).refused(400, "invalid", x.want)
	}
	r := c.do("POST", "/topics/T/groups", anyway, object{"name": "h", "colour": "red"}).refused(400, "invalid")
	if got, want := r.str("detail"), `unknown member "colour"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r = c.do("POST", "/topics/T/messages", anyway, object{strings.Repeat("n", 1<<20): "a"}).refused(400, "invalid")
	if n := len(r.str("detail")); n > 200 {
		t.Errorf("a detail of %d bytes", n)
	}
}

// inline finds the first member of each object that an operation describes in place.
var inline = regexp.MustCompile(`\n {14,}properties:\n +([A-Za-z]+):`)

// links finds what a page would load or go to.
var links = regexp.MustCompile(`<[a-z]+[^>]*\s(?:src|href|action|srcset|data)="([^"]*)"`)

func TestDocumentationIsAPageThatLoadsNothingFromElsewhere(t *testing.T) {
	c := startClient(t)
	resp, page := outside(c, "/api/docs")
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
		t.Errorf("type %q", kind)
	}
	for _, o := range theContract().operations {
		if !strings.Contains(page, o.id) {
			t.Errorf("operation %s is not mentioned", o.id)
		}
	}
	if i := strings.IndexByte(page, '`'); i >= 0 {
		t.Errorf("a mark of the text is shown: %q", page[max(0, i-60):min(len(page), i+60)])
	}
	for _, name := range inline.FindAllStringSubmatch(openAPI(), -1) {
		if !strings.Contains(page, "<code>"+name[1]+"</code>") {
			t.Errorf("the member %q of an object that is described in place is not shown", name[1])
		}
	}
	loaded := map[string]bool{}
	for _, link := range links.FindAllStringSubmatch(page, -1) {
		where, err := resp.Request.URL.Parse(html.UnescapeString(link[1]))
		if err != nil || where.Host != c.addr {
			t.Errorf("the page has a link to %q: %v", link[1], err)
		} else if where.Path != "/api/docs" {
			loaded[where.Path] = true
		}
	}
	if !loaded["/api/docs.css"] || !loaded["/api/docs.js"] || !loaded[base+"/openapi.yaml"] {
		t.Errorf("the page has links to %v: the test does not see all of them", loaded)
	}
	for path := range loaded {
		if _, text := outside(c, path); strings.HasSuffix(path, ".css") && strings.Contains(text, "url(") || strings.Contains(text, "@import") {
			t.Errorf("%s loads more", path)
		}
	}
	if strings.Count(page, "<script") != 1 || strings.Contains(page, "<style") || strings.Contains(page, " style=") {
		t.Error("the page has parts that its own policy would not let work")
	}
}
