package access

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Principal is who a connection or a request acts as. It may be used by any number of
// goroutines. What it may do follows each change of the registry. A nil one may do nothing.
type Principal struct {
	registry *Registry
	account  string // "" for who has not said who it is
	token    string // its id, if it came by one
	hash     []byte // of the token
	password string // its stored hash, if it came by one: another ends what came by this
	login    string // the hash of a login, if it came by one
	// It came by a client certificate, which is good as long as the account is.
	certified bool
	signed    *signed // what the issuer says of it, if it came by one
	now       atomic.Pointer[rights]
}

// Caller is a principal at an address.
type Caller struct {
	*Principal
	Address string
}

// Host is the address without its port.
func (c Caller) Host() string {
	if i := strings.LastIndexByte(c.Address, ':'); i > 0 {
		return strings.Trim(c.Address[:i], "[]")
	}
	return c.Address
}

// Actor is the caller in journal and audit.
func (c Caller) Actor() storage.Actor {
	return storage.Actor{Name: cmp.Or(c.Account(), c.Address), Address: c.Address, Token: c.by()}
}

// rights are what a principal may do in one picture. Only decided changes.
type rights struct {
	epoch  uint64
	all    bool // access is off
	ended  bool // the credential is no longer good
	grants []grant
	within []grant // of the token, if it is narrower than its account
	narrow bool
	quota  *Quota // nil: it has none

	mu      sync.RWMutex
	decided map[question]bool // guarded by mu; at most maxDecided
}

type question struct {
	verb         Verb
	topic, group string
}

func questionOf(v Verb, topic, group string) question {
	return question{v, strings.ToLower(topic), strings.ToLower(group)}
}

// How many decisions are kept, and of names of how many bytes: longer ones are no names of
// topics and groups.
const (
	maxDecided = 1000
	maxNames   = 512
)

// Account is the name of the account; "" if it has not said who it is.
func (p *Principal) Account() string {
	if p == nil {
		return ""
	}
	return p.account
}

// Token is the id of the token that was given, if any.
func (p *Principal) Token() string {
	if p == nil {
		return ""
	}
	return p.token
}

// Anonymous reports whether it has not said who it is.
func (p *Principal) Anonymous() bool { return p.Account() == "" }

// Epoch counts the changes of what principals may do: a decision holds as long as it stays.
func (p *Principal) Epoch() uint64 {
	if p == nil {
		return 0
	}
	return p.registry.picture.Load().epoch
}

// Ended reports whether its credential is no longer good: revoked, expired, or of an
// account that is gone.
func (p *Principal) Ended() bool { return p.rights().ended }

// Quota is what its account may use, with all that act for it; nil: as much as it wants.
func (p *Principal) Quota() *Quota { return p.rights().quota }

// Grants are what it may do, as text: those of its token, if that has some of its own, else
// those of its account and its roles.
func (p *Principal) Grants() (list []string) {
	r := p.rights()
	from := r.grants
	if r.narrow {
		from = r.within
	}
	for _, g := range from {
		list = append(list, g.text)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Allows reports whether it may do something. Names have no case. group is "" when a topic
// as a whole is meant, topic when a server is.
func (p *Principal) Allows(v Verb, topic, group string) bool {
	r := p.rights()
	if r.all || v == Nothing {
		return true
	}
	if r.ended || v == 0 || p == nil {
		return false
	}
	if topic == "" && v == See { // who has said who it is may look for what it may see
		return p.Account() != ""
	}
	q := questionOf(v, topic, group)
	r.mu.RLock()
	yes, known := r.decided[q]
	r.mu.RUnlock()
	if known {
		return yes
	}
	yes = covered(r.grants, q) && (!r.narrow || covered(r.within, q))
	if len(topic)+len(group) > maxNames {
		return yes
	}
	r.mu.Lock()
	if len(r.decided) >= maxDecided {
		clear(r.decided)
	}
	q.topic, q.group = strings.Clone(q.topic), strings.Clone(q.group)
	r.decided[q] = yes
	r.mu.Unlock()
	return yes
}

func covered(grants []grant, q question) bool {
	return slices.ContainsFunc(grants, func(g grant) bool { return g.covers(q.verb, q.topic, q.group) })
}

// Check is nil, or [*Denied] when it may not do something.
func (p *Principal) Check(v Verb, topic, group string) error {
	if p.Allows(v, topic, group) {
		return nil
	}
	if p.Ended() {
		return &Refused{Text: badCredential}
	}
	return &Denied{Account: p.Account(), Missing: needed(v, topic, group)}
}

// rights are those of the present picture.
func (p *Principal) rights() *rights {
	if p == nil {
		return new(rights)
	}
	pic := p.registry.picture.Load()
	r := p.now.Load()
	if r != nil && r.epoch == pic.epoch && (r.ended || r.all || !p.over()) {
		return r
	}
	r = p.work(pic)
	p.now.Store(r)
	return r
}

// work finds out what it may do.
func (p *Principal) work(pic *picture) *rights {
	r := &rights{epoch: pic.epoch, all: !pic.on, decided: map[question]bool{}}
	if p.account == "" || r.all {
		return r
	}
	now := p.registry.now()
	a := p.accountIn(pic)
	if a == nil || a.Disabled || p.over() {
		r.ended = true
		return r
	}
	r.grants, r.quota = pic.rights(a), p.registry.quotaOf(a)
	r.ended = p.password != "" && p.password != a.Password
	if p.token != "" {
		t := pic.tokens[p.token]
		r.ended = t == nil || !bytes.Equal(t.Hash, p.hash) || t.Account != a.Name || t.Expires != 0 && t.Expires <= now
	}
	if bounds := p.narrow(pic); len(bounds) > 0 {
		r.narrow, r.within = true, compile(bounds, a.Name, "")
	}
	if p.login != "" {
		r.ended = r.ended || !p.registry.logins.alive(p.login)
	}
	return r
}
