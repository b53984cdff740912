package contract

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/content"
	"github.com/pb33f/libopenapi-validator/errors"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// base is the path of the API, the document's only server.
const base = "/api/v1"

// operation is one operation of the document.
type operation struct {
	id, method, template string
	path                 *regexp.Regexp
	item                 *v3.PathItem
	responses            *v3.Responses
	takes                bool // something that may be wrong: a parameter or a body
	sends                bool // a body
}

// lists reports whether the document names the status, and not only the default.
func (o *operation) lists(status int) bool {
	_, ok := o.responses.Codes.Get(strconv.Itoa(status))
	return ok
}

// before is what is answered before an operation sees the request. The document names it for each
// operation that it can be the answer of.
var before = []int{405, 413, 415, 421, 429, 503}

// hard is what of that is not seen of every operation: one with another method is none, and the
// others take a server that has too much to do.
var hard = map[int]bool{405: true, 429: true, 503: true}

// document is the contract, ready to validate by, with what was seen of it.
type document struct {
	model      *v3.Document
	operations []*operation

	mu        sync.Mutex
	validator validator.Validator     // guarded by mu
	seen      map[string]map[int]bool // guarded by mu: statuses by operation
	refused   map[string]bool         // guarded by mu: operations that answered with a problem of their own
}

// openAPI is the text of the contract.
var openAPI = sync.OnceValue(func() string {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		panic(err)
	}
	return string(text)
})

// theContract is read once, as compiling its schemas takes a second.
var theContract = sync.OnceValue(func() *document {
	text, err := libopenapi.NewDocument([]byte(openAPI()))
	if err != nil {
		panic(err)
	}
	model, err := text.BuildV3Model()
	if err != nil {
		panic(err)
	}
	// Strict: members and parameters that the document does not name are errors even
	// where JSON Schema lets them pass.
	check, errs := validator.NewValidator(text,
		config.WithFormatAssertions(), config.WithContentAssertions(), config.WithStrictMode(),
		config.WithStrictIgnoredHeadersExtra("Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Sec-Fetch-Mode", "Sec-Fetch-Site",
			"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"),
		// Strictness does not see through what these are made of; their schemas do hold.
		config.WithStrictIgnorePaths("$.body.headers.*", "$.body.**.headers.*",
			"$.body.start.*", "$.body.to.*", "$.body.**.to.*", "$.body.plan.**"),
		config.WithBodyDecoder("application/x-ndjson", content.DecoderFunc(asText)),
	)
	if errs != nil {
		panic(fmt.Sprint(errs))
	}
	d := &document{model: &model.Model, validator: check, seen: map[string]map[int]bool{}, refused: map[string]bool{}}
	for template, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, o := range item.GetOperations().FromOldest() {
			d.operations = append(d.operations, &operation{
				id: o.OperationId, method: strings.ToUpper(method), template: template, path: pattern(template),
				item: item, responses: o.Responses, sends: o.RequestBody != nil, takes: len(item.Parameters)+len(o.Parameters) > 0 || o.RequestBody != nil,
			})
		}
	}
	return d
})

// asText takes a body for the string that it is.
func asText(in *content.DecodeInput) (any, error) {
	all, err := io.ReadAll(in.Body)
	return string(all), err
}

// pattern matches the paths of a template. A name can have any character but a slash.
func pattern(template string) *regexp.Regexp {
	literals := regexp.MustCompile(`\{[^}]*\}`).Split(template, -1)
	for i, text := range literals {
		literals[i] = regexp.QuoteMeta(text)
	}
	return regexp.MustCompile("^" + regexp.QuoteMeta(base) + strings.Join(literals, "[^/]+") + "$")
}

// find is the operation that a request is for, or nil. Where several fit, the one
// with the most text of its own does: POST /topics/a:pull:empty empties a:pull.
func (d *document) find(req *http.Request) (best *operation) {
	for _, o := range d.operations {
		if o.method != req.Method || !o.path.MatchString(req.URL.EscapedPath()) {
			continue
		}
		if best == nil || len(o.template) > len(best.template) {
			best = o
		}
	}
	return best
}

// request says what the document has against a request.
func (d *document) request(o *operation, req *http.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, errs := d.validator.ValidateHttpRequestSyncWithPathItem(req, o.item, o.template)
	return complaint(o, "the request", errs)
}

// response says what the document has against a response, and notes that it was
// seen. A stream's body is not looked at.
func (d *document) response(o *operation, req *http.Request, resp *http.Response) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[o.id] == nil {
		d.seen[o.id] = map[int]bool{}
	}
	d.seen[o.id][resp.StatusCode] = true
	d.refused[o.id] = d.refused[o.id] || ownProblem(req, resp)
	_, errs := d.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(req, resp, o.item, o.template)
	return complaint(o, fmt.Sprintf("the response %d", resp.StatusCode), errs)
}

// ownProblem reports whether a problem comes from the operation that was asked for, and
// not from what stands before all of them: the guards against pages of other sites, and
// what refuses everything that the document does not have, which tests ask of every
// operation without regard to what it is.
func ownProblem(req *http.Request, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMisdirectedRequest, http.StatusForbidden:
		return false
	}
	return resp.StatusCode >= 400 && standingOf(req) != anyway
}

// complaint puts errors into one; nil when there are none.
func complaint(o *operation, what string, errs []*errors.ValidationError) error {
	if len(errs) == 0 {
		return nil
	}
	var text []string
	for _, e := range errs {
		text = append(text, e.Message+": "+e.Reason)
		for _, s := range e.SchemaValidationErrors {
			text = append(text, "  "+s.FieldPath+": "+s.Reason)
		}
	}
	return fmt.Errorf("%s: %s is not as the contract says:\n  %s", o.id, what, strings.Join(text, "\n  "))
}

// gaps says which operations were not seen to refuse what they are given, and which
// responses that have a status of their own were not seen.
func (d *document) gaps() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.operations {
		statuses := d.seen[o.id]
		for code := range o.responses.Codes.FromOldest() {
			if !statuses[atoi(code)] && !hard[atoi(code)] {
				all = append(all, fmt.Sprintf("%s was never seen to answer %s", o.id, code))
			}
		}
		if o.takes && !d.refused[o.id] {
			all = append(all, o.id+" was never seen to answer with a problem of its own")
		}
	}
	slices.Sort(all)
	return all
}
