package server

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// AddressLimits are what the clients of one address may have together; a zero is no limit.
// What one host gets of IPv6, a network of 64 bits, counts as one address. The loopback
// interface has no limits, unless Loopback says so.
type AddressLimits struct {
	Connections int
	Rate        int // new connections a second
	Sockets     int // WebSockets and streams of events of the API
	Loopback    bool
	Proxies     []netip.Prefix // without limits, since many come by them
}

// without reports whether an address has no limits.
func (l *AddressLimits) without(a netip.Addr) bool {
	return a.IsLoopback() && !l.Loopback || within(l.Proxies, a)
}

// What is refused by a limit, in the words of metrics.
const (
	refusedConnections        = "connections"
	refusedAddressConnections = "address-connections"
	refusedAddressRate        = "address-rate"
	refusedAddressSockets     = "address-sockets"
	refusedMemory             = "memory"
)

// addresses keeps the accounts of all clients.
type addresses struct {
	limits AddressLimits
	open   gate // WebSockets and streams of events

	mu      sync.Mutex
	all     map[netip.Addr]*address // guarded by mu
	pots    [potCount]pot           // guarded by mu
	refused map[string]int64        // guarded by mu
}

// address is what the clients of one address have. It is guarded by addresses.mu.
type address struct {
	exempt  bool
	conns   int
	sockets int
	held    [potCount]int64 // of each pot
	opening float64         // connections that it may open at once, at a time
	at      time.Time       // that time
}

func (a *addresses) init(limits AddressLimits, few, much int64) {
	a.limits = limits
	a.open.init()
	a.all, a.refused = map[netip.Addr]*address{}, map[string]int64{}
	a.pots[small].limit, a.pots[large].limit = few, much
}

// account is what one connection has. It is an address's until leave.
type account struct {
	table *addresses
	of    *address
	held  int64 // guarded by table.mu: bytes being received
	pot   int   // guarded by table.mu: where they are accounted for
}

// admit opens an account for a connection, or says by which limit there is none.
func (a *addresses) admit(peer net.Addr, now time.Time) (acc *account, limit string) {
	key := keyOf(peer)
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.all[key]
	if one == nil {
		one = &address{exempt: a.limits.without(key), opening: float64(a.limits.Rate), at: now}
		a.all[key] = one
	}
	if rate := float64(a.limits.Rate); rate > 0 && !one.exempt {
		one.opening = min(rate, one.opening+rate*now.Sub(one.at).Seconds())
		if one.at = now; one.opening < 1 {
			return nil, refusedAddressRate
		}
		one.opening--
	}
	if most := a.limits.Connections; most > 0 && !one.exempt && one.conns >= most {
		return nil, refusedAddressConnections
	}
	one.conns++
	return &account{table: a, of: one}, ""
}

// keyOf is the address that a peer counts for.
func keyOf(peer net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return netip.Addr{}
	}
	key := at.Addr().Unmap().WithZone("")
	if key.Is6() && !key.IsLoopback() {
		network, _ := key.Prefix(64) // it has as many bits
		key = network.Addr()
	}
	return key
}

// leave closes the account of a connection.
func (acc *account) leave() {
	acc.table.mu.Lock()
	acc.of.conns--
	acc.table.mu.Unlock()
}

// sweep forgets the addresses that have nothing, and may open as many connections as one
// that has never been seen.
func (a *addresses) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, one := range a.all {
		if one.conns == 0 && now.Sub(one.at) > time.Second {
			delete(a.all, key)
		}
	}
}

// refuse counts what was refused.
func (a *addresses) refuse(limit string) {
	a.mu.Lock()
	a.refused[limit]++
	a.mu.Unlock()
}

// Refused is how often something was refused, by the limit.
func (s *Server) Refused() map[string]int64 {
	s.addresses.mu.Lock()
	defer s.addresses.mu.Unlock()
	return maps.Clone(s.addresses.refused)
}

// accountKey finds in the context of a request the account of its connection.
type accountKey struct{}

func accountOf(ctx context.Context) *account {
	acc, _ := ctx.Value(accountKey{}).(*account)
	return acc
}

// Accounts are those of the clients whose requests handlers serve, by the contexts of these.
type Accounts struct{}

// Socket counts a WebSocket or a stream of events for the address of a request, until
// release is called.
func (Accounts) Socket(ctx context.Context) (release func(), err error) {
	acc := accountOf(ctx)
	if acc == nil {
		return func() {}, nil
	}
	a, one := acc.table, acc.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if most := a.limits.Sockets; most > 0 && !one.exempt && one.sockets >= most {
		a.refused[refusedAddressSockets]++
		return nil, &broker.Error{Code: broker.Quota, Text: fmt.Sprintf("this address has %d WebSockets and streams of events, which is the most: close some", most)}
	}
	one.sockets++
	a.open.add(1)
	return func() {
		a.mu.Lock()
		one.sockets--
		a.mu.Unlock()
		a.open.add(-1)
	}, nil
}

// Exempt reports that the limits of addresses do not hold for a request.
func (Accounts) Exempt(ctx context.Context) bool {
	acc := accountOf(ctx)
	return acc != nil && acc.of.exempt
}
