package live

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// documents are the contracts, by the name under which they are served.
func documents(t *testing.T) map[string]any {
	t.Helper()
	docs := map[string]any{}
	for name, file := range map[string]string{"": "asyncapi.yaml", "openapi.yaml": "openapi.yaml"} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		docs[name] = doc
	}
	return docs
}

// at finds what a reference points to, or nil.
func at(docs map[string]any, ref string) any {
	name, path, _ := strings.Cut(ref, "#/")
	x := docs[name]
	for _, key := range strings.Split(path, "/") {
		m, _ := x.(map[string]any)
		x = m[key]
	}
	return x
}

func TestAsyncAPIHasNoReferenceToNothing(t *testing.T) {
	docs := documents(t)
	n := 0
	var walk func(x any)
	walk = func(x any) {
		switch x := x.(type) {
		case map[string]any:
			if ref, ok := x["$ref"].(string); ok {
				if n++; at(docs, ref) == nil {
					t.Errorf("%s points to nothing", ref)
				}
			}
			for _, v := range x {
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	walk(docs[""])
	if n < 100 {
		t.Errorf("only %d references found", n)
	}
}

// members lists what a schema of asyncapi.yaml has, by way of its references.
func members(docs map[string]any, schema any) (names []string, closed bool) {
	m, _ := schema.(map[string]any)
	if ref, ok := m["$ref"].(string); ok {
		if !strings.Contains(ref, ".yaml") {
			return members(docs, at(docs, ref))
		}
		inner := map[string]any{"": docs["openapi.yaml"]} // its references are within it
		return members(inner, at(docs, ref))
	}
	props, _ := m["properties"].(map[string]any)
	names = slices.Collect(maps.Keys(props))
	all, _ := m["allOf"].([]any)
	for _, x := range all {
		more, _ := members(docs, x)
		names = append(names, more...)
	}
	slices.Sort(names)
	return slices.Compact(names), m["additionalProperties"] == false
}

// fields lists the members that a type has in JSON.
func fields(typ reflect.Type) (names []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			names = append(names, fields(f.Type)...)
		} else if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAsyncAPIDescribesWhatTheCodeDoes(t *testing.T) {
	docs := documents(t)
	frames := map[string]any{
		"subscribe": subscribeOp{}, "unsubscribe": unsubscribeOp{}, "credit": creditOp{}, "ack": handlesOp{}, "nack": nackOp{},
		"extend": handlesOp{}, "publish": publishOp{}, "call": callOp{}, "serve": serveOp{}, "answer": answerOp{}, "watch": watchOp{}, "unwatch": unwatchOp{}, "ping": head{},
		"subscribed": subscribedFrame{}, "message": delivered{}, "published": publishedFrame{}, "watching": watchingFrame{},
		"beat": beatFrame{}, "result": resultFrame{}, "serving": servingFrame{}, "request": requestFrame{}, "ended": endedFrame{}, "ok": okFrame{}, "problem": problemFrame{},
		"figures": nil, "tail": nil, // these are put together by hand; see below
	}
	for op := range ops {
		if _, ok := frames[op]; !ok {
			t.Errorf("the op %s is missing here", op)
		}
	}
	for name, frame := range frames {
		checkFrame(t, docs, name, frame)
	}
	described, _ := at(docs, "#/components/messages").(map[string]any)
	if len(described) != len(frames) {
		t.Errorf("described are %q", slices.Sorted(maps.Keys(described)))
	}
}

// checkFrame checks one message; frame is nil when it has no type.
func checkFrame(t *testing.T, docs map[string]any, name string, frame any) {
	t.Helper()
	payload := at(docs, "#/components/messages/"+name+"/payload")
	has, closed := members(docs, payload)
	kind := "type"
	if _, ok := ops[name]; ok {
		kind = "op"
	}
	if at(docs, "#/channels/socket/messages/"+name) == nil {
		t.Errorf("the channel has no %s", name)
	}
	m, _ := payload.(map[string]any)
	if ref, _ := m["$ref"].(string); at(docs, ref+"/properties/"+kind+"/const") != name {
		t.Errorf("%s: its %s is not that", name, kind)
	}
	if closed != (kind == "op") {
		t.Errorf("%s: whether other members are refused is not as described", name)
	}
	if frame != nil && !slices.Equal(has, fields(reflect.TypeOf(frame))) {
		t.Errorf("%s: described with %q, in the code %q", name, has, fields(reflect.TypeOf(frame)))
	}
}

func TestAsyncAPIDescribesTheFiguresAndTheirChannels(t *testing.T) {
	docs := documents(t)
	for schema, data := range map[string]any{
		"ServerFigures": serverFigures{}, "TopicList": topicList{}, "TopicRow": topicFigures{}, "TopicFigures": topicFigures{},
		"SecondFigures": secondFigures{}, "GroupList": groupList{}, "ServiceList": serviceList{}, "ServiceRow": serviceRow{}, "ServiceFigures": serviceFigures{}, "SessionList": sessionList{}, "AuditList": auditList{},
	} {
		if has, _ := members(docs, at(docs, "#/components/schemas/"+schema)); !slices.Equal(has, fields(reflect.TypeOf(data))) {
			t.Errorf("%s: described with %q, in the code %q", schema, has, fields(reflect.TypeOf(data)))
		}
	}
	group, _ := members(docs, at(docs, "#/components/schemas/GroupFigures"))
	if want := slices.DeleteFunc(fields(reflect.TypeOf(groupFigures{})), func(s string) bool { return s == "topic" || s == "kind" }); !slices.Equal(group, want) {
		t.Errorf("GroupFigures: described with %q, in the code %q", group, want)
	}
	var names []string
	for _, x := range at(docs, "#/components/schemas/Channel/enum").([]any) {
		names = append(names, x.(string))
	}
	slices.Sort(names)
	if want := slices.Sorted(maps.Keys(channels)); !slices.Equal(names, want) {
		t.Errorf("channels are described as %q, in the code %q", names, want)
	}
}

func TestFiguresAndTailsHaveTheMembersThatAreDescribed(t *testing.T) {
	docs := documents(t)
	r := start(t)
	topic := r.topic("orders")
	c := r.dial(nil)
	c.call(`{"op":"watch","channel":"audit"}`, "watching")
	figures := c.next().is(t, "figures")
	c.call(`{"op":"watch","channel":"tail","topic":"orders"}`, "watching")
	r.publish(topic, "x")
	for _, f := range []got{figures, c.await("tail")} {
		var m map[string]any
		if err := json.Unmarshal([]byte(f.raw), &m); err != nil {
			t.Fatal(err)
		}
		if has, _ := members(docs, at(docs, "#/components/messages/"+f.Type+"/payload")); !slices.Equal(has, slices.Sorted(maps.Keys(m))) {
			t.Errorf("%s: described with %q, sent was %q", f.Type, has, f.raw)
		}
	}
}
