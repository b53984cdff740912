package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/live"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/server"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

var errDisk = errors.New("disk on fire")

// failed is a commit that is stored and whose answer is lost, of what a client has asked
// for.
func failed() storetest.Fault {
	return storetest.Fault{After: errDisk, If: func(ops []storage.Op) bool {
		_, upkeep := ops[0].(*storage.Purge)
		return !upkeep
	}}
}

// startFaulty runs a server with the native protocol and the HTTP API on a disk that can
// fail, with a topic "t" and its explicit group "g".
func startFaulty(t *testing.T) (*instance, *storetest.Faulty) {
	t.Helper()
	file, err := sqlite.Open(t.Context(), sqlite.Options{Path: t.TempDir() + "/zbus.db"})
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.NewFaulty(file, nil)
	w := storage.NewWriter(store, storage.WriterLimits{})
	b, err := broker.Open(t.Context(), broker.Options{DedupWindow: time.Minute}, broker.Storage{Reader: store, Committer: w})
	if err != nil {
		t.Fatal(err)
	}
	calls := rpc.New(rpc.Options{})
	sampler := stats.New(b, stats.Options{Connections: func() int64 { return 0 }})
	hub := live.New(live.Options{
		Broker: b, Calls: calls, Stats: sampler, Server: func() apiconv.ServerInfo { return apiconv.ServerInfo{} },
		Sessions: func() []apiconv.SessionInfo { return nil },
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Options{Broker: b, Calls: calls, Handlers: map[string]http.Handler{
		"/api/": api.New(api.Options{Durability: func() string { return "fsync" }, Broker: b, Calls: calls, Stats: sampler, Live: hub}),
	}})
	serving := background(func(ctx context.Context) error { return s.Serve(ctx, []net.Listener{ln}, patience) })
	stops := []func(){
		serving, background(hub.Run), background(sampler.Run), background(calls.Run), background(b.Run),
	}
	t.Cleanup(func() {
		for _, stop := range stops {
			stop()
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &instance{addr: ln.Addr().String(), cancel: serving}
	x.dialOnce(t, "declare topic=t consume_group=g group_mask=64").want200(t)
	return x, store
}

// background runs f until the function that is returned is called. Its error is that of
// the disk.
func background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f(ctx)
	}()
	return func() { cancel(); <-done }
}

func (a answer) want200(t testing.TB) {
	t.Helper()
	if a.Status != 200 {
		t.Errorf("got %d %q", a.Status, a.Body)
	}
}

func TestWhatMayBeStoredGetsNoAnswerAndTheConnectionIsClosed(t *testing.T) {
	for _, request := range []string{
		"produce id=x topic=t", "produce id=x topic=t ack=0", "declare id=x topic=new", "declare id=x topic=t consume_group=h",
		"remove id=x topic=t", "empty id=x topic=t", "relocate id=x topic=t consume_group=g to=latest",
		"ack id=x topic=t consume_group=g offset=0", "nack id=x topic=t consume_group=g offset=0 delay=1000",
	} {
		t.Run(strings.Fields(request)[0], func(t *testing.T) {
			b, store := startFaulty(t)
			c := b.dial(t)
			c.ok("produce topic=t", "one")
			c.send("consume id=c topic=t consume_group=g")
			c.recv()
			c.send("ping id=before")
			store.FailNext(failed())
			c.send(request)
			c.recv().header(t, "id", "before")
			c.closed()
			// Nothing is given to the disk now.
			b.dialOnce(t, "produce topic=t").want(t, 503, "not stored: the broker is overloaded or shutting down, try again later")
		})
	}
}

func TestWhatMayBeStoredGetsNoAnswerOverHTTPAndWebSocket(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		b, store := startFaulty(t)
		store.FailNext(failed())
		resp, err := http.Post("http://"+b.addr+"/produce/t", "", strings.NewReader("x"))
		if err == nil {
			resp.Body.Close()
			t.Fatalf("answered with %s", resp.Status)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%v, want the end of the connection", err)
		}
	})
	t.Run("websocket", func(t *testing.T) {
		b, store := startFaulty(t)
		ws, _, err := websocket.Dial(t.Context(), "ws://"+b.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		store.FailNext(failed())
		if err := ws.Write(t.Context(), websocket.MessageBinary, []byte(request("produce id=x topic=t", ""))); err != nil {
			t.Fatal(err)
		}
		if _, data, err := ws.Read(t.Context()); err == nil {
			t.Errorf("answered with %q", data)
		}
	})
}

func TestTheAPISaysWhatIsUnknown(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		for path, body := range map[string]string{
			"topics/t/messages": `{"id": "x"}`, "topics": `{"name": "new"}`, "topics/t/groups": `{"name": "h"}`,
		} {
			b, store := startFaulty(t)
			store.FailNext(failed())
			resp, err := http.Post("http://"+b.addr+"/api/v1/"+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var problem struct{ Code, Detail string }
			err = json.NewDecoder(resp.Body).Decode(&problem)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 500 || problem.Code != "unknown" || !strings.Contains(problem.Detail, "same id") {
				t.Errorf("%s: %s, %+v, %v", path, resp.Status, problem, err)
			}
		}
	})
	t.Run("websocket", func(t *testing.T) {
		b, store := startFaulty(t)
		ws, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/api/v1/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		store.FailNext(failed())
		for _, want := range []string{"unknown", "unavailable"} {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op": "publish", "ref": "1", "topic": "t", "messages": [{"body": "x"}]}`)); err != nil {
				t.Fatal(err)
			}
			_, data, err := ws.Read(t.Context())
			var problem struct{ Type, Ref, Code string }
			if err != nil || json.Unmarshal(data, &problem) != nil || problem.Type != "problem" || problem.Ref != "1" || problem.Code != want {
				t.Errorf("got %s, %v; want %s", data, err, want)
			}
		}
	})
}

// A call that a provider has got when the broker stops may have run.
func TestCallThatTheEndOfTheBrokerEndsIsNotCalledUndone(t *testing.T) {
	b := start(t)
	ask := func(topic string) chan string {
		code := make(chan string, 1)
		go func() {
			resp, err := http.Post("http://"+b.addr+"/api/v1/rpc/"+topic, "application/json", strings.NewReader(`{"method": "m"}`))
			if err != nil {
				code <- "no answer"
				return
			}
			defer resp.Body.Close()
			var problem struct{ Code string }
			_ = json.NewDecoder(resp.Body).Decode(&problem)
			code <- problem.Code
		}()
		return code
	}
	taken, idle := b.dial(t), b.dial(t)
	taken.ok("declare topic=taken topic_mask=2")
	taken.send("consume id=c topic=taken")
	idle.ok("declare topic=idle topic_mask=2")
	idle.send("consume id=c topic=idle")
	eventually(t, "both provide", func() bool {
		return strings.Count(string(b.dialOnce(t, "query").Body), `"consumerCount":1`) == 4 // of topics and groups
	})
	got := ask("taken")
	taken.recv()
	first := ask("idle")
	idle.recv() // its credit is used up: the next call waits
	waiting := ask("idle")
	eventually(t, "a call waits", func() bool {
		resp, err := http.Get("http://" + b.addr + "/api/v1/rpc/idle")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var s struct{ Waiting int }
		_ = json.NewDecoder(resp.Body).Decode(&s)
		return s.Waiting == 1
	})
	b.stop(t)
	for _, code := range []string{<-got, <-first} {
		if code != "unknown" && code != "provider_gone" {
			t.Errorf("a call that its provider got: %s", code)
		}
	}
	if code := <-waiting; code != "unavailable" {
		t.Errorf("a call that nobody got: %s", code)
	}
}
