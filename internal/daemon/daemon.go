// Package daemon puts a broker together and runs it. It is the only package
// that knows all the others.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/drain"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/live"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/server"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/sso"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/wire"
)

// databaseFile is the name of the database in the data directory.
const databaseFile = backup.Database

// reserveFile is the name of the file that holds room for a disk that is full.
const reserveFile = "ballast"

// Database is the path of the database in a data directory.
func Database(dir string) string { return filepath.Join(dir, databaseFile) }

// drainTime is how long clients get to take their last answers at shutdown.
const drainTime = 5 * time.Second

// Version is the broker's version as clients are told. Set by the caller of Run.
type Version string

// Ready is what is known once the broker accepts connections.
type Ready struct {
	Addrs []net.Addr // bound, in the order of Config.Listen
	Setup string     // the secret to set the first administrator with; "": there is one, or none is needed
	Open  bool       // all clients may do everything
	// Advance moves the clocks of the broker forward by that much time, for tests of programs: what is
	// due by then is due. It can't be taken back.
	Advance func(time.Duration)
}

// Host is the program that a broker is part of. The zero Host is a program that is the broker.
type Host struct {
	// Listeners accept connections besides those of Config.Listen, which may be empty then.
	Listeners []net.Listener
	// Embedded leaves alone what is the whole process's: its memory limit and its signals.
	Embedded bool
}

// Run runs a broker until ctx ends, then stops it in order and returns nil.
// ready is called once, when connections are accepted. The error says what keeps
// the broker from running; test it with errors.Is against the errors of datadir
// and storage, and for *net.OpError. An error that wraps storage.ErrUnavailable
// means that a write failed and the broker stopped rather than guess: what it
// answered is on disk, and the next start reads it from there.
func Run(ctx context.Context, cfg config.Config, version Version, log *slog.Logger, ready func(Ready)) error {
	return RunIn(ctx, Host{}, cfg, version, log, ready)
}

// RunIn is Run as a part of another program. It closes the listeners of the host.
func RunIn(ctx context.Context, host Host, cfg config.Config, version Version, log *slog.Logger, ready func(Ready)) (err error) {
	defer closeAll(host.Listeners)
	certificates, err := loadTLS(cfg, log)
	if err != nil {
		return err
	}
	if !host.Embedded {
		defer certificates.notice()()
	}
	store, err := newEngine(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.leave()) }()
	listeners, err := listen(ctx, cfg.Listen)
	if err != nil {
		return errors.Join(err, store.putBack())
	}
	defer closeAll(listeners)
	listeners = append(listeners, host.Listeners...)

	board := condition.New(log)
	turn := &turn{listeners: listeners, tls: certificates.config(), log: log}
	err = store.open(ctx, cfg.Advertised(listeners[0].Addr()), turn.wait, board, log)
	turn.end()
	if err != nil && ctx.Err() != nil && turn.waited() {
		return nil // stopped before it was its turn
	}
	if err != nil {
		return errors.Join(err, store.putBack())
	}
	memory := divide(&cfg)
	if certificates != nil {
		certificates.board = board
	}
	b := parts{log: log, board: board, certificates: certificates, store: store, pprof: cfg.Pprof, listeners: listeners}
	b.calls = rpc.New(rpc.Options{Timeout: cfg.RPCTimeout, MaxTimeout: cfg.RPCMaxTimeout})
	b.stopping, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer b.stop()
	writer := storage.NewWriter(store.Store, storage.WriterLimits{
		PendingBytes: memory.pending,
		Upkeep:       min(100*time.Millisecond, cfg.SyncInterval/4),
	})
	changed := func() {
		if b.server != nil {
			b.server.Changed()
		}
	}
	b.broker, err = broker.Open(ctx, broker.Options{
		TailBytes: memory.tail, PageBytes: memory.pages, MemoryBytes: memory.topics, OutboundBytes: memory.outbound,
		MaxTopics: maxTopics(&cfg), MaxGroups: maxGroups(&cfg),
		MaxBody: cfg.MaxBody, DedupWindow: cfg.DedupWindow, ClockHold: cfg.ClockHold, Uptime: uptime(), Changed: changed, Conditions: board, Log: log,
	}, broker.Storage{Reader: store, Committer: writer})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	b.issuers = newIssuers(&cfg, board, log)
	if b.access, err = openAccess(cfg, b.broker, b.issuers, log); err != nil {
		return errors.Join(err, store.Close())
	}
	b.broker.Bill(b.access)
	if err := b.openBackups(cfg); err != nil {
		return errors.Join(err, store.Close())
	}
	if b.cluster, err = b.openCluster(cfg, version, memory.servers); err != nil {
		return errors.Join(err, store.Close())
	}
	b.openDrain()
	b.plans = inspect.NewPlans(b.broker, memory.plans)
	defer b.plans.Close()
	handlers, err := b.handlers(cfg, version, memory)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	b.server = server.New(server.Options{
		Broker: b.broker, Calls: b.calls, Access: b.access, Log: log, Handlers: handlers, Home: "ui/", Ready: b.broker.Err, Conditions: board,
		Address: cfg.Advertised(listeners[0].Addr()), Version: string(version),
		Cluster: b.cluster, BroadcastInterval: cfg.BroadcastInterval,
		Limits:      wire.Limits{Head: int(cfg.MaxHead), Fields: cfg.MaxFields, Body: cfg.MaxBody},
		MaxInflight: cfg.MaxInflight, MaxConnections: maxConnections(&cfg), Addresses: addressLimits(&cfg),
		RequestBytes: memory.requests, SmallBytes: memory.small, AnswerBytes: memory.answers,
		IdleTimeout: cfg.IdleTimeout, Site: site(cfg), Proxies: cfg.Proxies(), TLS: certificates.config(), CertPEM: certificates.text, AllowPlain: cfg.AllowPlain, PlainSockets: cfg.PlainSockets,
	})
	floor := make([]byte, heapFloor)
	err = b.run(ctx, cfg.Drain, func() { ready(b.ready()) })
	runtime.KeepAlive(floor)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return store.end()
}

// openStore opens the database of the data directory.
func openStore(ctx context.Context, cfg config.Config, dir *datadir.Dir, board *condition.Board, log *slog.Logger) (*sqlite.Store, error) {
	durability := sqlite.Fsync
	if cfg.Durability == config.Relaxed {
		durability = sqlite.Relaxed
	}
	store, err := sqlite.Open(ctx, sqlite.Options{
		Path:       Database(cfg.Data),
		Durability: durability, SyncInterval: cfg.SyncInterval, Conditions: board, Log: log,
		AcceptLoss: cfg.AcceptLoss, Used: dir.Used(), Identity: dir.Database(),
		Floor: cfg.DiskFloor, Reserve: dir.Path(reserveFile), PlainIO: cfg.PlainIO,
	})
	if err != nil {
		return nil, err
	}
	// Without it the next start can notice less, which is no reason not to start.
	if err := dir.SetDatabase(store.Identity()); err != nil {
		log.Warn("the directory will not recognise its database", "err", err)
	}
	return store, nil
}

// heapFloor is the size of a block that is never touched, so that it costs address
// space and no memory. The collector counts it: with little else in use it would
// run, and give memory back to the system to ask for it again, dozens of times a
// second.
const heapFloor = 8 << 20

// parts are the long-lived parts of a broker.
type parts struct {
	log       *slog.Logger
	board     *condition.Board
	pprof     string
	listeners []net.Listener
	store     *engine
	broker    *broker.Broker
	server    *server.Server
	cluster   *cluster.Cluster
	drain     *drain.Drain
	calls     *rpc.Table
	access    *access.Registry
	issuers   sso.Issuers
	stats     *stats.Sampler
	plans     *inspect.Plans
	live      *live.Hub
	backups   *backup.Backups
	readers   api.Readers

	certificates *certificates // nil without TLS

	// stopping ends when requests that wait for messages have to.
	stopping context.Context
	stop     context.CancelFunc
}

func (p *parts) ready() Ready {
	r := Ready{Open: !p.access.On(), Advance: p.broker.Advance}
	r.Setup, _ = p.access.BeginSetup()
	for _, ln := range p.listeners {
		r.Addrs = append(r.Addrs, ln.Addr())
	}
	return r
}

// run starts the parts and stops them one after the other, each with a context
// of its own: first those that take work on, last the one that writes it down.
// With draining it is emptied first, which may take that long at most.
func (p *parts) run(ctx context.Context, draining time.Duration, ready func()) error {
	base := context.WithoutCancel(ctx)
	serving, stopServing := context.WithCancel(base)
	defer stopServing()
	brokerage := start(base, p.broker.Run)
	served := start(serving, func(ctx context.Context) error { return p.server.Serve(ctx, p.listeners, drainTime) })
	profiling := start(serving, func(ctx context.Context) error { return serveProfiles(ctx, p.pprof) })
	sampling := start(serving, p.stats.Run)
	showing := start(serving, p.live.Run)
	saving := start(serving, p.backups.Run)
	scrubbing := start(serving, p.store.scrub)
	expiring := start(base, p.access.Run)
	resting := start(serving, giveBack)
	renewing := start(serving, p.certificates.run)
	vouching := start(serving, p.issuers.Run)
	joining := start(serving, p.cluster.Run)
	timing := start(base, p.calls.Run) // sessions that end still tell it
	ready()

	var err error
	select {
	case <-ctx.Done():
		p.log.Info("stopping")
		p.empty(draining, served)
	case <-p.broker.Done():
		err = p.broker.Err() // the only storage has failed, so nothing more can be taken on
	case <-served.done:
	case <-profiling.done:
		if p.pprof == "" || profiling.err == nil {
			<-ctx.Done()
		}
	}
	p.drain.Close()
	p.store.stop()
	p.stop()
	stopServing()
	<-served.done
	<-profiling.done
	<-sampling.done
	<-showing.done
	<-saving.done
	<-scrubbing.done
	<-resting.done
	<-renewing.done
	<-joining.done
	<-vouching.done
	for _, part := range []*part{expiring, timing, brokerage} {
		part.stop()
		<-part.done
	}
	if err == nil {
		err = errors.Join(served.err, profiling.err, brokerage.err)
	}
	return err
}

// part is a goroutine with a way to stop it and to know that it has.
type part struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // set before done is closed
}

func start(ctx context.Context, run func(context.Context) error) *part {
	ctx, stop := context.WithCancel(ctx)
	p := &part{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer stop()
		p.err = run(ctx)
	}()
	return p
}

// listen binds all addresses, or none.
func listen(ctx context.Context, addresses []string) ([]net.Listener, error) {
	var all []net.Listener
	for _, address := range addresses {
		ln, err := (&net.ListenConfig{KeepAliveConfig: socket.KeepAlive()}).Listen(ctx, "tcp", address)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, ln)
	}
	return all, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close()
	}
}
