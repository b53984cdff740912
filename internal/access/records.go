package access

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// The kinds of the documents that are stored.
const (
	accountDocument = "account"
	roleDocument    = "role"
	tokenDocument   = "token"
	usedDocument    = "token-used"
)

// Person, Program and SignedOn are the kinds of accounts.
const (
	Person   = "person"  // logs in with a password
	Program  = "program" // has tokens
	SignedOn = "sso"     // signs on with the issuer, and has no password
)

// Account is a person or a program that acts. What is stored of it is this, as JSON.
type Account struct {
	Name     string   `json:"name"` // lower case
	Kind     string   `json:"kind"` // Person, Program or SignedOn
	Note     string   `json:"note,omitempty"`
	Password string   `json:"password,omitempty"` // its hash; "": none
	Roles    []string `json:"roles,omitempty"`
	Grants   []string `json:"grants,omitempty"` // besides those of its roles
	Limits   Limits   `json:"limits,omitzero"`  // a zero one is the highest of its roles
	Disabled bool     `json:"disabled,omitempty"`
	Created  int64    `json:"created"` // Unix milliseconds
	Updated  int64    `json:"updated"`
}

// Role is a named set of grants.
type Role struct {
	Name    string   `json:"name"` // lower case
	Note    string   `json:"note,omitempty"`
	Grants  []string `json:"grants"`
	Limits  Limits   `json:"limits,omitzero"` // of each account that has it and none of its own
	BuiltIn bool     `json:"-"`               // can be neither changed nor removed
}

// Token is a secret that lets a program act as an account.
type Token struct {
	ID      string   `json:"id"`
	Account string   `json:"account"`
	Hash    []byte   `json:"hash"` // SHA-256 of the secret
	Note    string   `json:"note,omitempty"`
	Grants  []string `json:"grants,omitempty"`  // narrower than the account's; none: all of these
	Expires int64    `json:"expires,omitempty"` // Unix milliseconds; 0: never
	Created int64    `json:"created"`
	By      string   `json:"by,omitempty"` // the id of the token that it was created with, and ends with
	Used    int64    `json:"-"`            // Unix milliseconds, about; 0: not yet
}

// BuiltInRoles are the roles that are always there.
func BuiltInRoles() []Role {
	return []Role{
		{Name: "admin", Note: "may do everything", Grants: []string{"admin"}, BuiltIn: true},
		{Name: "consumer", Note: "consumes from all topics, and answers calls", Grants: []string{"consume,serve:#"}, BuiltIn: true},
		{Name: "operator", Note: "runs the broker: sees everything, declares, moves, empties and removes", Grants: []string{"observe,sessions", "browse,manage,move:#"}, BuiltIn: true},
		{Name: "publisher", Note: "publishes to all topics, and makes calls", Grants: []string{"publish,call:#"}, BuiltIn: true},
		{Name: "viewer", Note: "sees figures and messages, and changes nothing", Grants: []string{"observe", "browse:#"}, BuiltIn: true},
	}
}

// picture is what is stored, at one moment. It is never changed: a change makes another.
type picture struct {
	epoch    uint64
	on       bool
	damaged  bool // there was more once: access stays on
	accounts map[string]*Account
	roles    map[string]*Role // the built-in ones, too
	tokens   map[string]*Token
}

// clone is a copy that may be changed, until it is published.
func (p *picture) clone() *picture {
	return &picture{
		epoch: p.epoch + 1, on: p.on, damaged: p.damaged,
		accounts: maps.Clone(p.accounts), roles: maps.Clone(p.roles), tokens: maps.Clone(p.tokens),
	}
}

// read makes a picture of documents.
func read(documents []storage.Document, used func(id string, at int64)) (*picture, error) {
	p := &picture{epoch: 1, accounts: map[string]*Account{}, roles: map[string]*Role{}, tokens: map[string]*Token{}}
	for _, r := range BuiltInRoles() {
		p.roles[r.Name] = &r
	}
	for _, d := range documents {
		var err error
		if p.damaged = p.damaged || d.Damaged; d.Damaged {
			continue
		}
		switch d.Kind {
		case accountDocument:
			a := &Account{}
			err = json.Unmarshal([]byte(d.Value), a)
			p.accounts[d.Name] = a
		case roleDocument:
			r := &Role{}
			err = json.Unmarshal([]byte(d.Value), r)
			p.roles[d.Name] = r
		case tokenDocument:
			t := &Token{}
			err = json.Unmarshal([]byte(d.Value), t)
			p.tokens[d.Name] = t
		case usedDocument:
			var at int64
			err = json.Unmarshal([]byte(d.Value), &at)
			used(d.Name, at)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w: %w", d.Kind, d.Name, storage.ErrDamaged, err)
		}
	}
	return p, nil
}

// rights are the compiled grants of an account, those of its roles included.
func (p *picture) rights(a *Account) []grant {
	list := compile(a.Grants, a.Name, "")
	for _, name := range a.Roles {
		if r := p.roles[name]; r != nil {
			list = append(list, compile(r.Grants, a.Name, r.Name)...)
		}
	}
	return list
}

// compile leaves out what can't be parsed: it was checked when it was stored.
func compile(grants []string, account, role string) (list []grant) {
	for _, text := range grants {
		if g, err := parseGrant(text, account); err == nil {
			g.from = role
			list = append(list, g)
		}
	}
	return list
}

// may reports whether an account has a verb without a topic, as one of its rights.
func (p *picture) may(a *Account, v Verb) bool {
	return slices.ContainsFunc(p.rights(a), func(g grant) bool { return g.covers(v, "", "") })
}

// document is the stored form of a value.
func document(kind, name string, v any) storage.Document {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the records are plain
	}
	return storage.Document{Kind: kind, Name: name, Value: string(text)}
}

// CheckName refuses what can't be the name of an account or a role, and gives it in lower
// case.
func CheckName(what, name string) (string, error) {
	folded := strings.ToLower(name)
	ok := folded != "" && len(folded) <= 64
	for i := range len(folded) {
		c := folded[i]
		ok = ok && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && strings.IndexByte("._-@", c) >= 0)
	}
	if !ok {
		return "", invalid("name of %s %q: must have 1 to 64 letters, digits and . _ - @, and begin with a letter or digit", what, clip(name))
	}
	return folded, nil
}
