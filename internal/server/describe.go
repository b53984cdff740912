package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Limits of what a provider says of itself. It is kept as long as the provider is
// connected.
const (
	maxDescription = 256 << 10 // bytes
	maxMethods     = 500
	maxNameBytes   = 200
)

// description is the body of describe.
type description struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Methods     []struct {
		Name        string          `json:"name"`
		Module      string          `json:"module"`
		Description string          `json:"description"`
		Params      json.RawMessage `json:"params"`
		Result      json.RawMessage `json:"result"`
	} `json:"methods"`
}

// describe notes what a provider says of itself as long as it is connected. An empty
// body takes it back.
func (s *session) describe(m *wire.Message) {
	t := s.topicOf(m)
	if t == nil {
		return
	}
	id := m.Get(wire.HeaderID)
	if !t.Calls() {
		s.fail(id, &broker.Error{Code: broker.Invalid, Text: fmt.Sprintf("Topic(%s) is not for calls: there is nothing to describe", t.Name())})
		return
	}
	var d *rpc.Description
	if len(m.Body) > 0 {
		var err error
		if d, err = parseDescription(m.Body); err != nil {
			s.fail(id, &broker.Error{Code: broker.Invalid, Text: "Bad description: " + err.Error()})
			return
		}
	}
	s.peer.Describe(s.serviceOf(t), d)
	s.send(http.StatusOK, id, now())
}

func parseDescription(body []byte) (*rpc.Description, error) {
	if len(body) > maxDescription {
		return nil, fmt.Errorf("it has %d bytes: at most %d are allowed", len(body), maxDescription)
	}
	var in description
	r := json.NewDecoder(bytes.NewReader(body))
	r.DisallowUnknownFields()
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected data after its JSON object")
	}
	if len(in.Methods) > maxMethods {
		return nil, fmt.Errorf("it has %d methods: at most %d are allowed", len(in.Methods), maxMethods)
	}
	d := &rpc.Description{Name: in.Name, Version: in.Version, Description: in.Description}
	for _, m := range in.Methods {
		if m.Name == "" || len(m.Name) > maxNameBytes || len(m.Module) > maxNameBytes {
			return nil, fmt.Errorf("method %q: name and module must not be longer than %d bytes, and there must be a name", broker.Excerpt(m.Name), maxNameBytes)
		}
		for _, schema := range []*json.RawMessage{&m.Params, &m.Result} {
			switch text := string(*schema); {
			case text == "null":
				*schema = nil
			case text != "" && text[0] != '{' && text != "true" && text != "false":
				return nil, fmt.Errorf("method %q: params and result must be JSON Schemas, which are objects or booleans", broker.Excerpt(m.Name))
			}
		}
		d.Methods = append(d.Methods, rpc.MethodDescription(m))
	}
	return d, nil
}
