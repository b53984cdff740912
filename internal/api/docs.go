package api

import (
	"bytes"
	_ "embed" // for the page
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
	"go.yaml.in/yaml/v3"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// docsPolicy lets the page load its style from here and nothing else from anywhere.
const docsPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs adds the page that makes the contract readable. It is made at first use.
func (h *handler) docs(r chi.Router) {
	page := sync.OnceValues(func() ([]byte, error) { return renderDocs(h.Contract) })
	r.Get("/api/docs", func(w http.ResponseWriter, req *http.Request) {
		body, err := page()
		if err != nil {
			h.problem(w, req, err)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", docsPolicy)
		_, _ = w.Write(body)
	})
	r.Get("/api/docs.css", text("text/css; charset=utf-8", docsStyle))
}

// The parts of the contract that the page shows. Maps are nodes, as their order
// counts.
type (
	contract struct {
		Info struct {
			Title, Version, Summary, Description string
		}
		Tags       []struct{ Name, Description string }
		Paths      yaml.Node
		Components struct {
			Parameters map[string]parameter
			Responses  map[string]response
			Schemas    yaml.Node
		}
	}
	pathItem struct {
		Parameters               []parameter
		Get, Post, Patch, Delete *operation
	}
	operation struct {
		Method, Path         string
		OperationID          string `yaml:"operationId"`
		Tags                 []string
		Summary, Description string
		Parameters           []parameter
		RequestBody          *struct{ Content map[string]media } `yaml:"requestBody"`
		Responses            yaml.Node
		Answers              []answer
	}
	parameter struct {
		Ref                   string `yaml:"$ref"`
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	media    struct{ Schema schema }
	response struct {
		Ref         string `yaml:"$ref"`
		Description string
		Content     map[string]media
	}
	answer struct {
		Status string
		response
	}
	schema struct {
		Ref         string `yaml:"$ref"`
		Type        string
		Format      string
		Description string
		Enum        []string
		Required    []string
		Default     any
		Minimum     *int64
		Maximum     *int64
		Items       *schema
		OneOf       []schema `yaml:"oneOf"`
		AllOf       []schema `yaml:"allOf"`
		Properties  yaml.Node
	}
	member struct {
		Name     string
		Required bool
		schema
	}
	namedSchema struct {
		Name string
		schema
	}
)

// docsPage is what the template is given.
type docsPage struct {
	Title, Version, Summary, Description string
	Groups                               []docsGroup
	Schemas                              []namedSchema
}

type docsGroup struct {
	Name, Description string
	Operations        []*operation
}

// parseContract reads the contract.
func parseContract(text string) (*contract, []*operation, error) {
	c := new(contract)
	if err := yaml.Unmarshal([]byte(text), c); err != nil {
		return nil, nil, fmt.Errorf("contract: %w", err)
	}
	operations, err := c.operations()
	return c, operations, err
}

// renderDocs makes the page from the contract.
func renderDocs(text string) ([]byte, error) {
	c, operations, err := parseContract(text)
	if err != nil {
		return nil, err
	}
	page := docsPage{Title: c.Info.Title, Version: c.Info.Version, Summary: c.Info.Summary, Description: c.Info.Description}
	for _, tag := range c.Tags {
		g := docsGroup{Name: tag.Name, Description: tag.Description}
		for _, op := range operations {
			if len(op.Tags) > 0 && op.Tags[0] == tag.Name {
				g.Operations = append(g.Operations, op)
			}
		}
		page.Groups = append(page.Groups, g)
	}
	err = pairs(&c.Components.Schemas, func(name string, n *yaml.Node) error {
		s := namedSchema{Name: name}
		err := n.Decode(&s.schema)
		page.Schemas = append(page.Schemas, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	t, err := template.New("docs").Funcs(template.FuncMap{"prose": prose, "words": words}).Parse(docsTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, page)
	return b.Bytes(), err
}

// pairs calls f for each member of a YAML map, in order.
func pairs(n *yaml.Node, f func(name string, value *yaml.Node) error) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := f(n.Content[i].Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// operations lists them in the order of the contract, with references resolved.
func (c *contract) operations() (list []*operation, err error) {
	err = pairs(&c.Paths, func(path string, n *yaml.Node) error {
		var item pathItem
		if err := n.Decode(&item); err != nil {
			return err
		}
		for _, x := range []struct {
			method string
			op     *operation
		}{{"GET", item.Get}, {"POST", item.Post}, {"PATCH", item.Patch}, {"DELETE", item.Delete}} {
			if x.op == nil {
				continue
			}
			x.op.Method, x.op.Path = x.method, Base+path
			if err := c.resolve(x.op, item.Parameters); err != nil {
				return err
			}
			list = append(list, x.op)
		}
		return nil
	})
	return list, err
}

func (c *contract) resolve(op *operation, shared []parameter) error {
	op.Parameters = append(shared[:len(shared):len(shared)], op.Parameters...)
	for i, p := range op.Parameters {
		if p.Ref != "" {
			op.Parameters[i] = c.Components.Parameters[last(p.Ref)]
		}
	}
	return pairs(&op.Responses, func(status string, n *yaml.Node) error {
		a := answer{Status: status}
		err := n.Decode(&a.response)
		if a.Ref != "" {
			a.response = c.Components.Responses[last(a.Ref)]
		}
		op.Answers = append(op.Answers, a)
		return err
	})
}

// last is the name at the end of a reference.
func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// Name is the name of the schema that is referred to, or "".
func (s schema) Name() string { return last(s.Ref) }

// Members lists the members of an object, those of its parts included.
func (s schema) Members() (list []member, err error) {
	for _, part := range s.AllOf {
		more, err := part.Members()
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	err = pairs(&s.Properties, func(name string, n *yaml.Node) error {
		m := member{Name: name}
		for _, r := range s.Required {
			m.Required = m.Required || r == name
		}
		err := n.Decode(&m.schema)
		list = append(list, m)
		return err
	})
	return list, err
}

// Own lists the members of an object that is described in place, and is no part of
// others.
func (s schema) Own() ([]member, error) {
	if s.Ref != "" || len(s.AllOf) > 0 {
		return nil, nil
	}
	return s.Members()
}

// prose turns paragraphs of words into HTML.
func prose(text string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		b.WriteString("<p>" + string(words(paragraph)) + "</p>")
	}
	return template.HTML(b.String())
}

// words turns a text with `code` and **bold** into HTML.
func words(text string) template.HTML {
	return template.HTML(between(between(template.HTMLEscapeString(text), "**", "strong"), "`", "code"))
}

// between puts what stands between two marks into an element.
func between(text, mark, element string) string {
	parts := strings.Split(text, mark)
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = "<" + element + ">" + parts[i] + "</" + element + ">"
	}
	return strings.Join(parts, "")
}
