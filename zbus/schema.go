package zbus

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"time"
)

// schemaOf is the JSON Schema of a type's values, as encoding/json writes and reads them, and nil for
// one of which nothing can be said. It is our own, since a library for schemas would be in every program
// that uses the client.
func schemaOf(t reflect.Type) json.RawMessage {
	d := describer{left: maxSchema}
	schema, ok := d.describe(t, nil)
	if !ok {
		return nil
	}
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil
	}
	return raw
}

// maxSchema is how many values, those inside of others included, a schema describes. The rest is any
// value: types that contain each other would make a schema too large to read.
const maxSchema = 2000

// describer creates one schema.
type describer struct{ left int }

// describe is the schema of a type: true for any value. within are the types around it; one
// that has itself in it is any value there.
func (d *describer) describe(t reflect.Type, within []reflect.Type) (schema any, ok bool) {
	if d.left--; d.left < 0 {
		return true, true
	}
	if t.Kind() == reflect.Pointer {
		schema, ok = d.describe(t.Elem(), within)
		if object, is := schema.(map[string]any); is {
			if kind, is := object["type"].(string); is { // others may be null already
				object["type"] = []string{"null", kind}
			}
		}
		return schema, ok
	}
	for _, outer := range within {
		if outer == t {
			return true, true
		}
	}
	if schema, known := describeNamed(t); known {
		return schema, true
	}
	within = append(within[:len(within):len(within)], t)
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return map[string]any{"type": "integer", "minimum": 0}, true
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}, true
	case reflect.String:
		return map[string]any{"type": "string"}, true
	case reflect.Interface:
		return true, true
	case reflect.Map:
		values, ok := d.describe(t.Elem(), within)
		return map[string]any{"type": "object", "additionalProperties": values}, ok
	case reflect.Slice, reflect.Array:
		items, ok := d.describe(t.Elem(), within)
		array := map[string]any{"type": []string{"null", "array"}, "items": items}
		if t.Kind() == reflect.Array {
			array["type"], array["minItems"], array["maxItems"] = "array", t.Len(), t.Len()
		}
		return array, ok
	case reflect.Struct:
		return d.object(t, within), true
	}
	return nil, false // no value of it becomes JSON
}

// describeNamed is the schema of a type that says itself how it is written.
func describeNamed(t reflect.Type) (schema any, known bool) {
	implements := func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) }
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}, true
	case t == reflect.TypeFor[json.Number]():
		return map[string]any{"type": "number"}, true
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && t != reflect.TypeFor[json.RawMessage]():
		return map[string]any{"type": []string{"null", "string"}, "contentEncoding": "base64"}, true
	case implements(reflect.TypeFor[json.Marshaler]()):
		return true, true
	case implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return map[string]any{"type": "string"}, true
	}
	return nil, false
}

// object is the schema of a struct, with its members in the order of the fields.
func (d *describer) object(t reflect.Type, within []reflect.Type) any {
	var properties bytes.Buffer
	var required []string
	for _, m := range membersOf(t) {
		schema, ok := d.describe(m.typ, within)
		if !ok {
			continue
		}
		if m.quoted {
			schema = quoted(schema)
		}
		key, err := json.Marshal(m.name)
		value, err2 := json.Marshal(schema)
		if err != nil || err2 != nil {
			continue
		}
		if properties.Len() > 0 {
			properties.WriteByte(',')
		}
		properties.Write(append(append(key, ':'), value...))
		if !m.optional {
			required = append(required, m.name)
		}
	}
	object := map[string]any{"type": "object", "additionalProperties": false}
	if properties.Len() > 0 {
		object["properties"] = json.RawMessage("{" + properties.String() + "}")
	}
	if len(required) > 0 {
		object["required"] = required
	}
	return object
}
