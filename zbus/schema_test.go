package zbus

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
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

type also struct {
	ID   string // nearer than the one of base, which has another name
	Same int
}

type other struct{ Same, Once int }

// embedding has all that encoding/json does with structs inside of structs.
type embedding struct {
	*base  // may be nil
	also   // and other have both Same, so there is none
	other  `json:",omitempty"`
	Named  `json:"named"`
	Number int      `json:"number,string"`
	Maybe  *float64 `json:"maybe,string,omitempty"`
	Text   string   `json:",string"`
	List   []int    `json:",string"` //nolint:staticcheck // the option has no effect there, which is to be seen
	Dash   int      `json:"-,"`      //nolint:staticcheck // a member that is named so
}

// Named is embedded by name.
type Named struct {
	Inner int
	Own   json.Marshaler
}

// Types that have each other in them, in every order.
type (
	ring1 struct {
		A *ring1
		B *ring2
		C *ring3
		D *ring4
		E *ring5
		F *ring6
		G *ring7
		H *ring8
	}
	ring2 ring1
	ring3 ring1
	ring4 ring1
	ring5 ring1
	ring6 ring1
	ring7 ring1
	ring8 ring1
)

func TestSchemasHaveAnEnd(t *testing.T) {
	schema := schemaOf(reflect.TypeFor[ring1]())
	var any map[string]any
	if err := json.Unmarshal(schema, &any); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(schema), `"type"`); n < 100 || n > 2000 || len(schema) > maxDescription {
		t.Errorf("%d values are described in %d bytes", n, len(schema))
	}
}

// What is written has the members that the schema has, and those that it requires.
func TestSchemasHaveTheMembersOfTheJSON(t *testing.T) {
	for _, v := range []any{embedding{}, embedding{base: &base{}, Maybe: ptr(1.5), other: other{Once: 1}}, tree{}} {
		var schema struct {
			Properties map[string]any
			Required   []string
		}
		var members map[string]any
		text, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(text, &members)
		}
		if err == nil {
			err = json.Unmarshal(schemaOf(reflect.TypeOf(v)), &schema)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name := range members {
			if schema.Properties[name] == nil {
				t.Errorf("%s of %s is not in the schema", name, text)
			}
		}
		for _, name := range schema.Required {
			if _, ok := members[name]; !ok {
				t.Errorf("%s is required, and not in %s", name, text)
			}
		}
	}
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
		{embedding{}, `{"additionalProperties":false,"properties":{"id":{"type":"integer"},"ID":{"type":"string"},"Once":{"type":"integer"},` +
			`"named":{"additionalProperties":false,"properties":{"Inner":{"type":"integer"},"Own":true},"required":["Inner","Own"],"type":"object"},` +
			`"number":{"type":"string"},"maybe":{"type":["null","string"]},"Text":{"type":"string"},"List":{"items":{"type":"integer"},"type":["null","array"]},` +
			`"-":{"type":"integer"}},"required":["ID","Once","named","number","Text","List","-"],"type":"object"}`},
	} {
		if got := string(schemaOf(reflect.TypeOf(test.value))); got != test.want {
			t.Errorf("%T:\n%s\nwant\n%s", test.value, got, test.want)
		}
	}
	if got := schemaOf(reflect.TypeFor[chan int]()); got != nil {
		t.Errorf("a channel is %s", got)
	}
}
