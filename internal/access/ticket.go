package access

import (
	"sync"
	"time"
)

// Bounds of tickets.
const (
	TicketTime = 30 * time.Second
	maxTickets = 10_000
	ofHolder   = 100 // that are not used yet
)

// tickets let pages in that can't set headers: each is good for one WebSocket, and for a moment.
type tickets struct {
	mu   sync.Mutex
	open map[string]ticket // guarded by mu; by the hash of the secret
}

// ticket is of the very principal that has asked for it: it can do no more than that, and ends with it.
type ticket struct {
	who   *Principal
	until time.Duration // of Registry.since
}

// Ticket makes one for a principal, and gives its secret. The one that would end first goes where the
// account has too many.
func (r *Registry) Ticket(who *Principal) (secret string, err error) {
	t := &r.tickets
	t.mu.Lock()
	defer t.mu.Unlock()
	now := r.since()
	first, n := "", 0
	for key, x := range t.open {
		switch {
		case x.until <= now:
			delete(t.open, key)
		case x.who.Account() == who.Account():
			if n++; first == "" || x.until < t.open[first].until {
				first = key
			}
		}
	}
	if n >= ofHolder {
		delete(t.open, first)
	}
	if len(t.open) >= maxTickets {
		return "", &Refused{Text: "too many tickets are waiting to be used: try again", RetryAfter: TicketTime}
	}
	secret = newSecret()
	t.open[loginKey(secret)] = ticket{who, now + TicketTime}
	return secret, nil
}

// byTicket uses a ticket up.
func (r *Registry) byTicket(secret string) (*Principal, error) {
	t := &r.tickets
	key := loginKey(secret)
	t.mu.Lock()
	x, ok := t.open[key]
	delete(t.open, key)
	t.mu.Unlock()
	if !ok || x.until <= r.since() || x.who.Ended() {
		return nil, &Refused{Text: "the ticket is wrong, used up or too old: ask for another"}
	}
	return x.who, nil
}
