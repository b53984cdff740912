package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Issuer vouches for people and programs that have no password and no token here.
type Issuer interface {
	// Check finds out whom a token is of. An error is [*Refused], or an [*Error] that wraps
	// storage.ErrUnavailable when it can't be known now.
	Check(ctx context.Context, token string) (Assertion, error)
	// Roles are all that it can give.
	Roles() []string
}

// Assertion is what an issuer says of a person.
type Assertion struct {
	Name    string        // of the account that it is to act as
	Issuer  string        // its URL
	Subject string        // what the issuer itself calls it, which no other ever is
	Roles   []string      // of who has no account of that name
	Grants  []string      // of the token of a program, if it has some: see [Principal.narrow]
	Expires int64         // Unix milliseconds; 0: never, as it is used up by a login
	Left    time.Duration // until then; 0 with Expires
}

// signed is an assertion that a principal acts by. It is never changed.
type signed struct {
	Assertion
	stored bool          // there was an account of that name
	until  time.Duration // of Registry.since; 0: it has no end of its own
}

// maxSubject is how many bytes of a subject journal and audit have.
const maxSubject = 100

// looksSigned reports whether a token may be one of an issuer: three parts with dots between.
func looksSigned(token string) bool { return strings.Count(token, ".") == 2 && !IsToken(token) }

// bySigned is the principal of a person that the issuer vouches for. An account of that name has to
// be one for single sign-on; without one, it has the roles that the issuer gives.
func (r *Registry) bySigned(a Assertion) (*Principal, error) {
	name, err := CheckName("account", a.Name)
	if err != nil {
		return nil, &Refused{Text: fmt.Sprintf("signed on as %q, which can't be the name of an account: it must have 1 to 64 letters, digits and . _ - @", clip(a.Name))}
	}
	account := r.picture.Load().accounts[name]
	switch {
	case account == nil && len(a.Roles)+len(a.Grants) == 0:
		return nil, &Refused{Text: "signed on as " + name + ", who has no account here, and none of the groups gives a role"}
	case account != nil && account.Kind != SignedOn:
		return nil, &Refused{Text: "signed on as " + name + ", but the account of that name is not for single sign-on"}
	case account != nil && account.Disabled:
		return nil, &Refused{Text: badCredential}
	}
	s := &signed{Assertion: a, stored: account != nil}
	if a.Expires != 0 {
		s.until = r.since() + a.Left
		r.endsAt(s.until)
	}
	return &Principal{registry: r, account: name, signed: s}, nil
}

// SignOn begins a login of the console for a person that the issuer vouches for. The secret is for a
// cookie.
func (r *Registry) SignOn(a Assertion) (secret string, who *Principal, err error) {
	a.Expires, a.Left, a.Grants = 0, 0, nil
	p, err := r.bySigned(a)
	if err != nil {
		return "", nil, err
	}
	secret = r.logins.begin(p.account, p.signed)
	who, err = r.byLogin(Credential{Login: secret})
	return secret, who, err
}

// account is who the principal acts as, in a picture: what is stored, or what the issuer gives. Nil:
// nobody, or no longer.
func (p *Principal) accountIn(pic *picture) *Account {
	a := pic.accounts[p.account]
	switch {
	case p.signed == nil:
		return a
	case a != nil && a.Kind == SignedOn:
		return a
	case a != nil || p.signed.stored: // it is another's now, or was removed
		return nil
	}
	return &Account{Name: p.account, Kind: SignedOn, Roles: p.signed.Roles, Grants: p.signed.Grants}
}

// narrow are the grants that bound a principal beside those of its account; none: nothing does. They are those of
// the token that it came by. Grants in a token of an issuer bound an account that is stored; for who has no
// account they are, with the roles, all there is.
func (p *Principal) narrow(pic *picture) []string {
	if t := pic.tokens[p.token]; t != nil {
		return t.Grants
	}
	if p.signed != nil && pic.accounts[p.account] != nil {
		return p.signed.Grants
	}
	return nil
}

// over reports whether the token that it was signed on with has expired. That goes by the time that
// has passed since it was checked, so that a clock that is set back does not prolong it; and by the
// clock, as a machine may have slept.
func (p *Principal) over() bool {
	return p.signed != nil && p.signed.until != 0 && (p.registry.since() >= p.signed.until || p.registry.now() >= p.signed.Expires)
}

// SignedOn is what the issuer says of it, if it came by one.
func (p *Principal) SignedOn() (a Assertion, ok bool) {
	if p == nil || p.signed == nil {
		return Assertion{}, false
	}
	return p.signed.Assertion, true
}

// by is the credential in journal and audit: the id of a token, or who the issuer says it is.
func (p *Principal) by() string {
	if a, ok := p.SignedOn(); ok {
		return "sso:" + clipTo(a.Subject, maxSubject)
	}
	return p.Token()
}

// Roles are those of its account.
func (p *Principal) Roles() []string {
	if p == nil {
		return nil
	}
	a := p.accountIn(p.registry.picture.Load())
	if a == nil {
		return nil
	}
	return slices.Clone(a.Roles)
}

// Limits are those of its account, of its roles where it has none.
func (p *Principal) Limits() Limits {
	if p == nil {
		return Limits{}
	}
	pic := p.registry.picture.Load()
	a := p.accountIn(pic)
	if a == nil {
		return Limits{}
	}
	return pic.limits(a)
}

// endings are the times at which tokens of the issuer expire that principals act by.
type endings struct {
	at   map[int64]bool // in endStep of Registry.since
	seen int64          // up to here they were looked at
	slip time.Duration  // the clock's distance from the time that has passed
}

func (r *Registry) since() time.Duration { return time.Since(r.began) }

// Bounds of them. With too many, everything is looked at with each sweep.
const (
	endStep    = time.Second / 8
	maxEndings = 100_000
)

func (r *Registry) endsAt(t time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends.at) < maxEndings {
		r.ends.at[int64(t/endStep)] = true
	}
}

// signedEnd reports whether a token of the issuer may have expired since the last time, or the clock
// has jumped.
func (r *Registry) signedEnd() (ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.since()
	slip := time.Duration(r.now())*time.Millisecond - now
	if jump := slip - r.ends.slip; jump > time.Second || jump < -time.Second {
		r.ends.slip, ended = slip, true
	}
	ended = ended || len(r.ends.at) >= maxEndings
	last := int64(now / endStep)
	for ; r.ends.seen < last; r.ends.seen++ { // what ends within a step is over after it
		ended = ended || r.ends.at[r.ends.seen]
		delete(r.ends.at, r.ends.seen)
	}
	return ended
}

// tell has those who run something for principals look at them anew.
func (r *Registry) tell() {
	r.mu.Lock()
	watchers := slices.Clone(r.watchers)
	r.mu.Unlock()
	for _, f := range watchers {
		f()
	}
}

// expiry is when the credential of a principal expires, in Unix milliseconds; 0: it does not.
func (p *picture) expiry(who *Principal) int64 {
	if t := p.tokens[who.token]; t != nil {
		return t.Expires
	}
	if a, ok := who.SignedOn(); ok {
		return a.Expires
	}
	return 0
}

// issuerAdministers reports whether the issuer can give a person what it takes to do everything.
func (r *Registry) issuerAdministers(p *picture) bool {
	return r.opts.Issuer != nil && slices.ContainsFunc(r.opts.Issuer.Roles(), func(name string) bool {
		role := p.roles[strings.ToLower(name)]
		return role != nil && p.may(&Account{Name: "account", Roles: []string{role.Name}}, Admin)
	})
}
