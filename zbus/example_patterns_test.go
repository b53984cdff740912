package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/zbus"
)

// A work queue: any number of workers share the messages of one group, each message is done when it
// was acked, and one that fails comes again until it goes to the dead letters.
func Example_workQueue() {
	ctx, c := context.Background(), client()
	defer c.Close()
	opts := zbus.SubscribeOptions{
		Declare:     &zbus.GroupSpec{Explicit: true, MaxDeliver: 3},
		Concurrency: 4, // at a time, in this worker
		Backoff:     zbus.BackoffSteps(time.Millisecond, time.Second),
	}
	var all sync.WaitGroup
	all.Add(3)
	for range 2 { // two workers, which might be two processes
		if _, err := c.Subscribe(ctx, "thumbnails", "workers", opts, func(_ context.Context, d *zbus.Delivery) error {
			if string(d.Body) == "broken.jpg" && d.Attempt < 3 {
				return errors.New("can't read it") // it comes again
			}
			all.Done()
			return nil
		}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, photo := range []string{"a.jpg", "broken.jpg", "b.jpg"} {
		if _, err := c.Publish(ctx, "thumbnails", zbus.Message{ID: photo, Body: []byte(photo)}); err != nil {
			fmt.Println(err)
			return
		}
	}
	all.Wait()
	if err := c.Drain(ctx); err != nil { // acks are sent, handlers have ended
		fmt.Println(err)
	}
	fmt.Println("all done")
	// Output: all done
}

// Fan-out: each group of a topic has all messages, or those that its filter selects.
func Example_fanOut() {
	ctx, c := context.Background(), client()
	defer c.Close()
	for name, filter := range map[string]string{"audit": "", "billing": "order.paid", "stock": "order.*"} {
		if _, err := c.DeclareGroup(ctx, "sales", zbus.GroupSpec{Name: name, Filter: filter, Explicit: true}); err != nil {
			fmt.Println(err)
			return
		}
	}
	_, err := c.PublishBatch(ctx, "sales", []zbus.Message{{Tag: "order.placed"}, {Tag: "order.paid"}, {Tag: "login"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, name := range []string{"audit", "billing", "stock"} {
		// It returns when so many have come, or after a minute with those that have.
		got, err := c.Fetch(ctx, "sales", name, []int{3, 1, 2}[i], time.Minute)
		if err != nil {
			fmt.Println(err)
			return
		}
		var tags []string
		for _, d := range got {
			tags = append(tags, d.Tag)
		}
		fmt.Println(name, tags)
		if err := zbus.AckAll(ctx, got); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// audit [order.placed order.paid login]
	// billing [order.paid]
	// stock [order.placed order.paid]
}

// Request and reply: a service answers calls, and many may run at a time. A call runs once at most;
// ErrUnknownOutcome says that it may have run.
func Example_requestReply() {
	ctx, c := context.Background(), client()
	defer c.Close()
	service := zbus.NewService(c, "geo", zbus.ServiceOptions{Description: "Where places are"})
	zbus.Handle(service, "capital", func(_ context.Context, country string) (string, error) {
		capital := map[string]string{"France": "Paris", "Peru": "Lima"}[country]
		if capital == "" {
			return "", &zbus.CallError{Status: 404, Code: "no_country", Message: "no country " + country}
		}
		return capital, nil
	})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()

	var capital string
	err := c.Call(ctx, "geo", "capital", &capital, "Peru")
	for errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, zbus.ErrNotFound) { // the service has yet to start
		err = c.Call(ctx, "geo", "capital", &capital, "Peru")
	}
	fmt.Println(capital, err)
	err = c.Call(ctx, "geo", "capital", &capital, "Atlantis")
	fmt.Println(errors.Is(err, &zbus.CallError{Code: "no_country"}), err)
	stop()
	fmt.Println(<-ended)
	// Output:
	// Lima <nil>
	// true zbus: call geo/capital: 404 no country Atlantis
	// <nil>
}

// Replay: a topic is a log, so what was consumed can be had again, by a group that is moved back while
// its consumers stay connected, or by a new group that starts where it wants.
func Example_replay() {
	ctx, c := context.Background(), client()
	defer c.Close()
	messages := []zbus.Message{{Body: []byte("one")}, {Body: []byte("two")}, {Body: []byte("three")}}
	if _, err := c.DeclareGroup(ctx, "readings", zbus.GroupSpec{Name: "report", Explicit: true}); err != nil {
		fmt.Println(err)
		return
	}
	receipts, err := c.PublishBatch(ctx, "readings", messages)
	if err != nil {
		fmt.Println(err)
		return
	}
	read := func(group string, most int) {
		got, err := c.Fetch(ctx, "readings", group, most, time.Minute)
		if err == nil {
			err = zbus.AckAll(ctx, got)
		}
		var all []string
		for _, d := range got {
			all = append(all, string(d.Body))
		}
		fmt.Println(group, all, err)
	}
	read("report", 3)
	if _, err := c.Relocate(ctx, "readings", "report", zbus.AtOffset(receipts[1].Offset), "the second was wrong"); err != nil {
		fmt.Println(err)
	}
	read("report", 2)
	if _, err := c.DeclareGroup(ctx, "readings", zbus.GroupSpec{Name: "trial", Explicit: true, Start: zbus.Earliest()}); err != nil {
		fmt.Println(err)
	}
	read("trial", 3)
	// Output:
	// report [one two three] <nil>
	// report [two three] <nil>
	// trial [one two three] <nil>
}

// An outbox: what is to be published is stored together with what the program stores anyway, here as
// files, in a database as rows of the same transaction, and published from there. Each has an ID, so
// one that is published again, because the program ended before it was removed, is stored once.
func Example_outbox() {
	ctx, c := context.Background(), client()
	defer c.Close()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "invoices"}); err != nil {
		fmt.Println(err)
		return
	}
	for id, body := range map[string]string{"invoice-1": "12 euro", "invoice-2": "30 euro"} {
		if err := os.WriteFile(filepath.Join(dir, id), []byte(body), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	relay := func(remove bool) { // is run again and again
		waiting, err := filepath.Glob(filepath.Join(dir, "*"))
		sort.Strings(waiting)
		for _, path := range waiting {
			body, readErr := os.ReadFile(path)
			receipt, publishErr := c.Publish(ctx, "invoices", zbus.Message{ID: filepath.Base(path), Body: body})
			if err = errors.Join(err, readErr, publishErr); err != nil {
				break // the next run publishes it
			}
			fmt.Println(filepath.Base(path), "at", receipt.Offset, "duplicate:", receipt.Duplicate)
			if remove {
				err = errors.Join(err, os.Remove(path))
			}
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	relay(false) // the program ends too early
	relay(true)
	// Output:
	// invoice-1 at 0 duplicate: false
	// invoice-2 at 1 duplicate: false
	// invoice-1 at 0 duplicate: true
	// invoice-2 at 1 duplicate: true
}

// A cron worker: every instance of a program publishes each tick, with an ID made of its time, so it
// is stored once, and one of them works on it. A tick that fails comes again.
func Example_cronWorker() {
	ctx := context.Background()
	worked := make(chan string, 10)
	var clients []*zbus.Client
	for range 3 { // instances, which might be processes
		c := client()
		defer c.Close()
		clients = append(clients, c)
		if _, err := c.Subscribe(ctx, "nightly", "workers", zbus.SubscribeOptions{
			Declare: &zbus.GroupSpec{Explicit: true, Topic: zbus.TopicSpec{MaxCount: 1000}},
		}, func(_ context.Context, d *zbus.Delivery) error {
			worked <- string(d.Body)
			return nil
		}); err != nil {
			fmt.Println(err)
			return
		}
	}
	tick := func(at time.Time) { // by each instance, when its clock says so
		for _, c := range clients {
			name := at.Truncate(time.Hour).Format(time.RFC3339)
			if _, err := c.Publish(ctx, "nightly", zbus.Message{ID: "nightly-" + name, Body: []byte(name)}); err != nil {
				fmt.Println(err)
			}
		}
	}
	night := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	tick(night)
	tick(night.Add(24 * time.Hour))
	all := []string{<-worked, <-worked}
	sort.Strings(all)
	fmt.Println(strings.Join(all, "\n"))
	for _, c := range clients {
		_ = c.Drain(ctx)
	}
	fmt.Println(len(worked), "more")
	// Output:
	// 2026-11-24T03:00:00Z
	// 2026-11-25T03:00:00Z
	// 0 more
}
