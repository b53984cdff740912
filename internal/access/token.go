package access

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// CreateToken creates a token for an account: its id is given to it, and its secret is
// returned once. Expires is in Unix milliseconds; 0: it does not.
func (r *Registry) CreateToken(ctx context.Context, by Actor, t Token) (Token, string, error) {
	if err := CheckGrants(t.Grants); err != nil {
		return t, "", err
	}
	if len(t.Note) > maxNote {
		return t, "", invalid("note: at most %d bytes", maxNote)
	}
	if t.Created = r.now(); t.Expires != 0 && t.Expires <= t.Created {
		return t, "", invalid("the token would have expired already")
	}
	t.Account, t.Grants = strings.ToLower(t.Account), slices.Clone(t.Grants)
	secret := t.renew()
	err := r.change(ctx, by, "token.create", t.Account, func(p *picture) (edit, error) {
		if by.own(&t) {
			p.inherit(by.who, &t)
		}
		if err := p.guardToken(by, &t); err != nil {
			return edit{}, err
		}
		if _, err := p.account(t.Account); err != nil {
			return edit{}, err
		}
		if len(p.tokens) >= maxTokens {
			return edit{}, invalid("there are %d tokens: no more are possible", maxTokens)
		}
		p.tokens[t.ID] = &t
		return edit{t.ID + " " + strings.Join(t.Grants, " "), []storage.Document{document(tokenDocument, t.ID, &t)}}, nil
	})
	return t, secret, err
}

// renew gives a token an id, unless it has one, and another secret.
func (t *Token) renew() string {
	if t.ID == "" {
		t.ID = random(5)
	}
	secret := newSecret()
	hash := hashOf(secret)
	t.Hash = hash[:]
	return tokenPrefix + t.ID + "_" + secret
}

// token finds a token that the actor may touch.
func (p *picture) token(by Actor, id string) (*Token, error) {
	t := p.tokens[id]
	if t == nil {
		if err := p.guardToken(by, &Token{}); err != nil {
			return nil, err // as for one that is another's
		}
		return nil, missing("token", id)
	}
	return t, p.guardToken(by, t)
}

// RotateToken gives a token another secret, which is returned once. The old one is good for
// nothing at once.
func (r *Registry) RotateToken(ctx context.Context, by Actor, id string) (t Token, secret string, err error) {
	err = r.change(ctx, by, "token.rotate", id, func(p *picture) (edit, error) {
		old, err := p.token(by, id)
		if err != nil {
			return edit{}, err
		}
		t = *old
		secret = t.renew()
		p.tokens[id] = &t
		return edit{documents: []storage.Document{document(tokenDocument, id, &t)}}, nil
	})
	return t, secret, err
}

// RevokeToken removes a token.
func (r *Registry) RevokeToken(ctx context.Context, by Actor, id string) error {
	return r.change(ctx, by, "token.revoke", id, func(p *picture) (edit, error) {
		if _, err := p.token(by, id); err != nil {
			return edit{}, err
		}
		return edit{documents: p.dropToken(id)}, nil
	})
}

// dropToken removes a token, and those that were created with it: who has stolen it keeps none.
func (p *picture) dropToken(id string) []storage.Document {
	delete(p.tokens, id)
	gone := withoutToken(id)
	for other, t := range p.tokens {
		if t.By == id {
			gone = append(gone, p.dropToken(other)...)
		}
	}
	return gone
}

// Accounts lists all by name.
func (r *Registry) Accounts() (list []Account) {
	for _, a := range r.picture.Load().accounts {
		list = append(list, *a)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// AccountOf finds one by name.
func (r *Registry) AccountOf(name string) (Account, error) {
	a, err := r.picture.Load().account(name)
	if err != nil {
		return Account{}, err
	}
	return *a, nil
}

// Roles lists all by name, the built-in ones included.
func (r *Registry) Roles() (list []Role) {
	for _, x := range r.picture.Load().roles {
		list = append(list, *x)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Tokens lists those of an account, or all for "", by account and age.
func (r *Registry) Tokens(account string) (list []Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.picture.Load().tokens {
		if account == "" || t.Account == strings.ToLower(account) {
			x := *t
			x.Used = r.used[t.ID]
			list = append(list, x)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Created, b.Created)) < 0
	})
	return list
}
