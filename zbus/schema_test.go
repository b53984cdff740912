package zbus

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

type tree struct {
	Name     string
	Children []tree `json:"children,omitempty"`
}

type base struct {
	ID int `json:"id"`
}

type thing struct {
	base
	Base2  base `json:"base"`
	When   time.Time
	Note   *string `json:"note,omitempty"`
	Raw    json.RawMessage
	Bytes  []byte
	Pair   [2]uint8
	Counts map[string]float64
	At     netip.Addr
	Any    any
	Hidden int `json:"-"`
	secret int
	F      func()
}

func ptr[T any](v T) *T { return &v }

func TestSchemasSayWhatJSONAValueIs(t *testing.T) {
	_ = thing{}.secret
	for _, test := range []struct {
		value any
		want  string
	}{
		{true, `{"type":"boolean"}`},
		{uint16(1), `{"minimum":0,"type":"integer"}`},
		{[]string{}, `{"items":{"type":"string"},"type":["null","array"]}`},
		{ptr(ptr([]int{})), `{"items":{"type":"integer"},"type":["null","array"]}`},
		{ptr(ptr(1)), `{"type":["null","integer"]}`},
		{tree{}, `{"additionalProperties":false,"properties":{"Name":{"type":"string"},"children":{"items":true,"type":["null","array"]}},"required":["Name"],"type":"object"}`},
		{thing{}, `{"additionalProperties":false,"properties":{"id":{"type":"integer"},` +
			`"base":{"additionalProperties":false,"properties":{"id":{"type":"integer"}},"required":["id"],"type":"object"},` +
			`"When":{"format":"date-time","type":"string"},"note":{"type":["null","string"]},"Raw":true,"Bytes":{"contentEncoding":"base64","type":["null","string"]},` +
			`"Pair":{"items":{"minimum":0,"type":"integer"},"maxItems":2,"minItems":2,"type":"array"},"Counts":{"additionalProperties":{"type":"number"},"type":"object"},` +
			`"At":{"type":"string"},"Any":true},"required":["id","base","When","Raw","Bytes","Pair","Counts","At","Any"],"type":"object"}`},
	} {
		if got := string(schemaOf(reflect.TypeOf(test.value))); got != test.want {
			t.Errorf("%T:\n%s\nwant\n%s", test.value, got, test.want)
		}
	}
	if got := schemaOf(reflect.TypeFor[chan int]()); got != nil {
		t.Errorf("a channel is %s", got)
	}
}
