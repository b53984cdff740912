package access

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Mode says when access is on.
type Mode string

// The modes.
const (
	On   Mode = "on"
	Off  Mode = "off"
	Auto Mode = "auto" // on as soon as there is an account, and from the start beyond loopback
)

// Options are what a Registry needs.
type Options struct {
	Mode Mode
	// Beyond says that others than this machine can reach the server, and that the operator
	// has not said that it is meant to be open.
	Beyond bool
	// Issuer vouches for those who sign on elsewhere; nil: nobody does. With one, Auto is on.
	Issuer Issuer
	// Documents are what is stored.
	Documents []storage.Document
	// Save stores changes: all of them, or none. It returns when they are stored.
	Save func(ctx context.Context, changes ...storage.Op) error
	Now  func() time.Time // the wall clock, for stamps and expiry; time.Now
	Log  *slog.Logger
}

// Registry has the accounts, roles and tokens. Its methods may be called by any number of
// goroutines.
type Registry struct {
	opts      Options
	log       *slog.Logger
	picture   atomic.Pointer[picture]
	limited   atomic.Uint64 // see LimitsEpoch
	logins    logins
	tickets   tickets
	slow      throttle
	strangers strangers
	setup     setup
	began     time.Time     // monotonic
	hashing   chan struct{} // capacity maxHashing: a token for each password that is being checked

	anonymous *Principal

	changing sync.Mutex // held by the change that is under way, over its commit

	mu       sync.Mutex
	used     map[string]int64      // guarded by mu; by token: Unix milliseconds
	unsaved  map[string]bool       // guarded by mu; tokens whose use is not stored yet
	known    map[string]*Principal // guarded by mu; by token
	quotas   map[string]*Quota     // guarded by mu; of accounts that have connected, by name
	ends     endings               // guarded by mu
	watchers []func()              // guarded by mu
	soon     chan struct{}         // capacity 1: look when the next token expires
}

// maxHashing is how many passwords are checked at a time; each takes hashMemory.
const maxHashing = 2

// New creates a Registry of what is stored.
func New(opts Options) (*Registry, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		opts: opts, log: opts.Log, began: time.Now(), ends: endings{at: map[int64]bool{}}, hashing: make(chan struct{}, maxHashing),
		used: map[string]int64{}, unsaved: map[string]bool{}, known: map[string]*Principal{}, quotas: map[string]*Quota{}, soon: make(chan struct{}, 1),
	}
	p, err := read(opts.Documents, func(id string, at int64) { r.used[id] = at })
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	r.opts.Documents = nil
	r.logins.init()
	r.tickets.open = map[string]ticket{}
	r.slow.init()
	r.strangers.init()
	r.anonymous = &Principal{registry: r}
	p.on = r.on(p)
	r.picture.Store(p)
	return r, nil
}

// Open is a Registry that is off: every client may do everything.
func Open() *Registry {
	r, err := New(Options{Mode: Off, Save: func(context.Context, ...storage.Op) error {
		return conflict("this broker was started without accounts")
	}})
	if err != nil {
		panic(err) // there are no documents that could be damaged
	}
	return r
}

// on reports whether access is on.
func (r *Registry) on(p *picture) bool {
	switch r.opts.Mode {
	case On:
		return true
	case Off:
		return false
	}
	return len(p.accounts) > 0 || p.damaged || r.opts.Beyond || r.opts.Issuer != nil
}

// On reports whether clients have to say who they are.
func (r *Registry) On() bool { return r.picture.Load().on }

// Epoch counts the changes.
func (r *Registry) Epoch() uint64 { return r.picture.Load().epoch }

// Anonymous is the principal of clients that have not said who they are: it may do everything
// while access is off, and nothing while it is on.
func (r *Registry) Anonymous() *Principal { return r.anonymous }

// Watch has f called after each change of what a principal may do, and after a credential has
// expired, so that what runs for a principal that may no longer do it can be ended. f must not
// block.
func (r *Registry) Watch(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, f)
}

func (r *Registry) now() int64 { return r.opts.Now().UnixMilli() }

// publish makes a picture the present one.
func (r *Registry) publish(p *picture) {
	p.on = r.on(p)
	r.picture.Store(p)
	r.mu.Lock()
	for id := range r.known {
		if p.tokens[id] == nil {
			delete(r.known, id)
			delete(r.used, id)
			delete(r.unsaved, id)
		}
	}
	for name, q := range r.quotas {
		a := p.accounts[name]
		if a == nil && q.busy() {
			a = q.signed
		}
		if a == nil {
			delete(r.quotas, name)
			continue
		}
		q.limits.Store(new(p.limits(a)))
	}
	r.mu.Unlock()
	r.limited.Add(1)
	r.tell()
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

// quotaOf is what an account uses. A picture that is no longer the present one does not count.
func (r *Registry) quotaOf(a *Account) *Quota {
	r.mu.Lock()
	defer r.mu.Unlock()
	q, p := r.quotas[a.Name], r.picture.Load()
	stored := p.accounts[a.Name]
	if stored == nil && (a.Kind != SignedOn || p.limits(a) == Limits{}) {
		return q
	}
	if q == nil {
		q = &Quota{account: a.Name}
		r.quotas[a.Name] = q
	}
	if q.signed = nil; stored == nil {
		q.signed, stored = a, a
	}
	limits := p.limits(stored)
	if before := q.limits.Swap(&limits); before == nil || *before != limits {
		r.limited.Add(1)
	}
	return q
}

// LimitsOf are the limits of an account, those of its roles included.
func (r *Registry) LimitsOf(a *Account) Limits { return r.picture.Load().limits(a) }

// again has everything judged anew: a credential is over without a change of what is stored.
func (r *Registry) again() {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.publish(r.picture.Load().clone())
}

// How often logins that are over are looked for, and the use of tokens is stored.
const (
	sweepTime = time.Second / 2
	saveTime  = 5 * time.Minute
)

// Run ends what expires, and stores when tokens were used last, until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	sweep, save := time.NewTicker(sweepTime), time.NewTicker(saveTime)
	defer sweep.Stop()
	defer save.Stop()
	next := r.nextExpiry(0)
	for {
		select {
		case <-ctx.Done():
			r.saveUsed(context.WithoutCancel(ctx))
			return nil
		case <-save.C:
			r.saveUsed(ctx)
		case <-r.soon:
			next = r.nextExpiry(0)
		case <-sweep.C:
			now := r.now()
			if r.signedEnd() {
				r.tell()
			}
			if r.sweepLogins() || next != 0 && next <= now {
				r.again()
				next = r.nextExpiry(now)
			}
		}
	}
}

func (r *Registry) sweepLogins() bool {
	r.logins.mu.Lock()
	defer r.logins.mu.Unlock()
	return r.logins.sweep(r.logins.since()) > 0
}

// nextExpiry is when the next token expires that has not by a time; 0: none does.
func (r *Registry) nextExpiry(after int64) (next int64) {
	for _, t := range r.picture.Load().tokens {
		if t.Expires > after && (next == 0 || t.Expires < next) {
			next = t.Expires
		}
	}
	return next
}

// noteUse notes that a token was used. Its time is only roughly known, so that using one
// writes nothing most of the time.
func (r *Registry) noteUse(id string) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used[id] != now {
		r.used[id] = now
		r.unsaved[id] = true
	}
}

// saveUsed stores when tokens were used last.
func (r *Registry) saveUsed(ctx context.Context) {
	r.mu.Lock()
	var changes []storage.Op
	for id := range r.unsaved {
		changes = append(changes, &storage.PutDocument{Document: document(usedDocument, id, r.used[id])})
	}
	clear(r.unsaved)
	r.mu.Unlock()
	if len(changes) == 0 {
		return
	}
	if err := r.opts.Save(ctx, changes...); err != nil {
		r.log.Warn("when tokens were used last is not stored", "err", err)
	}
}
