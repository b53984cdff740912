// Package embed runs a broker inside of a program: the same broker as zbus serve, with its data in
// a directory, its API and its console, without a process of its own. Clients in the program
// reach it without a network.
//
//	b, err := embed.Start(ctx, embed.Options{Dir: "data"})
//	if err != nil {
//		return err
//	}
//	defer b.Stop(context.Background())
//	client, err := b.Client(ctx, zbus.Options{})
//
// A program may have several brokers, each with a directory of its own. What a broker does in the
// background belongs to the program: its memory, its processors, its files. For tests see package
// zbustest.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/zbus"
)

// Options say how a broker runs. The zero value is a broker without a network, whose data is gone
// when it stops.
type Options struct {
	// Dir is the data directory: one broker at a time, of this or another process, can have it.
	// Empty: a temporary one, which Stop removes.
	Dir string
	// Listen has the addresses on which the broker accepts connections of other programs, HOST:PORT
	// each; port 0 is any free one. None: there is no network, and Client and HTTP alone lead to it.
	Listen []string
	// Settings are those of zbus serve, by their names without the dashes: "durability" to
	// "relaxed". Wrong names and values are errors of Start. Those of a process, such as log-dir and
	// pprof, and data and listen, are none of an embedded broker.
	Settings map[string]string
	// Log gets what the broker has to say. Default: nothing.
	Log *slog.Logger
}

// Broker is a broker that runs. Its methods may be called by any number of goroutines.
type Broker struct {
	pipes   *pipes
	addrs   []string
	advance func(time.Duration)
	stop    context.CancelFunc
	remove  string        // the temporary directory; "" for none
	done    chan struct{} // closed when it has stopped
	err     error         // why; set before done is closed
	web     *http.Client
}

// Start runs a broker until Stop. It returns when the broker takes requests; ctx bounds only that.
// The error says what is wrong with an option, with the directory or with an address.
func Start(ctx context.Context, opts Options) (*Broker, error) {
	cfg, err := settings(opts)
	if err != nil {
		return nil, err
	}
	b := &Broker{pipes: newPipes(), done: make(chan struct{})}
	b.web = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
	}}
	if cfg.Data = opts.Dir; cfg.Data == "" {
		if cfg.Data, err = os.MkdirTemp("", "zbus-"); err != nil {
			return nil, err
		}
		b.remove = cfg.Data
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	ready := make(chan daemon.Ready, 1)
	go func() {
		defer close(b.done)
		host := daemon.Host{Listeners: []net.Listener{b.pipes}, Embedded: true}
		b.err = daemon.RunIn(running, host, cfg, "embedded", log, func(r daemon.Ready) { ready <- r })
		_ = b.pipes.Close()
		if b.remove != "" {
			b.err = errors.Join(b.err, os.RemoveAll(b.remove))
		}
	}()
	select {
	case r := <-ready:
		b.advance = r.Advance
		for _, a := range r.Addrs[:len(opts.Listen)] {
			b.addrs = append(b.addrs, a.String())
		}
		return b, nil
	case <-b.done:
		stop()
		return nil, fmt.Errorf("zbus broker: %w", b.err)
	case <-ctx.Done():
		stop()
		<-b.done
		return nil, errors.Join(ctx.Err(), b.err)
	}
}

// processes are settings that are about a process, or have options of their own.
var processes = []string{"config", "data", "listen", "log-dir", "log-size", "log-keep", "log-level", "log-format", "pprof", "drain"}

// settings are the settings that the options name.
func settings(opts Options) (cfg config.Config, err error) {
	flags := pflag.NewFlagSet("embed", pflag.ContinueOnError)
	config.Register(flags)
	for name, value := range opts.Settings {
		if slices.Contains(processes, name) {
			return cfg, fmt.Errorf("zbus broker: setting %s is not one of an embedded broker", name)
		}
		if err := flags.Set(name, value); err != nil {
			return cfg, fmt.Errorf("zbus broker: setting %s: %w", name, err)
		}
	}
	if len(opts.Listen) > 0 {
		for _, address := range opts.Listen {
			if err := flags.Set("listen", address); err != nil {
				return cfg, fmt.Errorf("zbus broker: %w", err)
			}
		}
	}
	if cfg, err = config.Load(flags, nil); err != nil {
		return cfg, fmt.Errorf("zbus broker: %w", err)
	}
	if len(opts.Listen) == 0 {
		cfg.Listen = nil
	}
	return cfg, nil
}

// Addrs are the addresses that the broker listens on, in the order of Options.Listen.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Client connects a client, without a network. Its options are those of [zbus.Dial].
func (b *Broker) Client(ctx context.Context, opts zbus.Options) (*zbus.Client, error) {
	opts.DialStream = func(ctx context.Context, _ string) (net.Conn, error) { return b.Dial(ctx) }
	opts.TLS = nil
	return zbus.Dial(ctx, address, opts)
}

// Dial makes a connection as a listener would accept it: for clients of any of the protocols.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) { return b.pipes.dial(ctx) }

// address is what clients and requests in the process are for. No connection is made to it.
const address = "127.0.0.1:15555"

// HTTP is a client whose requests all go to the broker, without a network, whatever host their
// URLs name: http://127.0.0.1/api/v1/topics, say.
func (b *Broker) HTTP() *http.Client { return b.web }

// Advance moves the clocks of the broker forward by that much time: messages that were given back and
// ack timeouts that end within it are due, and retention by age goes by it. It is for tests, and
// can't be taken back. Timeouts of calls and of clients are not concerned.
func (b *Broker) Advance(d time.Duration) { b.advance(d) }

// Done is closed when the broker has stopped, on Stop or because it could no longer store.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Stop stops the broker gracefully: what it has taken on is answered, and everything is stored. It
// returns the error with which the broker has ended, or that of ctx when that ends first; the
// broker stops all the same then. Further calls return the same.
func (b *Broker) Stop(ctx context.Context) error {
	b.web.CloseIdleConnections()
	b.stop()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
