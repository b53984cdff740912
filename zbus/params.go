package zbus

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// jsonHeaders go with messages whose body is JSON.
var jsonHeaders = map[string]string{"content-type": "application/json"}

// decodeParams decodes the parameters of a call into in, a pointer: see Handle.
func decodeParams(params json.RawMessage, in any) error {
	v := reflect.ValueOf(in).Elem()
	if len(params) == 0 || string(params) == "null" {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(params, &list) != nil { // not an array: the one parameter
		return decodeParam(params, v)
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		err := decodeParam(list[0], v)
		if err != nil && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) {
			return decodeList(list, v)
		}
		return err
	}
	return decodeList(list, v)
}

// decodeList decodes several parameters.
func decodeList(list []json.RawMessage, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), len(list), len(list))
		v.Set(s)
		return each(list, func(i int) reflect.Value { return s.Index(i) })
	case reflect.Array:
		if len(list) > v.Len() {
			return fmt.Errorf("%d given, at most %d wanted", len(list), v.Len())
		}
		return each(list, v.Index)
	case reflect.Struct:
		var fields []reflect.Value
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fields = append(fields, v.Field(i))
			}
		}
		if len(list) > len(fields) {
			return fmt.Errorf("%d given, at most %d wanted", len(list), len(fields))
		}
		return each(list, func(i int) reflect.Value { return fields[i] })
	case reflect.Interface:
		all := make([]any, len(list))
		for i, raw := range list {
			if err := json.Unmarshal(raw, &all[i]); err != nil {
				return err
			}
		}
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(all))
			return nil
		}
	}
	return fmt.Errorf("%d given, one wanted", len(list))
}

func each(list []json.RawMessage, at func(int) reflect.Value) error {
	for i, raw := range list {
		if err := decodeParam(raw, at(i)); err != nil {
			return fmt.Errorf("number %d: %w", i+1, err)
		}
	}
	return nil
}

// decodeParam decodes one parameter. A text is looked into where none is wanted.
func decodeParam(raw json.RawMessage, v reflect.Value) error {
	err := json.Unmarshal(raw, v.Addr().Interface())
	if err == nil || len(raw) == 0 || raw[0] != '"' || v.Kind() == reflect.String {
		return err
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && json.Unmarshal([]byte(text), v.Addr().Interface()) == nil {
		return nil
	}
	return err
}
