package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// exampleServer is where examples go. The page puts the broker there that has sent it.
const exampleServer = "http://127.0.0.1:15555"

// example is one of examples.yaml.
type example struct {
	Op   string
	With map[string]string // parameters besides topic and group
	Body string
}

// value is what a parameter has in the example.
func (e *example) value(name string) string {
	switch {
	case e.Op == "":
		return ""
	case e.With[name] != "":
		return e.With[name]
	}
	return map[string]string{"topic": "orders", "group": "billing"}[name]
}

// addExamples gives operations their examples.
func addExamples(operations []*operation) error {
	var all []example
	if err := yaml.Unmarshal(docsExamples, &all); err != nil {
		return fmt.Errorf("examples.yaml: %w", err)
	}
	known := make(map[string]*operation)
	for _, op := range operations {
		known[op.OperationID] = op
	}
	for _, e := range all {
		op := known[e.Op]
		switch {
		case op == nil:
			return fmt.Errorf("examples.yaml: there is no operation %s", e.Op)
		case e.Body != "" && !json.Valid([]byte(e.Body)):
			return fmt.Errorf("examples.yaml: the body of %s is not JSON", e.Op)
		}
		op.Example = e
	}
	return nil
}

// TakesJSON reports whether the operation has a body that can be typed.
func (op *operation) TakesJSON() bool {
	if op.RequestBody == nil {
		return false
	}
	_, ok := op.RequestBody.Content["application/json"]
	return ok
}

// Form is what the page makes the fields of the form of: parameters, as JSON.
func (op *operation) Form() (string, error) {
	type field struct {
		Name     string `json:"name"`
		In       string `json:"in"`
		Required bool   `json:"required,omitempty"`
		Value    string `json:"value,omitempty"`
	}
	fields := make([]field, 0, len(op.Parameters))
	for _, p := range op.Parameters {
		fields = append(fields, field{p.Name, p.In, p.Required, op.example(p)})
	}
	text, err := json.Marshal(fields)
	return string(text), err
}

// example is the value of a parameter in the example; "": it is left out.
func (op *operation) example(p parameter) string {
	if p.In != "path" && op.Example.With[p.Name] == "" {
		return ""
	}
	return op.Example.value(p.Name)
}

// Curl is the example as a command.
func (op *operation) Curl() string {
	if op.Example.Op == "" {
		return ""
	}
	path, query := op.Path, make(url.Values)
	for _, p := range op.Parameters {
		value := op.example(p)
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(value))
		case p.In == "query" && value != "":
			query.Set(p.Name, value)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	command := "curl"
	if op.Method != "GET" && (op.Method != "POST" || op.Example.Body == "") {
		command += " -X " + op.Method
	}
	command += " '" + exampleServer + path + "'"
	if op.Example.Body != "" {
		command += " -d '" + op.Example.Body + "'"
	}
	return command
}
