package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Bounds of what is kept.
const (
	maxAccounts = 10_000
	maxRoles    = 1_000
	maxTokens   = 100_000
	maxNote     = 200  // bytes
	maxDetail   = 1000 // bytes, in the audit trail
)

// Actor is who makes a change.
type Actor struct {
	storage.Actor
	// Administers says that it may do everything. Others may hand out neither admin nor
	// access, nor touch accounts that have them.
	Administers bool
	// who it is; nil for who needs no account. It may touch tokens of its own account.
	who *Principal
}

// ActorOf is a caller that makes changes.
func ActorOf(c Caller) Actor {
	return Actor{Actor: c.Actor(), Administers: c.Allows(Admin, "", ""), who: c.Principal}
}

// Owner is who has the data directory in its hands.
func Owner() Actor {
	return Actor{Actor: storage.Actor{Name: "owner of the directory"}, Administers: true}
}

// edit is what a change stores, and what the audit trail says of it.
type edit struct {
	detail    string
	documents []storage.Document
}

// change makes one change: f works on a copy of the picture.
func (r *Registry) change(ctx context.Context, by Actor, action, target string, f func(p *picture) (edit, error)) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	before := r.picture.Load()
	p := before.clone()
	e, err := f(p)
	if err != nil {
		return err
	}
	switch {
	case p.administrated() || r.issuerAdministers(p):
	case before.administrated() || r.issuerAdministers(before):
		return conflict("this would leave no account that may administrate: give another account the role admin first")
	case !before.on && r.on(p):
		return conflict("the first account turns access on, and none could administrate: give it the role admin")
	}
	ops := make([]storage.Op, 0, len(e.documents)+1)
	for _, d := range e.documents {
		ops = append(ops, &storage.PutDocument{Document: d})
	}
	ops = append(ops, &storage.Audit{Entry: &storage.AuditEntry{
		Time: r.now(), Actor: by.Actor, Action: action, Target: target, Detail: clipTo(e.detail, maxDetail),
	}})
	if err := r.opts.Save(ctx, ops...); err != nil {
		return err
	}
	r.publish(p)
	return nil
}

// powerful reports whether grants give what only an administrator may hand out.
func powerful(list []grant) bool {
	return slices.ContainsFunc(list, func(g grant) bool { return g.verbs&(Admin|Access) != 0 })
}

// guard refuses to touch, or create, what is more powerful than the actor.
func (p *picture) guard(by Actor, a *Account) error {
	if by.Administers || a == nil {
		return nil
	}
	if powerful(p.rights(a)) {
		return &Denied{Account: by.Name, Missing: Admin.String()}
	}
	return nil
}

func (p *picture) account(name string) (*Account, error) {
	if a := p.accounts[strings.ToLower(name)]; a != nil {
		return a, nil
	}
	return nil, missing("account", name)
}

// checkAccount refuses an account that makes no sense.
func (p *picture) checkAccount(a *Account) error {
	if a.Kind != Person && a.Kind != Program && a.Kind != SignedOn {
		return invalid("kind of account %q: must be %s, %s or %s", clip(a.Kind), Person, Program, SignedOn)
	}
	if a.Kind == SignedOn && a.Password != "" {
		return invalid("account %s is for single sign-on: it has no password here", a.Name)
	}
	if a.Kind == Program && a.Password != "" {
		return invalid("account %s is a program: it has tokens, and no password", a.Name)
	}
	for i, role := range a.Roles {
		a.Roles[i] = strings.ToLower(role)
		if p.roles[a.Roles[i]] == nil {
			return missing("role", role)
		}
	}
	slices.Sort(a.Roles)
	a.Roles = slices.Compact(a.Roles)
	if len(a.Note) > maxNote {
		return invalid("note: at most %d bytes", maxNote)
	}
	if err := a.Limits.check(); err != nil {
		return err
	}
	return CheckGrants(a.Grants)
}

// AddAccount adds an account. password may be empty: then a person can't log in with one.
func (r *Registry) AddAccount(ctx context.Context, by Actor, a Account, password string) (err error) {
	if a.Name, err = CheckName("account", a.Name); err != nil {
		return err
	}
	if a.Kind == "" {
		a.Kind = Program
		if password != "" {
			a.Kind = Person
		}
	}
	a.Roles, a.Grants = slices.Clone(a.Roles), slices.Clone(a.Grants)
	if password != "" {
		if a.Password, err = hashPassword(password); err != nil {
			return err
		}
	}
	a.Created = r.now()
	a.Updated = a.Created
	return r.change(ctx, by, "account.add", a.Name, func(p *picture) (edit, error) {
		if p.accounts[a.Name] != nil {
			return edit{}, &Error{"account " + a.Name + " exists already", storage.ErrExists}
		}
		if len(p.accounts) >= maxAccounts {
			return edit{}, invalid("there are %d accounts: no more are possible", maxAccounts)
		}
		if err := p.checkAccount(&a); err != nil {
			return edit{}, err
		}
		p.accounts[a.Name] = &a
		return edit{describe(&a), []storage.Document{document(accountDocument, a.Name, &a)}}, p.guard(by, &a)
	})
}

func describe(a *Account) string {
	return strings.Join(slices.Concat([]string{a.Kind}, a.Roles, a.Grants), " ")
}

// describeChange says what of an account changed.
func describeChange(old, a *Account) string {
	var parts []string
	list := func(what string, before, after []string) {
		if !slices.Equal(before, after) {
			parts = append(parts, fmt.Sprintf("%s: %s", what, cmp.Or(strings.Join(after, " "), "none")))
		}
	}
	list("roles", old.Roles, a.Roles)
	list("grants", old.Grants, a.Grants)
	if old.Password != a.Password {
		parts = append(parts, "password")
	}
	if old.Limits != a.Limits {
		parts = append(parts, "limits")
	}
	if old.Note != a.Note {
		parts = append(parts, "note")
	}
	if old.Disabled != a.Disabled {
		parts = append(parts, map[bool]string{true: "disabled", false: "enabled"}[a.Disabled])
	}
	return strings.Join(parts, "; ")
}

// AlterAccount has f change what it wants of an account, but its name. Logins of an account that
// gets another password, or is disabled, end.
func (r *Registry) AlterAccount(ctx context.Context, by Actor, name string, f func(a *Account), password *string) error {
	hash := ""
	if password != nil {
		var err error
		if hash, err = hashPassword(*password); err != nil {
			return err
		}
	}
	var altered *Account
	err := r.change(ctx, by, "account.change", strings.ToLower(name), func(p *picture) (edit, error) {
		old, err := p.account(name)
		if err != nil {
			return edit{}, err
		}
		if err := p.guard(by, old); err != nil {
			return edit{}, err
		}
		a := *old
		a.Roles, a.Grants = slices.Clone(a.Roles), slices.Clone(a.Grants)
		f(&a)
		a.Name, a.Created, a.Updated = old.Name, old.Created, r.now()
		if password != nil {
			a.Password = hash
		}
		if err := p.checkAccount(&a); err != nil {
			return edit{}, err
		}
		p.accounts[a.Name], altered = &a, &a
		return edit{describeChange(old, &a), []storage.Document{document(accountDocument, a.Name, &a)}}, p.guard(by, &a)
	})
	if err == nil && (password != nil || altered.Disabled) {
		r.endLogins(altered.Name)
	}
	return err
}

// endLogins ends those of an account.
func (r *Registry) endLogins(account string) {
	if r.logins.end(func(_ string, l *login) bool { return l.account == account }) > 0 {
		r.again()
	}
}

// RemoveAccount removes an account with its tokens and logins.
func (r *Registry) RemoveAccount(ctx context.Context, by Actor, name string) error {
	err := r.change(ctx, by, "account.remove", strings.ToLower(name), func(p *picture) (edit, error) {
		a, err := p.account(name)
		if err != nil {
			return edit{}, err
		}
		if err := p.guard(by, a); err != nil {
			return edit{}, err
		}
		gone := []storage.Document{{Kind: accountDocument, Name: a.Name}}
		for id, t := range p.tokens {
			if t.Account == a.Name {
				delete(p.tokens, id)
				gone = append(gone, withoutToken(id)...)
			}
		}
		delete(p.accounts, a.Name)
		return edit{documents: gone}, nil
	})
	if err == nil {
		r.endLogins(strings.ToLower(name))
	}
	return err
}

func withoutToken(id string) []storage.Document {
	return []storage.Document{{Kind: tokenDocument, Name: id}, {Kind: usedDocument, Name: id}}
}

// PutRole adds or changes a role.
func (r *Registry) PutRole(ctx context.Context, by Actor, role Role) (err error) {
	if role.Name, err = CheckName("role", role.Name); err != nil {
		return err
	}
	if err := CheckGrants(role.Grants); err != nil {
		return err
	}
	if err := role.Limits.check(); err != nil {
		return err
	}
	if len(role.Note) > maxNote {
		return invalid("note: at most %d bytes", maxNote)
	}
	role.BuiltIn, role.Grants = false, slices.Clone(role.Grants)
	return r.change(ctx, by, "role.put", role.Name, func(p *picture) (edit, error) {
		old := p.roles[role.Name]
		if err := p.guardRole(by, old, role.Name); err != nil {
			return edit{}, err
		}
		if old == nil && len(p.roles) >= maxRoles {
			return edit{}, invalid("there are %d roles: no more are possible", maxRoles)
		}
		p.roles[role.Name] = &role
		return edit{strings.Join(role.Grants, " "), []storage.Document{document(roleDocument, role.Name, &role)}}, p.guardRole(by, &role, role.Name)
	})
}

// guardRole refuses changes of a built-in role, and those of what is more powerful than
// the actor.
func (p *picture) guardRole(by Actor, role *Role, name string) error {
	switch {
	case role == nil:
		return nil
	case role.BuiltIn:
		return conflict("role %s is built in: it can't be changed; create another one", name)
	case !by.Administers && powerful(compile(role.Grants, "account", "")):
		return &Denied{Account: by.Name, Missing: Admin.String()}
	}
	return nil
}

// RemoveRole removes a role that no account has.
func (r *Registry) RemoveRole(ctx context.Context, by Actor, name string) error {
	folded := strings.ToLower(name)
	return r.change(ctx, by, "role.remove", folded, func(p *picture) (edit, error) {
		role := p.roles[folded]
		if role == nil {
			return edit{}, missing("role", name)
		}
		if err := p.guardRole(by, role, folded); err != nil {
			return edit{}, err
		}
		for _, a := range p.accounts {
			if slices.Contains(a.Roles, folded) {
				return edit{}, conflict("role %s: account %s has it; take it away first", folded, a.Name)
			}
		}
		delete(p.roles, folded)
		return edit{documents: []storage.Document{{Kind: roleDocument, Name: folded}}}, nil
	})
}
