package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/bench"
	"github.com/rushmore/zbus-go/internal/cli"
)

// benchCommand is the verb that measures a running broker.
func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a running broker",
		Long: "Measure a running broker over its native protocol.\n\n" +
			"What rpc and latency create is removed again; what produce publishes stays, for consume.\n\n" +
			"Broker and client share the machine's processors unless they run on two, so\n" +
			"compare only what was measured in one go.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{fmt.Errorf("bench: name what to measure: produce, consume, rpc or latency")}
		},
	}
	for _, w := range []struct {
		name, short string
		run         func(context.Context, bench.Options) (bench.Result, error)
	}{
		{"produce", "Publish messages and wait for the answers", bench.Produce},
		{"consume", "Consume messages that are in the topic (see bench produce)", bench.Consume},
		{"rpc", "Call an echo service through the broker", bench.RPC},
		{"latency", "Publish and deliver one message at a time", bench.Latency},
	} {
		cmd.AddCommand(benchWork(w.name, w.short, w.run))
	}
	return cmd
}

func benchWork(name, short string, run func(context.Context, bench.Options) (bench.Result, error)) *cobra.Command {
	o := bench.Options{Topic: "bench"}
	var asJSON, encrypt, insecure bool
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkBench(&o); err != nil {
				return usageError{err}
			}
			s, err := findServer(&o, encrypt, insecure)
			if err != nil {
				return err
			}
			if !asJSON {
				o.Progress = progress(cmd.ErrOrStderr(), o.Count)
			}
			result, err := run(cmd.Context(), o)
			var op *net.OpError
			if errors.As(err, &op) && op.Op == "dial" {
				return s.Unreachable(err)
			}
			if err != nil {
				return fmt.Errorf("bench %s: %w", name, err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
			}
			writeBench(cmd.OutOrStdout(), &result)
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.Server, "server", "", "`HOST:PORT` or URL of the broker; without it as all commands do: see zbus help servers")
	f.StringVar(&o.Topic, "topic", o.Topic, "topic to use; created if it does not exist")
	if name == "produce" {
		f.IntVar(&o.Topics, "topics", 1, "topics to publish to in turn, 1 to 100000: more than one are named TOPIC-1 and so on")
	}
	f.IntVar(&o.Connections, "connections", 4, "connections, 1 to 10000")
	f.IntVar(&o.InFlight, "in-flight", 64, "unanswered requests of one connection, 1 to 10000")
	f.IntVar(&o.Size, "size", 256, "bytes of a message's body")
	f.IntVar(&o.Count, "count", 100_000, "messages over all connections")
	if name == "produce" || name == "rpc" {
		f.Float64Var(&o.Rate, "rate", 0, "requests a second over all connections, whether answers come or not; latencies count from when a request was due (default: as many as --in-flight lets through)")
	}
	f.BoolVar(&encrypt, "tls", false, "encrypt the connections, as https:// before the server does")
	f.BoolVar(&insecure, "insecure", false, "with TLS: accept any certificate")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON and no progress")
	if name == "latency" {
		o.Count = 10_000
		f.Lookup("count").DefValue = "10000"
		_ = f.MarkHidden("connections")
		_ = f.MarkHidden("in-flight")
	}
	return cmd
}

// findServer finds the broker as all commands do.
func findServer(o *bench.Options, encrypt, insecure bool) (*cli.Server, error) {
	s, err := cli.Find(o.Server)
	if err != nil {
		return nil, err
	}
	o.Server, o.TLS, o.Token = s.Host, s.TLS, s.Token
	if encrypt && o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if insecure && o.TLS != nil {
		o.TLS.InsecureSkipVerify = true
	}
	return s, nil
}

func checkBench(o *bench.Options) error {
	for _, v := range []struct {
		flag           string
		value          int
		least, highest int
	}{
		{"topics", o.Topics, 0, 100_000},
		{"connections", o.Connections, 1, 10_000},
		{"in-flight", o.InFlight, 1, 10_000},
		{"size", o.Size, 0, 512 << 20},
		{"count", o.Count, 1, 1 << 31},
	} {
		if v.value < v.least || v.value > v.highest {
			return fmt.Errorf("%s %d: must be %d to %d", v.flag, v.value, v.least, v.highest)
		}
	}
	if !(o.Rate >= 0 && o.Rate <= 1e7) { // also what is no number
		return fmt.Errorf("rate %g: must be 0 to 10000000 requests a second", o.Rate)
	}
	return nil
}

// progress shows on one line how far a measurement is.
func progress(w io.Writer, count int) func(int64, time.Duration) {
	return func(done int64, elapsed time.Duration) {
		end := "\r"
		if done >= int64(count) {
			end = "\n"
		}
		fmt.Fprintf(w, "%9d of %d  %3d %%  %8.0f/s%s", done, count, done*100/int64(count), float64(done)/elapsed.Seconds(), end)
	}
}

func writeBench(w io.Writer, r *bench.Result) {
	fmt.Fprintf(w, "%s: %d messages of %d bytes, %d connections, %d in flight each\n",
		r.Work, r.Messages, r.Size, r.Connections, r.InFlight)
	fmt.Fprintf(w, "  %.0f a second, %.1f MB/s", r.PerSecond, r.MBPerSecond)
	if r.Rate > 0 {
		fmt.Fprintf(w, "; %.0f a second were asked for, and latencies count from when a request was due", r.Rate)
	}
	fmt.Fprintln(w)
	for _, h := range []struct {
		name string
		*bench.Histogram
	}{{"answer", r.Latency}, {"delivery", r.EndToEnd}} {
		if h.Histogram == nil {
			continue
		}
		at := func(q float64) time.Duration { return h.Quantile(q).Round(time.Microsecond) }
		fmt.Fprintf(w, "  %-9s p50 %v  p90 %v  p99 %v  p99.9 %v  max %v\n",
			h.name, at(.5), at(.9), at(.99), at(.999), at(1))
	}
}
