package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Options say what to measure. All fields have to be set, except where said.
type Options struct {
	Server      string      // host:port
	TLS         *tls.Config // nil: no encryption; an empty ServerName is the host of Server
	Token       string      // says who measures; may be empty
	Topic       string      // created if it does not exist
	Topics      int         // of Produce: this many, named Topic-1 and so on, in turn; 0 is the same as 1: Topic itself
	Connections int
	InFlight    int // requests (or window) of one connection
	Size        int // bytes of a body
	Count       int // messages over all connections
	// Rate is how many requests a second Produce and RPC begin over all connections, however long
	// answers take: an open loop. 0: a connection begins as many as InFlight lets it.
	Rate float64

	// Progress, if set, is told every half second how many messages are done.
	Progress func(done int64, elapsed time.Duration)
}

// Result is what one measurement found.
type Result struct {
	Work        string     `json:"work"`
	Connections int        `json:"connections"`
	InFlight    int        `json:"inFlight"`
	Size        int        `json:"size"`
	Rate        float64    `json:"rate,omitempty"` // that was asked for
	Messages    int64      `json:"messages"`
	Seconds     float64    `json:"seconds"`
	PerSecond   float64    `json:"perSecond"`
	MBPerSecond float64    `json:"megabytesPerSecond"`
	Latency     *Histogram `json:"latency,omitempty"`  // of an answer; with a rate since its request was due
	EndToEnd    *Histogram `json:"endToEnd,omitempty"` // from publish to delivery
}

// run is one measurement under way.
type run struct {
	Options
	topics []string
	body   []byte
	conns  []*conn
	start  time.Time
	done   atomic.Int64
	stop   context.CancelCauseFunc
	over   <-chan struct{} // closed when the run was stopped
	mu     sync.Mutex
	delay  Histogram // guarded by mu
}

// measure calls work on every connection with its share of the messages, and
// reports the whole. The first error ends all.
func measure(ctx context.Context, name string, o Options, work func(ctx context.Context, r *run, c *conn, share int) error) (Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{Options: o, topics: o.names(), body: []byte(rand.Text()), stop: stop, over: ctx.Done()}
	for len(r.body) < o.Size {
		r.body = append(r.body, r.body...)
	}
	r.body = r.body[:o.Size]
	r.conns = make([]*conn, o.Connections)
	for i := range r.conns {
		c, err := dial(ctx, &o)
		if err != nil {
			return Result{}, err
		}
		defer c.Close()
		r.conns[i], c.index = c, i
	}
	unblock := context.AfterFunc(ctx, r.interrupt)
	defer unblock()
	r.start = time.Now()
	var workers, reporter sync.WaitGroup
	finished := make(chan struct{})
	reporter.Go(func() { r.report(r.start, finished) })
	for i, c := range r.conns {
		share := o.Count / o.Connections
		if i < o.Count%o.Connections {
			share++
		}
		workers.Go(func() {
			if err := work(ctx, r, c, share); err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(r.start)
	close(finished)
	reporter.Wait()
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	return r.result(name, elapsed), nil
}

// interrupt ends every wait of every connection.
func (r *run) interrupt() {
	for _, c := range r.conns {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
}

func (r *run) result(name string, elapsed time.Duration) Result {
	n := r.done.Load()
	res := Result{
		Work: name, Connections: r.Connections, InFlight: r.InFlight, Size: r.Size, Rate: r.Rate,
		Messages: n, Seconds: elapsed.Seconds(), PerSecond: float64(n) / elapsed.Seconds(),
	}
	res.MBPerSecond = res.PerSecond * float64(r.Size) / 1e6
	if r.delay.Count() > 0 {
		res.Latency = &r.delay
	}
	return res
}

// due is when request i of a connection has to begin: those of all connections take turns, and
// none waits for answers. Without a rate that is now.
func (r *run) due(c *conn, i int) time.Time {
	if r.Rate <= 0 {
		return time.Now()
	}
	n := float64(i)*float64(r.Connections) + float64(c.index)
	return r.start.Add(time.Duration(n / r.Rate * float64(time.Second)))
}

// report tells Progress how far the measurement is, until finished is closed.
func (r *run) report(start time.Time, finished <-chan struct{}) {
	if r.Progress == nil {
		return
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.Progress(r.done.Load(), time.Since(start))
		case <-finished:
			r.Progress(r.done.Load(), time.Since(start))
			return
		}
	}
}

func (r *run) addDelays(h *Histogram) {
	r.mu.Lock()
	r.delay.Merge(h)
	r.mu.Unlock()
}

// names are the topics to publish to.
func (o *Options) names() []string {
	if o.Topics <= 1 {
		return []string{o.Topic}
	}
	names := make([]string, o.Topics)
	for i := range names {
		names[i] = o.Topic + "-" + strconv.Itoa(i+1)
	}
	return names
}

// prepare makes sure that the topics exist.
func prepare(ctx context.Context, o Options, fields ...string) error {
	c, err := dial(ctx, &o)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, topic := range o.names() {
		request := []string{wire.HeaderCmd, wire.CmdDeclare, wire.HeaderTopic, topic, wire.HeaderID, "1"}
		if _, err := c.ask(append(request, fields...)...); err != nil {
			return err
		}
	}
	return nil
}

// removeTime is how long the removal of topics may take, when a measurement is over or was interrupted.
const removeTime = 5 * time.Second

// temporary is prepare for topics that the measurement alone is to have. The function that it
// returns removes those that were not there before.
func temporary(ctx context.Context, o Options, fields ...string) (remove func(), err error) {
	c, err := dial(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var ours []string
	for _, topic := range o.names() {
		_, err := c.ask(wire.HeaderCmd, wire.CmdQuery, wire.HeaderTopic, topic, wire.HeaderID, "q")
		if r := (*Refusal)(nil); errors.As(err, &r) && r.Status == http.StatusNotFound {
			ours = append(ours, topic)
		}
	}
	if err := prepare(ctx, o, fields...); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		c, err := dial(ctx, &o)
		if err != nil {
			return // they stay, as with a broker that has ended
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		for _, topic := range ours {
			_, _ = c.ask(wire.HeaderCmd, wire.CmdRemove, wire.HeaderTopic, topic, wire.HeaderID, "r") // without the grant it stays
		}
	}, nil
}

// errShort says that the expected messages did not come.
var errShort = errors.New("no more messages")

func short(got int64, want int) error {
	return fmt.Errorf("%w: %d of %d came", errShort, got, want)
}
