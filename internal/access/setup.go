package access

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// SetupTime is how long the link to set the first administrator holds.
const SetupTime = 15 * time.Minute

// setup is the one-time secret by which the first administrator is set.
type setup struct {
	mu     sync.Mutex
	secret string    // guarded by mu; "": there is none
	until  time.Time // guarded by mu
}

// take uses the secret up, if this is it: of two who have the link one gets in.
func (s *setup) take(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	good := s.secret != "" && time.Now().Before(s.until) && subtle.ConstantTimeCompare([]byte(s.secret), []byte(secret)) == 1
	if good {
		s.secret = ""
	}
	return good
}

// putBack makes a secret good again that was taken for nothing.
func (s *setup) putBack(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret == "" {
		s.secret = secret
	}
}

// BeginSetup creates the secret of the link, if access is on and nobody can administrate it.
// There is one at a time.
func (r *Registry) BeginSetup() (secret string, ok bool) {
	if !r.SetupNeeded() {
		return "", false
	}
	r.setup.mu.Lock()
	defer r.setup.mu.Unlock()
	r.setup.secret, r.setup.until = newSecret(), time.Now().Add(SetupTime)
	return r.setup.secret, true
}

// SetupNeeded reports whether access is on and no enabled account may administrate.
func (r *Registry) SetupNeeded() bool {
	p := r.picture.Load()
	return p.on && !p.administrated() && !r.issuerAdministers(p)
}

// administrated reports whether there is an account that may do everything.
func (p *picture) administrated() bool {
	for _, a := range p.accounts {
		if !a.Disabled && p.may(a, Admin) {
			return true
		}
	}
	return false
}

// Setup sets the first administrator, with the secret of the link, and logs it in.
func (r *Registry) Setup(ctx context.Context, secret, account, password, address string) (login string, who *Principal, err error) {
	key := addressKey(address)
	if wait := r.slow.wait(key); wait > 0 {
		return "", nil, tooOften(wait)
	}
	if !r.setup.take(secret) || !r.SetupNeeded() {
		r.slow.failed(key)
		return "", nil, &Refused{Text: "this link is used up or has expired: restart the broker for another, or run zbus account add NAME --admin --data DIR while it is stopped"}
	}
	a := Account{Name: account, Kind: Person, Roles: []string{"admin"}}
	if err := r.AddAccount(ctx, Actor{Actor: storage.Actor{Name: "setup", Address: address}, Administers: true}, a, password); err != nil {
		r.setup.putBack(secret)
		return "", nil, err
	}
	return r.Login(ctx, account, password, address)
}
