package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
)

// How many servers there may be: of all that have joined, and of those that have not yet been
// connected back to.
const (
	maxMembers   = 128
	maxStrangers = 32
)

// maxCertificate is how long the text of a certificate may be.
const maxCertificate = 64 << 10

// settleTime is how long a tracker that was just started waits for its members, at most: as
// long as they pause, and a while to join.
const settleTime = 3500 * time.Millisecond

// Options configure a Cluster.
type Options struct {
	Self        Address   // as others reach this server
	Version     string    // of this server
	Trackers    []Address // that it joins; it may be one of them
	TrackerOnly bool      // this server is not in its own table
	TokenFile   string    // has the tokens by which this server joins trackers; "" for none
	// TableBytes is what the tables of all members together may take; 16 MiB.
	TableBytes int64
	// Secrets are for TLS connections to trackers, and Certificate is what others verify those
	// to this one by, in PEM; nil without TLS.
	Secrets     *tls.Config
	Certificate func() string
	// Figures are those of this server; nil if it has none.
	Figures func() Figures
	// Changed is called when the table of the members is another. It must not block.
	Changed    func()
	Conditions *condition.Board
	Log        *slog.Logger
}

// Cluster is what a server knows of others. Its methods may be called by any number of
// goroutines. A nil one is a server by itself.
type Cluster struct {
	opts  Options
	proof string // known to this server, and to those that it has joined
	links []*link

	changes atomic.Int64  // of the table
	settled chan struct{} // closed when the table has those that it should have
	reading chan struct{} // capacity 1: held while an event is decoded

	counting sync.Mutex
	counted  told // guarded by counting: the figures of this server; see figures

	mu      sync.Mutex
	members map[string]*member // guarded by mu; by address and proof
	numbers int64              // guarded by mu: the last Info.Number
	held    int64              // guarded by mu: bytes of members
	listed  []*Info            // guarded by mu: of those that are up, by address; replaced and never changed
	others  []*Info            // guarded by mu: listed, and what the trackers list; the same way
	hearsay []hearsay          // guarded by mu: those of others that are not listed; see merge
	closed  bool               // guarded by mu: no member is added
	running sync.WaitGroup     // goroutines of members; added to with mu held and closed false

	reached map[*reached]struct{} // guarded by mu: connections for what is passed on
	web     *http.Transport       // the same over HTTP
	turn    atomic.Uint64         // which of several servers is next: see Choose

	expected []Address // guarded by mu: those that members say were listed before this tracker was started

	phase   Phase     // guarded by mu: of this server
	entered time.Time // guarded by mu: when that began
	urgent  bool      // guarded by mu: the next Publish says so, and trackers are told at once

	own        []byte        // guarded by mu: what this server says of itself; nil until Publish
	published  int64         // guarded by mu: how often it was changed
	progressed chan struct{} // guarded by mu: closed and made anew when a link has come further
}

// New creates a Cluster, which does nothing until Run. The error says what is wrong with the
// file of the token.
func New(opts Options) (*Cluster, error) {
	for _, a := range opts.Trackers {
		if _, err := readToken(opts.TokenFile, a); err != nil {
			return nil, err
		}
	}
	if opts.TableBytes == 0 {
		opts.TableBytes = 16 << 20
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	c := &Cluster{
		opts: opts, proof: rand.Text(), members: make(map[string]*member),
		reached: make(map[*reached]struct{}), settled: make(chan struct{}), reading: make(chan struct{}, 1), progressed: make(chan struct{}),
	}
	c.web = c.newWeb()
	for _, a := range opts.Trackers {
		c.links = append(c.links, newLink(c, a))
	}
	if len(c.links) == 0 {
		close(c.settled)
	}
	return c, nil
}

// Run joins the trackers until ctx ends, and leaves them then. It returns when no goroutine
// is left.
func (c *Cluster) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, l := range c.links {
		all.Go(func() { l.run(ctx) })
		all.Go(func() { l.follow(ctx) })
	}
	if len(c.links) > 0 {
		all.Go(func() { c.settle(ctx) })
	}
	<-ctx.Done()
	c.mu.Lock()
	c.closed = true
	for _, m := range c.members {
		m.cancel()
	}
	c.mu.Unlock()
	all.Wait()
	c.running.Wait()
	c.web.CloseIdleConnections()
	return nil
}

// Accept takes what a server says of itself, that speaks from an address and answers for a
// proof there. A server that is new is listed, and Accept returns, when it was connected back
// to. The error is a *Refusal, or that of ctx.
func (c *Cluster) Accept(ctx context.Context, from, proof string, body []byte) error {
	if c == nil {
		return refusal(false, "this server works by itself")
	}
	if len(proof) < len(c.proof) || len(proof) > 4*len(c.proof) {
		return refusal(false, "a server has to tell its proof")
	}
	select {
	case c.reading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	e, err := decode(body, int(c.opts.TableBytes))
	<-c.reading
	if err != nil {
		return err
	}
	if e.info.Address.Address == c.opts.Self.Address {
		return refusal(false, "%s is the address of this server", c.opts.Self.Address)
	}
	if len(e.certificate) > maxCertificate {
		return refusal(false, "the certificate is too long")
	}
	if !e.live {
		c.leave(e.info.Address, proof)
		return nil
	}
	m, err := c.admit(e, proof, isLocal(from))
	if err != nil {
		return err
	}
	select {
	case <-m.tried:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.up {
		c.expect(e.knows)
	}
	if !m.up && m.err != nil {
		return refusal(true, "can't connect back to %s, which it advertises (--advertise): %v", m.address.Address, m.err)
	}
	return nil
}

// admit finds or adds the member that an event is from, with what the event says.
func (c *Cluster) admit(e *event, proof string, local bool) (*member, error) {
	c.mu.Lock()
	m := c.members[e.info.Address.Key()+" "+proof]
	if m == nil {
		if err := c.full(); err != nil {
			c.mu.Unlock()
			return nil, err
		}
	} else if e.info.Revision < m.info.Revision {
		c.mu.Unlock()
		return m, nil
	}
	fresh := sizeOf(&e.info, e.certificate)
	old := int64(0)
	if m != nil {
		old = sizeOf(m.info, m.certificate)
	}
	if c.held-old+fresh > c.opts.TableBytes {
		c.mu.Unlock()
		return nil, refusal(true, "the tables of all servers together are larger than what can be kept here: %d bytes", c.opts.TableBytes)
	}
	c.held += fresh - old
	if m == nil {
		m = c.add(e, proof, local)
	}
	if m.info != nil && m.info.Phase != e.info.Phase {
		m.since = time.Now()
	}
	changed := m.up && (e.info.shape != m.info.shape || e.certificate != m.certificate)
	c.number(&e.info, m.info)
	m.info, m.certificate, m.heard = &e.info, e.certificate, time.Now()
	switch {
	case changed:
		c.list()
	case m.up: // counts, which can wait for what is told now and then
		c.enlist()
	}
	c.mu.Unlock()
	if changed {
		c.opts.Changed()
	}
	return m, nil
}

// number gives what a server has said a number: that of what it said before, if it says the same.
// Called with mu held.
func (c *Cluster) number(i, before *Info) {
	if before != nil && before.shape == i.shape && bytes.Equal(before.Body[len(before.head):], i.Body[len(i.head):]) {
		i.Number = before.Number
		return
	}
	c.numbers++
	i.Number = c.numbers
}

// full says that there are as many members as there may be. Called with mu held.
func (c *Cluster) full() error {
	if c.closed {
		return refusal(true, "this server stops")
	}
	strangers := 0
	for _, m := range c.members {
		if !m.proved {
			strangers++
		}
	}
	if len(c.members) >= maxMembers || strangers >= maxStrangers {
		return refusal(true, "there are too many servers here: %d, and %d that were not reached yet", len(c.members)-strangers, strangers)
	}
	return nil
}

// add begins to connect back to a server. Called with mu held.
func (c *Cluster) add(e *event, proof string, local bool) *member {
	m := &member{address: e.info.Address, proof: proof, local: local, tried: make(chan struct{}), since: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	c.members[m.key()] = m
	c.running.Go(func() {
		defer cancel()
		c.run(ctx, m)
	})
	return m
}

func (m *member) key() string { return m.address.Key() + " " + m.proof }

// sizeOf is about what a member takes.
func sizeOf(i *Info, certificate string) int64 {
	const topic = 160
	return int64(len(i.Body) + topic*len(i.topics) + len(certificate))
}

// arrived lists a server, which has been connected back to. It replaces one of the same
// address, which was there before. It reports false when the server has left.
func (c *Cluster) arrived(m *member) bool {
	c.mu.Lock()
	if c.members[m.key()] != m {
		c.mu.Unlock()
		return false
	}
	for _, other := range c.members {
		if other != m && other.address.Address == m.address.Address && other.proved {
			c.drop(other)
		}
	}
	m.up, m.proved, m.err, m.since, m.heard = true, true, nil, time.Now(), time.Now()
	m.done()
	c.list()
	c.mu.Unlock()
	c.opts.Log.Info("server has joined", "server", m.address.Address)
	for _, l := range c.links {
		l.there(m.address.Address, false)
	}
	c.opts.Changed()
	return true
}

// done says that the first attempt to connect back is over. Called with Cluster.mu held.
func (m *member) done() {
	select {
	case <-m.tried:
	default:
		close(m.tried)
	}
}

// lost no longer lists a server, and reports whether to connect to it again. A tracker that stops says nothing:
// its clients would drop servers that run.
func (c *Cluster) lost(m *member, err error) bool {
	c.mu.Lock()
	now, was := time.Now(), m.up && !c.closed
	if was {
		m.up, m.since = false, now
		c.list()
	}
	m.err = err
	m.done()
	patience := strangerTime
	if m.proved {
		patience = memberTime
	}
	again := c.members[m.key()] == m && err != errOther && now.Sub(m.since) < patience //nolint:errorlint // it is never wrapped
	c.mu.Unlock()
	if was && !errors.Is(err, context.Canceled) {
		c.opts.Log.Warn("server is not reached", "server", m.address.Address, "err", err)
	}
	if was {
		c.opts.Changed()
	}
	return again
}

// leave removes a server that says that it stops.
func (c *Cluster) leave(a Address, proof string) {
	c.mu.Lock()
	m := c.members[a.Key()+" "+proof]
	up := m != nil && m.up
	if m != nil {
		c.drop(m)
		c.list()
	}
	c.mu.Unlock()
	if up {
		c.opts.Log.Info("server has left", "server", a.Address)
		c.opts.Changed()
	}
}

// drop removes a member, whose goroutine ends then. Called with mu held.
func (c *Cluster) drop(m *member) {
	delete(c.members, m.key())
	c.held -= sizeOf(m.info, m.certificate)
	m.up = false
	m.done()
	m.cancel()
}

// forget removes a member whose goroutine ends.
func (c *Cluster) forget(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[m.key()] == m {
		c.drop(m)
	}
}

// Expel no longer lists the server that answers for a proof, which may no longer join.
func (c *Cluster) Expel(proof string) {
	c.mu.Lock()
	expelled := ""
	for _, m := range c.members {
		if m.proof == proof {
			expelled = m.address.Address
			c.drop(m)
		}
	}
	if expelled != "" {
		c.list()
	}
	c.mu.Unlock()
	if expelled != "" {
		c.opts.Log.Warn("server may no longer join", "server", expelled)
		c.opts.Changed()
	}
}
