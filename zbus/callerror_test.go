package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// errSoldOut is an error that a service and its callers share.
var errSoldOut = &zbus.CallError{Status: 409, Code: "sold_out", Message: "sold out"}

// shop is a service with an error of each kind.
func shop(c *zbus.Client) *zbus.Service {
	s := zbus.NewService(c, "shop", zbus.ServiceOptions{})
	give := func(name string, err error) {
		zbus.Handle(s, name, func(context.Context, int) (int, error) { return 0, err })
	}
	zbus.Handle(s, "ok", func(_ context.Context, n int) (int, error) { return n, nil })
	give("soldOut", fmt.Errorf("order 5: %w", &zbus.CallError{Status: 409, Code: "sold_out", Message: "no tea left", Data: json.RawMessage(`{"left":0}`)}))
	give("missing", &zbus.Error{Status: 404, Text: "no such order"})
	give("plain", errors.New("out of beans"))
	give("nonsense", &zbus.CallError{Status: 200, Message: "is it one?"})
	zbus.Handle(s, "panic", func(context.Context, int) (int, error) { panic("a secret") })
	return s
}

var shopErrors = []struct {
	method  string
	param   any
	status  int
	code    string
	message string
	data    string
	kind    error
}{
	{"soldOut", 1, 409, "sold_out", "no tea left", `{"left":0}`, zbus.ErrConflict},
	{"missing", 1, 404, "", "no such order", "", zbus.ErrNotFound},
	{"plain", 1, 500, "", "out of beans", "", zbus.ErrInternal},
	{"nonsense", 1, 500, "", "is it one?", "", zbus.ErrInternal},
	{"panic", 1, 500, "panic", "the method panicked", "", zbus.ErrInternal},
	{"nobody", 1, 404, "no_method", `no method "nobody"`, "", zbus.ErrNotFound},
	{"ok", "x", 400, "bad_params", "parameters: json: cannot unmarshal string into Go value of type int", "", zbus.ErrInvalid},
}

func TestErrorsOfAServiceReachItsCaller(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	serve(t, shop(c), c, "shop")
	broker, err := zbus.Dial(within(t), addr, zbus.Options{AllServers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	for _, x := range shopErrors {
		for way, call := range map[string]func(context.Context, string, string, any, ...any) error{"client": c.Call, "broker": broker.Call} {
			err := call(within(t), "shop", x.method, nil, x.param)
			var e *zbus.CallError
			if !errors.As(err, &e) || e.Status != x.status || e.Code != x.code || e.Message != x.message || string(e.Data) != x.data {
				t.Errorf("%s by the %s: %v, %+v", x.method, way, err, e)
				continue
			}
			if !errors.Is(err, x.kind) || errors.Is(err, errSoldOut) != (x.method == "soldOut") {
				t.Errorf("%s by the %s: of another kind: %v", x.method, way, err)
			}
			if want := fmt.Sprintf("zbus: call shop/%s: %d %s", x.method, x.status, x.message); err.Error() != want {
				t.Errorf("by the %s: %q, want %q", way, err, want)
			}
		}
	}
	if err := c.Call(within(t), "nowhere", "m", nil); !errors.Is(err, zbus.ErrNotFound) || errors.As(err, new(*zbus.CallError)) {
		t.Errorf("no topic: %v", err)
	}
}

// Clients of the original look for a member error in an answer with status 200.
func TestOldCallersSeeErrorsAsTheyDid(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	serve(t, shop(c), c, "shop")
	for _, x := range shopErrors {
		body, err := json.Marshal(map[string]any{"method": x.method, "params": []any{x.param}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Request(within(t), "shop", zbus.Message{Body: body})
		var answer struct{ Error string }
		if err != nil || json.Unmarshal(resp.Body, &answer) != nil || answer.Error != x.message || resp.Header("content-type") != "application/json" {
			t.Errorf("%s: %+v, %v", x.method, resp, err)
		}
	}
	status, body := httpGet(t, "http://"+addr+"/rpc/shop/plain/1")
	if status != 200 || !strings.HasPrefix(body, `{"error":"out of beans"`) {
		t.Errorf("by URL: %d %s", status, body)
	}
}

func httpGet(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestErrorsOfAServiceAreProblemsOfRESTAndCounted(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	serve(t, shop(c), c, "shop")
	for _, x := range shopErrors {
		params, err := json.Marshal([]any{x.param})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+addr+"/api/v1/rpc/shop/"+x.method, "application/json", strings.NewReader(string(params)))
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Status       int
			Code, Detail string
			Error        json.RawMessage
		}
		err = json.NewDecoder(resp.Body).Decode(&problem)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != x.status || problem.Status != x.status || problem.Code != "call_failed" || problem.Detail != x.message ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %+v, %v", x.method, resp.StatusCode, problem, err)
		}
		if x.method == "soldOut" && string(problem.Error) != `{"message":"no tea left","code":"sold_out","data":{"left":0}}` {
			t.Errorf("%s: error %s", x.method, problem.Error)
		}
	}
	if err := c.Call(within(t), "shop", "ok", nil, 1); err != nil {
		t.Fatal(err)
	}
	_ = c.Call(within(t), "shop", "soldOut", nil, 1)
	var service struct {
		Calls struct{ Total, Answered, Failed string }
	}
	_, body := httpGet(t, "http://"+addr+"/api/v1/rpc/shop")
	if err := json.Unmarshal([]byte(body), &service); err != nil {
		t.Fatal(err)
	}
	failed := len(shopErrors) + 1
	if want := fmt.Sprint(failed); service.Calls.Failed != want || service.Calls.Answered != fmt.Sprint(failed+1) {
		t.Errorf("figures %+v, want %s failed", service.Calls, want)
	}
	_, metrics := httpGet(t, "http://"+addr+"/metrics")
	for _, line := range []string{
		`zbus_rpc_failed_answers_total{method="soldOut",topic="shop"} 2`, `zbus_rpc_failed_answers_total{method="ok",topic="shop"} 1`,
		`zbus_rpc_failed_answers_total{method="plain",topic="shop"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %s in the metrics", line)
		}
	}
}

func TestErrorsOfARequestHandlerReachItsCaller(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	s := zbus.NewService(c, "raw", zbus.ServiceOptions{})
	s.HandleRequests(func(_ context.Context, d *zbus.Delivery) (*zbus.Message, error) {
		switch string(d.Body) {
		case "coded":
			return nil, &zbus.CallError{Status: 503, Code: "busy", Message: "later", Data: json.RawMessage(`[1]`)}
		case "panic":
			panic("a secret")
		}
		return nil, errors.New("out of beans")
	})
	serve(t, s, c, "raw")
	for body, want := range map[string]zbus.CallError{
		"coded": {Status: 503, Code: "busy", Message: "later", Data: json.RawMessage(`[1]`)},
		"panic": {Status: 500, Code: "panic", Message: "the request handler panicked"},
		"other": {Status: 500, Message: "out of beans"},
	} {
		_, err := c.Request(within(t), "raw", zbus.Message{Body: []byte(body)})
		var e *zbus.CallError
		if !errors.As(err, &e) || e.Status != want.Status || e.Code != want.Code || e.Message != want.Message || string(e.Data) != string(want.Data) {
			t.Errorf("%s: %v, %+v", body, err, e)
		}
	}
}
