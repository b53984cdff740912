package zbus

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Servers keep descriptions up to these limits.
const (
	maxDescription = 256 << 10 // bytes
	maxDescribed   = 500       // methods
)

// The JSON of a description.
type (
	descriptionJSON struct {
		Name        string       `json:"name,omitempty"`
		Version     string       `json:"version,omitempty"`
		Description string       `json:"description,omitempty"`
		Methods     []methodJSON `json:"methods"`
	}
	methodJSON struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Params      json.RawMessage `json:"params,omitempty"`
		Result      json.RawMessage `json:"result,omitempty"`
	}
)

// description is what the service says of itself. Of one that is too large for a
// server the schemas are left out.
func (s *Service) description() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := descriptionJSON{Name: s.opts.Name, Version: s.opts.Version, Description: s.opts.Description, Methods: []methodJSON{}}
	for _, name := range slices.Sorted(maps.Keys(s.methods)) {
		if m := s.methods[name]; name != "" && len(d.Methods) < maxDescribed {
			d.Methods = append(d.Methods, methodJSON{Name: name, Description: m.text, Params: m.params, Result: m.result})
		}
	}
	body, err := json.Marshal(d)
	if err == nil && len(body) > maxDescription {
		for i := range d.Methods {
			d.Methods[i].Params, d.Methods[i].Result = nil, nil
		}
		body, err = json.Marshal(d)
	}
	if err != nil {
		return nil
	}
	return body
}

// describe tells the server what the service is. The answer is not waited for: servers
// of other generations do not know what this is. Called with c.mu held.
func (s *Service) describe(c *Client) {
	body := s.description()
	c.number++
	c.post(wire.CmdDescribe, c.epoch, func(w *frameWriter) {
		w.id(c.prefix, classRequest, c.number)
		w.field(wire.HeaderTopic, s.topic)
		w.body(body)
	})
}

// describeAgain does so when something was added to a service that runs.
func (s *Service) describeAgain() {
	if !s.running.Load() {
		return
	}
	if s.c.set != nil {
		for _, c := range s.c.set.up() {
			s.describeTo(c)
		}
		return
	}
	s.describeTo(s.c)
}

// describeTo tells one server, if there is a connection.
func (s *Service) describeTo(c *Client) {
	c.mu.Lock()
	if c.connected {
		s.describe(c)
	}
	c.mu.Unlock()
	c.nudge()
}

// paramsSchema is the JSON Schema of the array of parameters that decodeParams makes a
// value of the type of.
func paramsSchema(t reflect.Type) json.RawMessage {
	type object = map[string]any
	one := schemaOf(t)
	if one == nil {
		return nil
	}
	array := object{"type": "array", "prefixItems": []json.RawMessage{one}, "maxItems": 1}
	switch {
	case t.Kind() == reflect.Interface:
		array = object{"type": "array"}
	case t.Kind() == reflect.Slice:
		array = object{"type": "array", "items": orAny(schemaOf(t.Elem()))}
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		var fields []json.RawMessage
		for i := range t.NumField() {
			if field := t.Field(i); field.IsExported() {
				fields = append(fields, orAny(schemaOf(field.Type)))
			}
		}
		if len(fields) == 0 {
			array = object{"type": "array", "maxItems": 0}
			break
		}
		array = object{"type": "array", "anyOf": []object{
			{"prefixItems": []json.RawMessage{one}, "maxItems": 1},
			{"prefixItems": fields, "maxItems": len(fields)},
		}}
	}
	raw, err := json.Marshal(array)
	if err != nil {
		return nil
	}
	return raw
}

// orAny is the schema, or the one of anything.
func orAny(schema json.RawMessage) json.RawMessage {
	if schema == nil {
		return json.RawMessage("true")
	}
	return schema
}
