package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// described is what a broker shows of a service.
type described struct {
	Providers []struct{ Name, Version, Description string }
	Methods   []struct {
		Name, Description string
		Described         bool
		Params, Result    any
	}
}

func describedAt(addr, topic string) (d described) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/api/v1/rpc/" + topic)
	if err != nil {
		return described{}
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&d) != nil {
		return described{}
	}
	return d
}

// await asks until it is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for ctx := within(t); !so(); {
		if ctx.Err() != nil {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// methodOf is what d says of a method: its description and schemas as JSON.
func (d described) methodOf(t *testing.T, name string) (text, params, result string) {
	t.Helper()
	for _, m := range d.Methods {
		if m.Name == name && m.Described {
			p, _ := json.Marshal(m.Params)
			r, _ := json.Marshal(m.Result)
			return m.Description, string(p), string(r)
		}
	}
	t.Fatalf("method %q is not described: %+v", name, d.Methods)
	return "", "", ""
}

func TestServicesDescribeThemselves(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	provider, c := dial(t, broker.Addr, zbus.Options{}), dial(t, broker.Addr, zbus.Options{})
	s := calculator(provider, zbus.ServiceOptions{Name: "Calculator", Version: "1.2.0", Description: "Adds."})
	s.Describe("add", "The sum of two numbers.")
	serve(t, s, c, "calc")
	d := describedAt(broker.Addr, "calc")
	if p := d.Providers; len(p) != 1 || p[0].Name != "Calculator" || p[0].Version != "1.2.0" || p[0].Description != "Adds." {
		t.Errorf("the provider is described as %+v", p)
	}
	for _, want := range []struct{ name, text, params, result string }{
		{"add", "The sum of two numbers.", `{"anyOf":[{"maxItems":1,"prefixItems":[{"additionalProperties":false,"properties":{"A":{"type":"integer"},"B":{"type":"integer"}},"required":["A","B"],"type":"object"}]},{"maxItems":2,"prefixItems":[{"type":"integer"},{"type":"integer"}]}],"type":"array"}`, `{"type":"integer"}`},
		{"sum", "", `{"items":{"type":"number"},"type":"array"}`, `{"type":"number"}`},
		{"greet", "", `{"maxItems":1,"prefixItems":[{"type":"string"}],"type":"array"}`, `{"type":"string"}`},
		{"nothing", "", `{"maxItems":0,"type":"array"}`, `{"additionalProperties":false,"type":"object"}`},
		{"echo", "", `{"type":"array"}`, `true`},
	} {
		text, params, result := d.methodOf(t, want.name)
		if text != want.text || params != want.params || result != want.result {
			t.Errorf("%s is described as %q\n%s\n%s\nwant\n%s\n%s", want.name, text, params, result, want.params, want.result)
		}
	}

	// What is added later, and after the broker was away, is known as well.
	zbus.Handle(s, "later", func(context.Context, int) (int, error) { return 0, nil })
	await(t, "the method that was added", func() bool { return len(describedAt(broker.Addr, "calc").Methods) == len(d.Methods)+1 })
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	await(t, "the description after a restart", func() bool {
		again := describedAt(broker.Addr, "calc")
		return len(again.Providers) == 1 && len(again.Methods) == len(d.Methods)+1
	})
}

func TestAServiceThatTakesAnything(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	provider, c := dial(t, addr, zbus.Options{}), dial(t, addr, zbus.Options{})
	s := zbus.NewService(provider, "raw", zbus.ServiceOptions{})
	s.HandleRequests(func(_ context.Context, d *zbus.Delivery) (*zbus.Message, error) {
		switch string(d.Body) {
		case "missing":
			return nil, &zbus.Error{Status: 404, Text: "no such thing"}
		case "fail":
			return nil, errors.New("out of beans")
		case "panic":
			panic("a secret")
		case "nothing":
			return nil, nil
		case "bad":
			return &zbus.Message{Headers: map[string]string{"x": "two\nlines"}}, nil
		}
		return &zbus.Message{Headers: map[string]string{"x-kind": d.Header("x-kind")}, Body: append([]byte("got "), d.Body...)}, nil
	})
	serve(t, s, c, "raw")
	body := []byte("\x00\xff{2L}")
	answer, err := c.Request(within(t), "raw", zbus.Message{Headers: map[string]string{"X-Kind": "bytes"}, Body: body})
	if err != nil || string(answer.Body) != "got "+string(body) || answer.Header("x-kind") != "bytes" {
		t.Fatalf("%q with %q, %v", answer.Body, answer.Header("x-kind"), err)
	}
	if answer, err := c.Request(within(t), "raw", zbus.Message{Body: []byte("nothing")}); err != nil || len(answer.Body) != 0 {
		t.Errorf("no answer to send: %v, %v", answer, err)
	}
	got := map[string]int{}
	for _, body := range []string{"missing", "fail", "panic", "bad"} {
		_, err := c.Request(within(t), "raw", zbus.Message{Body: []byte(body)})
		e := (*zbus.CallError)(nil)
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", body, err)
		}
		got[body] = e.Status
	}
	if want := (map[string]int{"missing": 404, "fail": 500, "panic": 500, "bad": 500}); !reflect.DeepEqual(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}
