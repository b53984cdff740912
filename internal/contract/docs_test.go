package contract

import (
	"html"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The examples of the documentation are what a reader runs first: all of them work, one after the other.
func TestExamplesOfTheDocumentationRun(t *testing.T) {
	c := startClient(t)
	_, page := outside(c, "/api/docs")
	text, err := os.ReadFile("../../tools/apidocs/examples.yaml")
	must(t, err)
	var examples []struct{ Op, Body string }
	must(t, yaml.Unmarshal(text, &examples))
	command := regexp.MustCompile(`^curl (?:-X ([A-Z]+) )?'http://127\.0\.0\.1:15555` + base + `([^']*)'(?: -d '(.*)')?$`)
	if len(examples) < 30 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		_, article, ok := strings.Cut(page, `<article id="`+e.Op+`"`)
		if !ok {
			t.Fatalf("%s is not on the page", e.Op)
		}
		article, _, _ = strings.Cut(article, "</article>")
		_, shown, _ := strings.Cut(article, `<pre class="example">`)
		shown, _, _ = strings.Cut(shown, "</pre>")
		m := command.FindStringSubmatch(html.UnescapeString(shown))
		if m == nil {
			t.Fatalf("the example of %s is %q", e.Op, shown)
		}
		method := m[1]
		switch {
		case method == "" && m[3] != "":
			method = "POST"
		case method == "":
			method = "GET"
		}
		var r *reply
		if m[3] == "" {
			r = c.do(method, m[2])
		} else {
			r = c.do(method, m[2], rawJSON(m[3]))
		}
		if r.status >= 300 {
			t.Errorf("%s: %s: %d %s", e.Op, m[0], r.status, r.raw)
		}
	}
}
