package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"time"
)

// Credential is how a client says who it is. At most one of Token, Account, Login and Ticket is
// given; without any the client is anonymous.
type Credential struct {
	Token             string
	Account, Password string // the password may be a token of the account
	Login             string // the secret of a login of the console
	Ticket            string // the secret of a ticket
	Address           string // that it comes from
}

// badCredential is all that is said of a wrong one.
const badCredential = "the token, password or login is wrong, has expired or was revoked"

// Authenticate finds out who a client is. Its errors are [*Refused]; ctx bounds how long
// it waits for a turn to check a password. While access is off, all clients are anonymous.
func (r *Registry) Authenticate(ctx context.Context, c Credential) (*Principal, error) {
	switch {
	case !r.On() || c == Credential{Address: c.Address}:
		return r.anonymous, nil
	case c.Token != "" && r.opts.Issuer != nil && looksSigned(c.Token):
		a, err := r.opts.Issuer.Check(ctx, c.Token)
		if err != nil {
			return nil, err
		}
		return r.bySigned(a)
	case c.Token != "":
		return r.byToken(c, "")
	case c.Login != "":
		return r.byLogin(c)
	case c.Ticket != "":
		return r.byTicket(c.Ticket)
	case IsToken(c.Password):
		return r.byToken(Credential{Token: c.Password, Address: c.Address}, c.Account)
	}
	return r.byPassword(ctx, c)
}

// byToken looks a token up, whatever failed before, and does not count failures: nobody guesses
// 256 bits, and a program with an old token would keep people from logging in beside it.
func (r *Registry) byToken(c Credential, account string) (*Principal, error) {
	id, secret, ok := splitToken(c.Token)
	p := r.picture.Load()
	t := p.tokens[id]
	hash, want := hashOf(secret), make([]byte, sha256.Size)
	if t != nil {
		want = t.Hash
	}
	same := subtle.ConstantTimeCompare(hash[:], want) == 1
	if !ok || t == nil || !same || account != "" && t.Account != account || t.Expires != 0 && t.Expires <= r.now() {
		return nil, &Refused{Text: badCredential}
	}
	if a := p.accounts[t.Account]; a == nil || a.Disabled {
		return nil, &Refused{Text: badCredential}
	}
	r.noteUse(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[id]
	if known == nil || !bytes.Equal(known.hash, t.Hash) { // it has another secret now
		known = &Principal{registry: r, account: t.Account, token: id, hash: t.Hash}
		r.known[id] = known
	}
	return known, nil
}

// byLogin finds the login of a page.
func (r *Registry) byLogin(c Credential) (*Principal, error) {
	key, l, ok := r.logins.find(c.Login)
	if !ok {
		return nil, &Refused{Text: "the login is over: log in again"}
	}
	return &Principal{registry: r, account: l.account, login: key, signed: l.signed}, nil
}

// byPassword checks a password.
func (r *Registry) byPassword(ctx context.Context, c Credential) (*Principal, error) {
	name, err := CheckName("account", c.Account)
	if err != nil {
		return nil, r.refused(addressKey(c.Address))
	}
	stored, err := r.verify(ctx, name, c.Password, c.Address)
	if err != nil {
		return nil, err
	}
	return &Principal{registry: r, account: name, password: stored}, nil
}

// Verify checks the password of an account, and begins nothing. Its errors are [*Refused].
func (r *Registry) Verify(ctx context.Context, account, password, address string) error {
	_, err := r.byPassword(ctx, Credential{Account: account, Password: password, Address: address})
	return err
}

// verify checks a password, and gives the stored hash that it fits. It is slow on purpose: an
// address that has guessed too often waits, for all accounts, and one that has guessed at an
// account; others don't, unless many guess at that account, see strangers.
func (r *Registry) verify(ctx context.Context, name, password, address string) (stored string, err error) {
	from, at := addressKey(address), "account "+name+" "+addressKey(address)
	end, err := r.turn(ctx, name, from, at)
	if err != nil {
		return "", err
	}
	defer end()
	if a := r.picture.Load().accounts[name]; a != nil && !a.Disabled {
		stored = a.Password
	}
	if !checkPassword(stored, password) {
		r.log.Info("wrong password", "account", name, "address", address)
		if r.strangers.failed(name, at, r.slow.since()) {
			r.slow.exhausted(at)
		}
		return "", r.refused(from, at)
	}
	r.slow.succeeded(at)
	r.strangers.succeeded(name, at)
	return stored, nil
}

// addressKey is the address as the throttle knows it. One customer has a whole network of 64
// bits of IPv6 addresses.
func addressKey(address string) string {
	if a, err := netip.ParseAddr(address); err == nil && a.Unmap().Is6() {
		network, _ := a.WithZone("").Prefix(64) // fits any IPv6 address
		address = network.String()
	}
	return "address " + address
}

// refused counts a failure, and is the error for it.
func (r *Registry) refused(keys ...string) error {
	if wait := r.slow.wait(keys...); wait > 0 {
		r.slow.failed(keys...)
		return tooOften(wait)
	}
	r.slow.failed(keys...)
	return &Refused{Text: badCredential}
}

func tooOften(wait time.Duration) error {
	return &Refused{Text: "too many failed logins: wait", RetryAfter: max(wait.Round(time.Second), time.Second)}
}

// Login checks a password and begins a login of the console. The secret is for a cookie.
func (r *Registry) Login(ctx context.Context, account, password, address string) (secret string, who *Principal, err error) {
	name, err := CheckName("account", account)
	if err != nil {
		return "", nil, r.refused(addressKey(address))
	}
	if _, err := r.verify(ctx, name, password, address); err != nil {
		return "", nil, err
	}
	secret = r.logins.begin(name, nil)
	who, err = r.byLogin(Credential{Login: secret})
	return secret, who, err
}

// Logout ends the login that a principal came by, if it did.
func (r *Registry) Logout(p *Principal) {
	if r.logins.end(func(key string, _ *login) bool { return key == p.login }) > 0 {
		r.again()
	}
}

// Touch keeps the login of a principal, if it came by one, from ending as idle.
func (p *Principal) Touch() {
	if p != nil && p.login != "" {
		p.registry.logins.touch(p.login)
	}
}
