package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestMessageOwnsItsMemory(t *testing.T) {
	first := startGET + "Name: value\r\ncontent-length: 4\r\n\r\nbody"
	data := strings.Repeat(first, 1000)
	r := NewReader(strings.NewReader(data), Limits{})
	var all []*Message
	for range 1000 {
		m, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	for i, m := range all {
		if m.Method != "GET" || m.Get("name") != "value" || string(m.Body) != "body" {
			t.Fatalf("message %d has changed: %+v", i, m)
		}
	}
	longer := append(all[0].Body, '1')
	if _ = append(all[0].Body, '2'); string(longer) != "body1" {
		t.Error("append to a body writes behind it")
	}
}

func TestManyFieldsKeepTheirOrder(t *testing.T) {
	var in strings.Builder
	in.WriteString(startGET)
	for i := range 40 {
		fmt.Fprintf(&in, "F%d: %d\r\n", i%20, i)
	}
	m, err := NewReader(strings.NewReader(in.String()+"\r\n"), Limits{}).Read()
	if err != nil || len(m.Fields) != 40 {
		t.Fatal(len(m.Fields), err)
	}
	for i, f := range m.Fields {
		if f.Name != fmt.Sprintf("f%d", i%20) || f.Value != fmt.Sprint(i) {
			t.Errorf("field %d is %v", i, f)
		}
	}
	if got := m.Get("f3"); got != "23" {
		t.Errorf("the last occurrence wins: got %q", got)
	}
}

func TestSetAndDel(t *testing.T) {
	m, err := NewReader(strings.NewReader(startGET+"a: 1\r\nb: 2\r\na: 3\r\nc:\r\na: 4\r\n\r\n"), Limits{}).Read()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := m.Lookup("c"); v != "" || !ok {
		t.Errorf("an empty value is present: %q, %v", v, ok)
	}
	if _, ok := m.Lookup("d"); ok {
		t.Error("d is absent")
	}
	m.Set("a", "5")
	m.Set("d", "6")
	if want := []Field{{"a", "5"}, {"b", "2"}, {"c", ""}, {"d", "6"}}; !slices.Equal(m.Fields, want) {
		t.Errorf("after Set: %v", m.Fields)
	}
	m.Del("a", "c", "none")
	if want := []Field{{"b", "2"}, {"d", "6"}}; !slices.Equal(m.Fields, want) {
		t.Errorf("after Del: %v", m.Fields)
	}
}

func TestParseAllocations(t *testing.T) {
	r := NewReader(&endless{data: bytes.Repeat(typicalProduce(), 100)}, Limits{})
	n := testing.AllocsPerRun(2000, func() {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("%v allocations a message, want the message and its bytes", n)
	}
}
