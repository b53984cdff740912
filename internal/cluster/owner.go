package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// certificateTime is how long the certificate of a server counts that only a tracker knows.
const certificateTime = time.Minute

// Owner is another server that has a topic.
type Owner struct {
	Address Address
	Phase   Phase // of the server
	Topic
}

// hearsay is a server that only trackers know, and which of them counts.
type hearsay struct {
	*Info
	link *link
}

// server describes it. Called with Cluster.mu held.
func (h *hearsay) server() Server {
	s := Server{Address: h.Address, State: h.Phase.state(), Version: h.Version, Topics: h.Topics(), Since: h.link.since, Heard: h.link.listed, Trackers: h.Trackers}
	s.hear(h.link.relayed[h.Address])
	return s
}

// merge finds out which servers there are: those that have joined this one, and those that
// only its trackers know. A server that has joined and is unreachable is not among them,
// whatever trackers say. Called with mu held.
func (c *Cluster) merge() {
	all := slices.Clone(c.listed)
	c.hearsay = nil
	known := map[string]bool{c.opts.Self.Address: true}
	for _, m := range c.members {
		if m.proved {
			known[m.address.Address] = true
		}
	}
	for _, l := range c.links {
		for _, i := range l.lists {
			lost := !l.joined && i.Address.Address == l.name.Address
			if !known[i.Address.Address] && !lost {
				known[i.Address.Address] = true
				all = append(all, i)
				c.hearsay = append(c.hearsay, hearsay{i, l})
			}
		}
	}
	slices.SortFunc(all, byAddress)
	c.others = all
	for r := range c.reached {
		n, ok := slices.BinarySearchFunc(all, r.to.Address, func(i *Info, address string) int { return cmp.Compare(i.Address.Address, address) })
		if !ok || all[n].Address != r.to {
			r.cut()
		}
	}
	c.progress()
}

func byAddress(x, y *Info) int { return cmp.Compare(x.Address.Address, y.Address.Address) }

// Others are the servers that there are, by address, but for this one: those that have joined
// it, and those that its trackers list.
func (c *Cluster) Others() []*Info {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.others
}

// Alone reports whether there are no other servers.
func (c *Cluster) Alone() bool { return len(c.Others()) == 0 }

// Owners are the servers that have a topic, by address. Its name is found without regard to case.
func (c *Cluster) Owners(topic string) (owners []Owner) {
	for _, i := range c.Others() {
		if t, ok := i.Topic(topic); ok {
			owners = append(owners, Owner{i.Address, i.Phase, t})
		}
	}
	return owners
}

// Choose sorts owners: first those that are not being drained. For messages those that are alike
// are sorted by consumers and lag, and take turns; otherwise they stay in their order, since what
// follows, such as an ack, has to go where the first request went.
func (c *Cluster) Choose(owners []Owner, messages bool) []Owner {
	turn := 0
	if messages {
		turn = int(c.turn.Add(1) % uint64(len(owners)))
	}
	owners = append(slices.Clone(owners[turn:]), owners[:turn]...)
	sort.SliceStable(owners, func(i, j int) bool {
		x, y := &owners[i], &owners[j]
		switch {
		case (x.Phase == Serving) != (y.Phase == Serving):
			return x.Phase == Serving
		case !messages:
			return false
		case x.Consumers != y.Consumers:
			return x.Consumers > y.Consumers
		}
		return x.Lag < y.Lag
	})
	return owners
}

// way is how a server is verified, and whether it may be on this machine.
func (c *Cluster) way(ctx context.Context, a Address) (secrets *tls.Config, local bool, err error) {
	c.mu.Lock()
	for _, m := range c.members {
		if m.up && m.address == a {
			c.mu.Unlock()
			secrets, err = c.pinned(m)
			return secrets, m.local, err
		}
	}
	var by *link
	for _, l := range c.links {
		if slices.ContainsFunc(l.lists, func(i *Info) bool { return i.Address == a }) {
			by = l
			break
		}
	}
	c.mu.Unlock()
	if by == nil {
		return nil, false, fmt.Errorf("%w: %s", ErrUnknown, a.Key())
	}
	if a.SSLEnabled {
		secrets, err = by.verified(ctx, a)
	}
	return secrets, by.local(), err
}

// local reports whether the tracker is on this machine, so that the servers it lists may be.
func (l *link) local() bool {
	host, _, _ := net.SplitHostPort(l.at.Address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// certificate is what a tracker has told of a server.
type certificate struct {
	pool *x509.CertPool
	at   time.Time
}

// verified is how to verify a server by the certificate that the tracker has of it.
func (l *link) verified(ctx context.Context, a Address) (*tls.Config, error) {
	l.c.mu.Lock()
	known, ok := l.certificates[a]
	l.c.mu.Unlock()
	if !ok || time.Since(known.at) > certificateTime {
		conn, err := dial(ctx, l.at, l.c.opts.Secrets, true, replyLimits)
		if err != nil {
			return nil, err
		}
		defer conn.close()
		m, err := conn.ask(ctx, dialTime, append(command(wire.CmdSSL), wire.Field{Name: wire.HeaderServer, Value: a.Address}))
		if err != nil {
			return nil, err
		}
		known = certificate{x509.NewCertPool(), time.Now()}
		if !known.pool.AppendCertsFromPEM(m.Body) {
			return nil, fmt.Errorf("the tracker %s has no certificate of %s", l.at.Key(), a.Key())
		}
		l.c.mu.Lock()
		if len(l.certificates) >= maxMembers {
			clear(l.certificates)
		}
		l.certificates[a] = known
		l.c.mu.Unlock()
	}
	return &tls.Config{RootCAs: known.pool, MinVersion: tls.VersionTLS12}, nil
}
