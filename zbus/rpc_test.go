package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// serve runs a service until the test ends or stop is called, and returns when it
// takes calls.
func serve(t testing.TB, s *zbus.Service, c *zbus.Client, topic string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for {
		info, err := c.QueryTopic(within(t), topic)
		if err == nil && info.Consumers > 0 {
			break
		}
		if err != nil && !errors.Is(err, zbus.ErrNotFound) {
			t.Fatal(err)
		}
	}
	var once sync.Once
	stop = func() (err error) {
		once.Do(func() {
			cancel()
			err = receive(t, "the end of the service", ended)
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

type pair struct{ A, B int }

func calculator(c *zbus.Client, opts zbus.ServiceOptions) *zbus.Service {
	s := zbus.NewService(c, "calc", opts)
	zbus.Handle(s, "add", func(_ context.Context, in pair) (int, error) { return in.A + in.B, nil })
	zbus.Handle(s, "sum", func(_ context.Context, in []float64) (sum float64, err error) {
		for _, v := range in {
			sum += v
		}
		return sum, nil
	})
	zbus.Handle(s, "greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil })
	zbus.Handle(s, "echo", func(_ context.Context, in any) (any, error) { return in, nil })
	zbus.Handle(s, "nothing", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	zbus.Handle(s, "fail", func(context.Context, any) (any, error) { return nil, errors.New("out of beans") })
	zbus.Handle(s, "panic", func(context.Context, any) (any, error) { panic("a secret") })
	zbus.Handle(s, "unspeakable", func(context.Context, any) (any, error) { return func() {}, nil })
	return s
}

func TestCalls(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	provider, c := dial(t, addr, zbus.Options{}), dial(t, addr, zbus.Options{})
	serve(t, calculator(provider, zbus.ServiceOptions{}), c, "calc")
	for _, test := range []struct {
		method string
		params []any
		want   string // JSON; "error: …" for a *CallError
	}{
		{"add", []any{1, 2}, "3"},
		{"add", []any{pair{3, 4}}, "7"},
		{"add", []any{map[string]string{"a": "x"}}, "error: parameters: json: cannot unmarshal string into Go struct field pair.A of type int"},
		{"add", []any{1, 2, 3}, "error: parameters: 3 given, at most 2 wanted"},
		{"add", []any{"5", "6"}, "11"},
		{"add", nil, "0"},
		{"sum", []any{1, 2, 3.5}, "6.5"},
		{"sum", []any{[]int{1, 2}}, "3"},
		{"sum", []any{4}, "4"},
		{"greet", []any{"Ann"}, `"hello Ann"`},
		{"greet", []any{"1", "2"}, "error: parameters: 2 given, one wanted"},
		{"echo", []any{nil}, "null"},
		{"echo", []any{1, "x"}, `[1,"x"]`},
		{"nothing", nil, "{}"},
		{"fail", nil, "error: out of beans"},
		{"panic", nil, "error: the method panicked"},
		{"unspeakable", nil, "error: the result does not become JSON: json: unsupported type: func()"},
		{"missing", nil, `error: no method "missing"`},
		{"", nil, `["add","echo","fail","greet","nothing","panic","sum","unspeakable"]`},
	} {
		var got json.RawMessage
		err := c.Call(within(t), "calc", test.method, &got, test.params...)
		var remote *zbus.CallError
		if errors.As(err, &remote) {
			got, err = json.RawMessage("error: "+remote.Message), nil
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%s%v = %s, %v; want %s", test.method, test.params, got, err, test.want)
		}
	}
	if err := c.Call(within(t), "calc", "add", new(string), 1, 2); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("a result of another type: %v", err)
	}
	if err := c.Call(within(t), "calc", "add", nil, func() {}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("a parameter that does not become JSON: %v", err)
	}
}

func TestOtherMethodsAreAnsweredByOne(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	s := zbus.NewService(c, "any", zbus.ServiceOptions{})
	wrapped := false
	s.Use(func(next zbus.Method) zbus.Method {
		wrapped = true
		return next
	})
	zbus.Handle(s, "own", func(context.Context, any) (string, error) { return "its own", nil })
	s.HandleFallback(func(ctx context.Context, params json.RawMessage) (any, error) {
		call, _ := zbus.CallOf(ctx)
		return call.Method + string(params), nil
	})
	serve(t, s, c, "any")
	for method, want := range map[string]string{"own": "its own", "else": `else[1]`} {
		var got string
		if err := c.Call(within(t), "any", method, &got, 1); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", method, got, err, want)
		}
	}
	var names []string
	if err := c.Call(within(t), "any", "", &names); err != nil || !reflect.DeepEqual(names, []string{"own"}) || !wrapped {
		t.Errorf("methods %q, %v; middleware: %t", names, err, wrapped)
	}
}

// Bodies of calls as clients in other languages make them.
func TestServiceTakesWhatOthersSend(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	serve(t, calculator(c, zbus.ServiceOptions{}), c, "calc")
	for _, test := range []struct{ body, want string }{
		{`{"method":"add","params":[1,2]}`, `{"result":3}`},
		{`{"method":"add","params":[1,2],"module":""}`, `{"result":3}`},
		{`{"@type":"io.zbus.rpc.Request","method":"add","module":"","params":[1,2L]}`, `{"result":3}`},
		{`{"@type":"io.zbus.rpc.Request","method":"echo","params":["2L \"3D",1.5D,2L]}`, `{"result":["2L \"3D",1.5,2]}`},
		{`{"method":"echo","params":{"a":1}}`, `{"result":{"a":1}}`},
		{`{"method":"nothing","params":null}`, `{"result":{}}`},
		{`{"method":"nothing"}`, `{"result":{}}`},
		{"{\n  \"method\" : \"greet\",\n  \"params\" : [ \"x\" ]\n}", `{"result":"hello x"}`},
		{`no JSON`, `{"error":"not a call: must be JSON with method and params: invalid character 'o' in literal null (expecting 'u')","status":400,"code":"bad_call"}`},
		{``, `{"error":"not a call: must be JSON with method and params: unexpected end of JSON input","status":400,"code":"bad_call"}`},
	} {
		resp, err := c.Request(within(t), "calc", zbus.Message{Body: []byte(test.body)})
		if err != nil || string(resp.Body) != test.want || resp.Header("content-type") != "application/json" {
			t.Errorf("%s\ngot %+v, %v\nwant %s", test.body, resp, err, test.want)
		}
	}
	resp, err := http.Get("http://" + addr + "/rpc/calc/add/40/2")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"result":42}` {
		t.Errorf("by URL: %s, %v", body, err)
	}
}

// Answers as services in other languages give them.
func TestCallTakesWhatOthersAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ body, want string }{
		{`{"error":null,"result":7}`, "7"},
		{`{"result":7,"error":""}`, "7"},
		{`{"result": 3L}`, "3"},
		{`{}`, "0"},
		{`{"error":"no"}`, "remote: no"},
		{`{"error":{"@type":"java.lang.Exception","message":"no"},"result":null}`, `remote: no`},
		{`7`, "internal server error"},
	} {
		addr := listen(t, func(conn *silentConn) {
			if m, err := conn.requests.Read(); err == nil {
				conn.answer(m, 200, test.body)
			}
		})
		n := 0
		err := dial(t, addr, zbus.Options{}).Call(within(t), "calc", "add", &n, 1)
		got := fmt.Sprint(n)
		var remote *zbus.CallError
		switch {
		case errors.As(err, &remote):
			got = "remote: " + remote.Message
		case errors.Is(err, zbus.ErrInternal):
			got = zbus.ErrInternal.Error()
		case err != nil:
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.body, got, test.want)
		}
	}
}

func TestServiceDrains(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c, provider := dial(t, addr, zbus.Options{}), dial(t, addr, zbus.Options{})
	began, finish := make(chan struct{}), make(chan struct{})
	s := zbus.NewService(provider, "slow", zbus.ServiceOptions{Concurrency: 2})
	zbus.Handle(s, "wait", func(ctx context.Context, n int) (int, error) {
		began <- struct{}{}
		<-finish
		return n, ctx.Err()
	})
	stop := serve(t, s, c, "slow")
	if err := s.Run(within(t)); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("run twice: %v", err)
	}
	answers := make(chan error, 2)
	for i := range 2 {
		go func() {
			var got int
			err := c.Call(within(t), "slow", "wait", &got, i)
			if err == nil && got != i {
				err = fmt.Errorf("got %d, want %d", got, i)
			}
			answers <- err
		}()
		receive(t, "a call", began)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until it is gone for new callers
		info, err := c.QueryTopic(within(t), "slow")
		if err != nil {
			t.Fatal(err)
		}
		if info.Consumers == 0 {
			break
		}
	}
	if err := c.Call(within(t), "slow", "wait", nil, 9); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("after stop: %v", err)
	}
	close(finish)
	if err := receive(t, "the end", stopped); err != nil {
		t.Error(err)
	}
	_ = provider.Close() // the answers have left by now
	for range 2 {
		if err := receive(t, "an answer", answers); err != nil {
			t.Error(err)
		}
	}
}

func TestMethodMiddleware(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	s := zbus.NewService(c, "m", zbus.ServiceOptions{})
	wrap := func(name string) zbus.MethodMiddleware {
		return func(next zbus.Method) zbus.Method {
			return func(ctx context.Context, params json.RawMessage) (any, error) {
				call, ok := zbus.CallOf(ctx)
				if !ok || call.Method != "f" || call.Header("x") != "y" || call.ID == "" || call.Caller == "" {
					return nil, fmt.Errorf("call %+v", call)
				}
				result, err := next(ctx, params)
				return fmt.Sprint(name, "(", result, ")"), err
			}
		}
	}
	s.Use(wrap("outer"), wrap("inner"))
	zbus.Handle(s, "f", func(context.Context, struct{}) (string, error) { return "f", nil })
	serve(t, s, c, "m")
	resp, err := c.Request(within(t), "m", zbus.Message{Headers: map[string]string{"x": "y"}, Body: []byte(`{"method":"f"}`)})
	if err != nil || string(resp.Body) != `{"result":"outer(inner(f))"}` {
		t.Errorf("%+v, %v", resp, err)
	}
	if _, ok := zbus.CallOf(context.Background()); ok {
		t.Error("CallOf finds a call where there is none")
	}
}

func TestManyCallersGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	for range 2 {
		s := zbus.NewService(dial(t, addr, zbus.Options{}), "calc", zbus.ServiceOptions{Concurrency: 3})
		zbus.Handle(s, "echo", func(_ context.Context, in any) (any, error) { return in, nil })
		serve(t, s, c, "calc")
	}
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for j := range 50 {
				want := map[string]any{"i": float64(i), "j": float64(j)}
				var got any
				if err := c.Call(within(t), "calc", "echo", &got, want); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, %v; want %v", got, err, want)
					return
				}
			}
		})
	}
	callers.Wait()
}
