package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Produce publishes messages, InFlight at a time on each connection, and
// measures how long each answer takes. With a rate that counts from when the message was due,
// so that those which had to wait for a slow answer say so, too.
func Produce(ctx context.Context, o Options) (Result, error) {
	if err := prepare(ctx, o); err != nil {
		return Result{}, err
	}
	return measure(ctx, "produce", o, func(_ context.Context, r *run, c *conn, share int) error {
		return r.exchange(c, share, wire.HeaderCmd, wire.CmdProduce)
	})
}

// RPC calls an echo service through the broker, which as many connections serve
// as call.
func RPC(ctx context.Context, o Options) (Result, error) {
	o.Topic, o.Topics = o.Topic+"-rpc", 1
	remove, err := temporary(ctx, o, wire.HeaderTopicMask, "2")
	if err != nil {
		return Result{}, err
	}
	defer remove()
	serving, stop := context.WithCancel(ctx)
	var services sync.WaitGroup
	defer services.Wait()
	defer stop()
	for range o.Connections {
		c, err := dial(ctx, &o)
		if err != nil {
			return Result{}, err
		}
		ready := make(chan error, 1)
		services.Go(func() { echo(serving, c, &o, ready) })
		if err := <-ready; err != nil {
			return Result{}, err
		}
	}
	return measure(ctx, "rpc", o, func(_ context.Context, r *run, c *conn, share int) error {
		return r.exchange(c, share, wire.HeaderCmd, wire.CmdProduce, wire.HeaderAck, "false")
	})
}

// exchange sends share requests with at most InFlight unanswered, and counts the
// answers.
func (r *run) exchange(c *conn, share int, fields ...string) error {
	slots := make(chan int, r.InFlight) // ids that are free
	started := make([]time.Time, r.InFlight)
	var mu sync.Mutex // guards started
	for i := range r.InFlight {
		slots <- i
	}
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		if err := r.sendAll(c, share, slots, started, &mu, fields); err != nil {
			r.stop(err)
		}
	})
	var delays Histogram
	for range share {
		m, err := c.r.Read()
		if err == nil {
			err = check(m)
		}
		if err != nil {
			close(slots)
			_ = c.Close()
			return err
		}
		id, err := strconv.Atoi(m.Get(wire.HeaderID))
		if err != nil || id < 0 || id >= r.InFlight {
			close(slots)
			_ = c.Close()
			return fmt.Errorf("an answer has the id %q, which was not sent", m.Get(wire.HeaderID))
		}
		mu.Lock()
		begun := started[id]
		mu.Unlock()
		delays.Add(time.Since(begun))
		r.done.Add(1)
		slots <- id
	}
	r.addDelays(&delays)
	return nil
}

// sendAll sends share requests to the topics in turn, each as soon as it is due and an id is
// free. What is buffered goes out when it has to wait for that.
func (r *run) sendAll(c *conn, share int, slots <-chan int, started []time.Time, mu *sync.Mutex, fields []string) error {
	fields = append(append([]string(nil), fields...), wire.HeaderTopic, "", wire.HeaderID, "")
	for i := range share {
		due := r.due(c, i)
		if wait := time.Until(due); wait > 0 {
			if err := c.w.Flush(); err != nil {
				return err
			}
			if !pause(wait, r.over) {
				return nil
			}
		}
		var id int
		var ok bool
		select {
		case id, ok = <-slots:
		default:
			if err := c.w.Flush(); err != nil {
				return err
			}
			id, ok = <-slots
		}
		if !ok {
			return nil // the receiver has failed and says why
		}
		fields[len(fields)-3], fields[len(fields)-1] = r.topics[i%len(r.topics)], strconv.Itoa(id)
		mu.Lock()
		started[id] = due
		mu.Unlock()
		if err := c.send(r.body, fields...); err != nil {
			return err
		}
	}
	return c.w.Flush()
}

// pause waits, and reports whether nothing ended the run before.
func pause(d time.Duration, over <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-over:
		return false
	}
}

// echo answers calls with their own body until ctx ends.
func echo(ctx context.Context, c *conn, o *Options, ready chan<- error) {
	defer c.Close()
	unblock := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer unblock()
	ask := func() error {
		return c.send(nil, wire.HeaderCmd, wire.CmdConsume, wire.HeaderTopic, o.Topic, wire.HeaderID, "c",
			wire.HeaderWindow, strconv.Itoa(o.InFlight))
	}
	// The answer to a ping proves that the consume before it was taken.
	err := ask()
	if err == nil {
		_, err = c.ask(wire.HeaderCmd, wire.CmdPing, wire.HeaderID, "p")
	}
	ready <- err
	for n := 1; err == nil; n++ {
		var m *wire.Message
		if m, err = c.r.Next(); m == nil && err == nil {
			if err = c.w.Flush(); err == nil {
				m, err = c.r.Read()
			}
		}
		if err != nil {
			return
		}
		err = c.send(m.Body, wire.HeaderCmd, wire.CmdRoute, wire.HeaderRecver, m.Get(wire.HeaderSender),
			wire.HeaderID, m.Get(wire.HeaderOriginID), wire.HeaderOriginStatus, "200")
		if err == nil && n%max(o.InFlight/2, 1) == 0 {
			err = ask()
		}
	}
}

// quiet is how long a consumer waits for the next message before it gives up.
const quiet = 3 * time.Second

// Consume takes Count messages that are in the topic already, with a window of
// InFlight on each connection.
func Consume(ctx context.Context, o Options) (Result, error) {
	o.Topics = 1
	if err := prepare(ctx, o); err != nil {
		return Result{}, err
	}
	var last struct {
		sync.Mutex
		at time.Time
	}
	start := time.Now()
	res, err := measure(ctx, "consume", o, func(_ context.Context, r *run, c *conn, _ int) error {
		at, err := r.drain(c)
		last.Lock()
		defer last.Unlock()
		if at.After(last.at) {
			last.at = at
		}
		return err
	})
	if err != nil {
		return res, err
	}
	// The connections that came away empty have waited for quiet; that is not
	// part of the work.
	res.Seconds = last.at.Sub(start).Seconds()
	res.PerSecond = float64(res.Messages) / res.Seconds
	res.MBPerSecond = res.PerSecond * float64(o.Size) / 1e6
	if res.Messages < int64(o.Count) {
		return res, short(res.Messages, o.Count)
	}
	return res, nil
}

// drain takes messages until all have come, or none for a while. It returns when
// the last one came.
func (r *run) drain(c *conn) (last time.Time, err error) {
	ask := func(id int) error {
		err := c.send(nil, wire.HeaderCmd, wire.CmdConsume, wire.HeaderTopic, r.Topic, wire.HeaderID, strconv.Itoa(id),
			wire.HeaderWindow, strconv.Itoa(r.InFlight))
		if err != nil {
			return err
		}
		return c.w.Flush()
	}
	if err := ask(0); err != nil {
		return last, err
	}
	for n := 1; r.done.Load() < int64(r.Count); n++ {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		m, err := c.r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return last, nil
		}
		if err == nil {
			err = check(m)
		}
		if err != nil {
			return last, err
		}
		last = time.Now()
		if r.done.Add(1) >= int64(r.Count) {
			r.interrupt() // the other connections would wait forever
			return last, nil
		}
		if n%max(r.InFlight/2, 1) == 0 {
			if err := ask(n); err != nil {
				if r.done.Load() >= int64(r.Count) {
					err = nil // interrupted by the connection that got the last one
				}
				return last, err
			}
		}
	}
	return last, nil
}

// Latency publishes one message after the other on one connection and consumes
// them on another: how long an answer takes, and how long a message is under
// way.
func Latency(ctx context.Context, o Options) (Result, error) {
	o.Connections, o.InFlight, o.Topics = 1, 1, 1
	remove, err := temporary(ctx, o)
	if err != nil {
		return Result{}, err
	}
	defer remove()
	group := "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	consumer, err := dial(ctx, &o)
	if err != nil {
		return Result{}, err
	}
	defer consumer.Close()
	if _, err := consumer.ask(wire.HeaderCmd, wire.CmdDeclare, wire.HeaderTopic, o.Topic, wire.HeaderID, "d",
		wire.HeaderConsumeGroup, group, wire.HeaderGroupMask, "32", // gone with this connection
		wire.HeaderGroupStartOffset, strconv.FormatInt(1<<39, 10)); err != nil {
		return Result{}, err
	}
	var under Histogram
	res, err := measure(ctx, "latency", o, func(_ context.Context, r *run, c *conn, share int) error {
		return r.oneByOne(c, consumer, group, share, &under)
	})
	res.EndToEnd = &under
	return res, err
}

// oneByOne sends share messages, each after the one before has been answered and
// delivered.
func (r *run) oneByOne(c, consumer *conn, group string, share int, under *Histogram) error {
	var delays Histogram
	for i := range share {
		if err := consumer.send(nil, wire.HeaderCmd, wire.CmdConsume, wire.HeaderTopic, r.Topic,
			wire.HeaderConsumeGroup, group, wire.HeaderID, strconv.Itoa(i)); err != nil {
			return err
		}
		if err := consumer.w.Flush(); err != nil {
			return err
		}
		start := time.Now()
		if err := c.send(r.body, wire.HeaderCmd, wire.CmdProduce, wire.HeaderTopic, r.Topic, wire.HeaderID, "0"); err != nil {
			return err
		}
		if _, err := c.finish(); err != nil {
			return err
		}
		delays.Add(time.Since(start))
		m, err := consumer.finish()
		if err != nil {
			return err
		}
		under.Add(time.Since(start))
		if !bytes.Equal(m.Body, r.body) {
			return errors.New("another client publishes to the topic: name another one")
		}
		r.done.Add(1)
	}
	r.addDelays(&delays)
	return nil
}
