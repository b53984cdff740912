package zbus

import (
	"reflect"
	"slices"
	"strings"
)

// jsonMember is a member of the object that encoding/json makes of a struct.
type jsonMember struct {
	name     string
	typ      reflect.Type
	index    []int // of its field, from the outermost struct
	tagged   bool  // its name is from a tag
	optional bool
	quoted   bool // it is written as a text, by the option string
}

// membersOf are the members of a struct's object, in the order of the fields. Those of embedded structs
// are its own, unless a tag gives the struct a name. Of several with one name it is the outermost; of
// those at one depth the one that has a tag, if there is one such, and otherwise none of them.
func membersOf(t reflect.Type) (all []jsonMember) {
	var found []jsonMember
	collect(t, nil, false, nil, &found)
	byName := make(map[string][]jsonMember)
	for _, m := range found {
		byName[m.name] = append(byName[m.name], m)
	}
	for _, m := range found {
		rivals := slices.DeleteFunc(slices.Clone(byName[m.name]), func(r jsonMember) bool {
			return len(r.index) > len(m.index) || len(r.index) == len(m.index) && m.tagged && !r.tagged
		})
		if len(rivals) == 1 {
			all = append(all, m)
		}
	}
	return all
}

// collect adds the fields of a struct, and of those that are embedded in it, as members. optional says that
// the struct itself may be missing. within are the structs around it.
func collect(t reflect.Type, at []int, optional bool, within []reflect.Type, all *[]jsonMember) {
	if slices.Contains(within, t) || len(*all) > maxSchema {
		return
	}
	within = append(slices.Clip(within), t)
	for i := range t.NumField() {
		f := t.Field(i)
		inner, pointer := f.Type, false
		if inner.Kind() == reflect.Pointer && inner.Name() == "" {
			inner, pointer = inner.Elem(), true
		}
		embedded := f.Anonymous && inner.Kind() == reflect.Struct
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() && !embedded || f.Tag.Get("json") == "-" {
			continue
		}
		if embedded && name == "" {
			collect(inner, append(slices.Clip(at), i), optional || pointer, within, all)
			continue
		}
		m := jsonMember{name: name, typ: f.Type, index: append(slices.Clip(at), i), tagged: name != "", optional: optional}
		if name == "" {
			m.name = f.Name
		}
		for option := range strings.SplitSeq(options, ",") {
			m.optional = m.optional || option == "omitempty" || option == "omitzero"
			m.quoted = m.quoted || option == "string" && isPlain(inner.Kind())
		}
		*all = append(*all, m)
	}
}

// isPlain reports whether the option string has an effect on values of a kind.
func isPlain(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}

// quoted is the schema of a value that is written as a text.
func quoted(schema any) any {
	object, is := schema.(map[string]any)
	if !is {
		return schema // it says itself how it is written
	}
	if _, null := object["type"].([]string); null {
		return map[string]any{"type": []string{"null", "string"}}
	}
	return map[string]any{"type": "string"}
}
