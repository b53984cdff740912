package wire

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func fieldsOf(tb testing.TB, s string) []Field {
	tb.Helper()
	var fields []Field
	err := RangeJSON(s, func(name, value string) bool {
		fields = append(fields, Field{name, value})
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return fields
}

func TestAppendJSON(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []Field
		want   string
	}{
		{"no fields", nil, ""},
		{"one", []Field{{"id", "1"}}, `{"id":"1"}`},
		{"empty value", []Field{{"ack", ""}}, `{"ack":""}`},
		{"last occurrence wins", []Field{{"a", "1"}, {"b", "2"}, {"a", "3"}}, `{"b":"2","a":"3"}`},
		{"repeated at the end", []Field{{"a", "1"}, {"a", "2"}}, `{"a":"2"}`},
		{"escapes", []Field{{"a", "\"\\/\t\x00\x1f"}}, `{"a":"\"\\/\u0009\u0000\u001f"}`},
		{"UTF-8 stays", []Field{{"a", "中\u2028\ufffd😀"}}, "{\"a\":\"中\u2028\ufffd😀\"}"},
		{"other bytes", []Field{{"a", "x\xe4\xb8y\xff\x80"}}, `{"a":"x\udce4\udcb8y\udcff\udc80"}`},
		{"an encoded surrogate is no UTF-8", []Field{{"a", "\xed\xb2\x80"}}, `{"a":"\udced\udcb2\udc80"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendJSON([]byte("x"), tt.fields)); got != "x"+tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRangeJSON(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []Field
	}{
		{"", nil},
		{"{}", nil},
		{" { } \n", nil},
		{"\t{ \"a\" :\r\n\"b\" , \"a\":\"\" } ", []Field{{"a", "b"}, {"a", ""}}},
		{`{"\u0061":"\"\\\/\b\f\n\r\tz"}`, []Field{{"a", "\"\\/\b\f\n\r\tz"}}},
		{`{"a":"\u4e2d\ud83d\ude00\uDE00"}`, []Field{{"a", "中😀\ufffd"}}},
		{`{"a":"\ud83dx\ud83d\u0041\udcff"}`, []Field{{"a", "\ufffdx\ufffdA\xff"}}},
	} {
		if got := fieldsOf(t, tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q", tt.in, got)
		}
	}
}

func TestRangeJSONRefuses(t *testing.T) {
	for _, in := range []string{
		" ", "x", "[]", "null", "{", `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":"b`, `{"a":"b"`, `{"a":"b",`, `{"a":"b",}`,
		`{"a":1}`, `{"a":null}`, `{a:"b"}`, `{"a":"b"}x`, `{}x`, `{"a" "b"}`, `{"a":"b" "c":"d"}`,
		`{"a":"\`, `{"a":"\"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}", "{\"a\":\"\\n\n\"}",
	} {
		err := RangeJSON(in, func(_, _ string) bool { return true })
		if !errors.Is(err, errFieldsJSON) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestRangeJSONStops(t *testing.T) {
	n := 0
	err := RangeJSON(`{"a":"1","b":"2",`, func(_, _ string) bool { n++; return n < 2 })
	if err != nil || n != 2 {
		t.Errorf("%d members, %v", n, err)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	text := rapid.Map(rapid.SliceOfN(rapid.OneOf(
		rapid.Map(rapid.Byte(), func(b byte) string { return string([]byte{b}) }),
		rapid.String(),
		rapid.SampledFrom([]string{"\xed\xb2\x80", "\\udc80", "\xf0\x9f\x98", "\ufffd", "\""}),
	), 0, 8), func(parts []string) string {
		var all string
		for _, p := range parts {
			all += p
		}
		return all
	})
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(text, 1, 5, rapid.ID[string]).Draw(t, "names")
		var fields []Field
		for _, name := range names {
			fields = append(fields, Field{name, text.Draw(t, "value")})
		}
		stored := AppendJSON(nil, fields)
		if !json.Valid(stored) {
			t.Fatalf("not JSON: %s", stored)
		}
		var got []Field
		if err := RangeJSON(string(stored), func(n, v string) bool { got = append(got, Field{n, v}); return true }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, fields) {
			t.Fatalf("got %q, want %q", got, fields)
		}
	})
}

func TestPlainJSONIsNotCopied(t *testing.T) {
	m := parseOne(t, typicalProduce())
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = AppendJSON(buf[:0], m.Fields) }); n != 0 {
		t.Errorf("AppendJSON: %v allocations", n)
	}
	stored, parts := string(buf), 0
	inside := func(s string) bool {
		at := uintptr(unsafe.Pointer(unsafe.StringData(s))) - uintptr(unsafe.Pointer(unsafe.StringData(stored)))
		return at < uintptr(len(stored))
	}
	visit := func(name, value string) bool {
		if inside(name) && inside(value) {
			parts++
		}
		return true
	}
	if n := testing.AllocsPerRun(1, func() {
		if err := RangeJSON(stored, visit); err != nil {
			t.Fatal(err)
		}
	}); n != 0 || parts != 2*len(m.Fields) { // AllocsPerRun calls once more, to warm up
		t.Errorf("RangeJSON: %v allocations, %d of %d members in place", n, parts, 2*len(m.Fields))
	}
}
