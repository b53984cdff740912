package live

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a broker on a SQLite file, and a Hub behind the API on a real port.
type rig struct {
	t    *testing.T
	b    *broker.Broker
	hub  *Hub
	http *httptest.Server
	end  func()       // stops Hub.Run; may be called again
	held atomic.Int64 // bytes of frames
}

// mostHeld is how much all frames together may have.
const mostHeld = 1 << 20

// Reserve is part of Accounts.
func (r *rig) Reserve(context.Context) func(delta int) error {
	return func(delta int) error {
		if r.held.Add(int64(delta)) > mostHeld && delta > 0 {
			r.held.Add(-int64(delta))
			return errors.New("full")
		}
		return nil
	}
}

// Socket is part of Accounts.
func (r *rig) Socket(context.Context) (func(), error) { return func() {}, nil }

// Exempt is part of Accounts.
func (r *rig) Exempt(context.Context) bool { return true }

func start(t *testing.T, set ...func(*Options)) *rig {
	t.Helper()
	return startFor(t, nil, set...)
}

// startFor lets pages of other origins in.
func startFor(t *testing.T, origins []string, set ...func(*Options)) *rig {
	t.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Options{Path: t.TempDir() + "/zbus.db", Durability: sqlite.Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	b, err := broker.Open(context.Background(), broker.Options{DedupWindow: time.Minute}, broker.Storage{Reader: store, Committer: w})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, b: b}
	stopBroker := background(t, b.Run)
	sampler := stats.New(b, stats.Options{Connections: func() int64 { return int64(len(r.hub.Sessions())) }})
	opts := Options{
		Broker: b, Calls: rpc.New(rpc.Options{}), Stats: sampler, Log: slog.New(slog.DiscardHandler),
		Server: func() apiconv.ServerInfo {
			return apiconv.ServerInfo{Address: "here", Version: "test", Started: time.Now()}
		},
		Sessions: func() []apiconv.SessionInfo { return r.hub.Sessions() },
		Accounts: r,
	}
	for _, f := range set {
		f(&opts)
	}
	r.hub = New(opts)
	stopStats := background(t, sampler.Run)
	r.end = background(t, r.hub.Run)
	everybody := access.Open()
	handler := api.New(api.Options{
		Durability: func() string { return "relaxed" },
		Broker:     b, Stats: sampler, Log: opts.Log, Live: r.hub, Site: origin.Site{Origins: origins},
		Server: opts.Server, Sessions: opts.Sessions, Disconnect: r.hub.Disconnect, Access: everybody,
	})
	r.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		who := access.Caller{Principal: everybody.Anonymous(), Address: req.RemoteAddr}
		handler.ServeHTTP(w, req.WithContext(access.With(req.Context(), who)))
	}))
	r.http.Config.ConnContext = smallBuffer
	r.http.Start()
	t.Cleanup(func() {
		r.end()
		stopStats()
		r.http.Close()
		stopBroker()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// smallBuffer makes it soon be seen who does not read.
func smallBuffer(ctx context.Context, conn net.Conn) context.Context {
	_ = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	return ctx
}

// background runs f until the function that is returned is called.
func background(t *testing.T, f func(context.Context) error) func() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceFunc(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(3 * patience):
			t.Error("it does not stop")
		}
	})
}

func (r *rig) topic(name string) *broker.Topic {
	r.t.Helper()
	t, _, err := r.b.System().DeclareTopic(context.Background(), broker.TopicSpec{Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

func (r *rig) group(spec broker.GroupSpec) *broker.Group {
	r.t.Helper()
	if spec.AckTimeout == nil { // longer than any test takes
		spec.AckTimeout = new(int64(time.Hour / time.Millisecond))
	}
	g, _, err := r.b.System().DeclareGroup(context.Background(), spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// publish stores messages with the given tags.
func (r *rig) publish(t *broker.Topic, tags ...string) {
	r.t.Helper()
	inputs := make([]broker.Message, len(tags))
	for i, tag := range tags {
		inputs[i] = broker.Message{Topic: t, Record: storage.Record{Tag: tag, Body: []byte("body of " + tag)}}
	}
	if _, err := r.b.System().Store(context.Background(), inputs); err != nil {
		r.t.Fatal(err)
	}
}

// sample waits until what happened before is in the figures.
func (r *rig) sample() {
	for range 2 {
		<-r.hub.opts.Stats.Next()
	}
}

func (r *rig) url() string {
	return "ws" + strings.TrimPrefix(r.http.URL, "http") + apimodel.Base + "/ws"
}

// client is one socket.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// dial connects. The options may be nil.
func (r *rig) dial(opts *websocket.DialOptions) *client {
	r.t.Helper()
	ws, resp, err := websocket.Dial(context.Background(), r.url(), opts)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	ws.SetReadLimit(-1)
	r.t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t: r.t, ws: ws}
}

// dialSlow connects by a connection whose buffers hold little.
func (r *rig) dialSlow() *client {
	r.t.Helper()
	d := &net.Dialer{}
	return r.dial(&websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(16 << 10)
			}
			return conn, err
		},
	}}})
}

// got is any frame of the server.
type got struct {
	Type, Ref, Sub, Watch, Topic, Group, Settle, Channel string
	Code, Detail, Credit, Missed                         string
	Seq                                                  int64
	Message                                              apimodel.Delivery
	Messages                                             []apimodel.Message
	Results                                              []apimodel.PublishResult
	Failed                                               []apimodel.HandleFailure
	Data                                                 json.RawMessage
	raw                                                  string
}

func (c *client) send(frame string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatalf("%s: %v", frame[:min(len(frame), 100)], err)
	}
}

// read takes the next frame, beats included.
func (c *client) read() (got, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := c.ws.Read(ctx)
	if err != nil {
		return got{}, err
	}
	var g got
	if err := json.Unmarshal(data, &g); err != nil {
		c.t.Errorf("frame %s: %v", data, err)
	}
	g.raw = string(data)
	return g, nil
}

// next takes the next frame that is no beat.
func (c *client) next() got {
	c.t.Helper()
	return c.until("frame", func(g got) bool { return g.Type != "beat" })
}

// await takes frames until one of a type comes.
func (c *client) await(kind string) got {
	c.t.Helper()
	return c.until(kind, func(g got) bool { return g.Type == kind })
}

// until takes frames until one comes that is right. Beats come all the time, so that
// it is not enough that some frame comes.
func (c *client) until(what string, right func(got) bool) got {
	c.t.Helper()
	for end := time.Now().Add(2 * patience); ; {
		g, err := c.read()
		switch {
		case err != nil:
			c.t.Fatalf("no %s: %v", what, err)
		case right(g):
			return g
		case time.Now().After(end):
			c.t.Fatalf("no %s came, but %s", what, g.raw)
		}
	}
}

// call sends a frame and takes the answer, which has to be the next frame but for those that
// come every second.
func (c *client) call(frame, kind string) got {
	c.t.Helper()
	c.send(frame)
	return c.until(kind, func(g got) bool { return g.Type != "beat" && g.Type != "figures" }).is(c.t, kind)
}

func (g got) is(t *testing.T, kind string) got {
	t.Helper()
	if g.Type != kind {
		t.Fatalf("got %.500s, want %s", g.raw, kind)
	}
	return g
}

// refused checks that a frame is answered by a problem.
func (c *client) refused(frame, code, detail string) got {
	c.t.Helper()
	g := c.call(frame, "problem")
	if g.Code != code || !strings.Contains(g.Detail, detail) {
		c.t.Errorf("%.200s: got %s, want code %s and %q", frame, g.raw, code, detail)
	}
	return g
}

// offsets takes n messages.
func (c *client) offsets(n int) (list []string) {
	c.t.Helper()
	for range n {
		list = append(list, c.next().is(c.t, "message").Message.Offset)
	}
	return list
}

// closed waits for the end and gives its status.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				c.t.Fatal("the socket stays open")
			}
			return websocket.CloseStatus(err)
		}
	}
}

// eventually waits until a condition holds, asking over and over.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
