package access

import (
	"slices"
	"strings"
)

// Who is no administrator of accounts may have tokens of its own account, never with more than
// it has itself: not for longer, nor beyond the grants of the token that it came by.

// ownTokens is how many tokens an account can create for itself.
const ownTokens = 100

// own reports whether a token is, or would be, of the actor's own account, for which it needs no
// grant. Administrators have no bounds that count.
func (by Actor) own(t *Token) bool {
	return !by.Administers && by.who != nil && by.who.account != "" && by.who.account == t.Account
}

// guardToken refuses to touch, or create, a token that is neither the actor's own, within what it has,
// nor of an account that it manages.
func (p *picture) guardToken(by Actor, t *Token) error {
	switch {
	case by.own(t):
		return p.within(by.who, t)
	case by.who != nil && !by.who.Allows(Access, "", ""):
		return &Denied{Account: by.who.Account(), Missing: Access.String()}
	}
	return p.guard(by, p.accounts[t.Account])
}

// inherit gives a new token the bounds of the one that it is created with, where it has none.
func (p *picture) inherit(who *Principal, t *Token) {
	if t.Expires == 0 {
		t.Expires = p.expiry(who)
	}
	if with := p.tokens[who.token]; with != nil {
		t.By = with.ID
	}
	if len(t.Grants) == 0 {
		t.Grants = slices.Clone(who.narrow(p))
	}
}

// within refuses a token that has more than the principal, which is of its account.
func (p *picture) within(who *Principal, t *Token) error {
	if who.Ended() {
		return &Refused{Text: badCredential}
	}
	if p.tokens[t.ID] == nil && p.countTokens(t.Account) >= ownTokens {
		return invalid("account %s has %d tokens: revoke some, or ask an administrator for more", t.Account, ownTokens)
	}
	if end := p.expiry(who); end != 0 && (t.Expires == 0 || t.Expires > end) {
		return conflict("the token %s expires before that: it can't create, rotate or revoke tokens that are good for longer", who.by())
	}
	bounds := who.narrow(p)
	if len(bounds) == 0 {
		return nil
	}
	if len(t.Grants) == 0 {
		return &Denied{Account: t.Account, Missing: Access.String()}
	}
	mine := compile(bounds, t.Account, "")
	for _, g := range compile(t.Grants, t.Account, "") {
		if !contained(g, mine, t.Account) {
			return &Denied{Account: t.Account, Missing: g.text}
		}
	}
	return nil
}

func (p *picture) countTokens(account string) (n int) {
	for _, t := range p.tokens {
		if t.Account == account {
			n++
		}
	}
	return n
}

// contained reports whether all that a grant allows is allowed by one of others. It may say no where
// that takes looking into patterns: it goes by single names, the same patterns and #.
func contained(g grant, others []grant, account string) bool {
	for v := Verb(1); v < See; v <<= 1 {
		if g.verbs&v == 0 {
			continue
		}
		if !slices.ContainsFunc(others, func(o grant) bool {
			return o.verbs&Admin != 0 || o.verbs&v != 0 && (v&ofTopics == 0 || inside(g, o, account))
		}) {
			return false
		}
	}
	return true
}

// inside reports whether the places of a grant are among those of another.
func inside(g, o grant, account string) bool {
	topic, group := places(g, account)
	otherTopic, otherGroup := places(o, account)
	if topic != otherTopic && otherTopic != "#" && (!isName(topic) || !o.topic.Match(topic)) {
		return false
	}
	if o.group == nil || g.group == nil {
		return o.group == nil
	}
	return group == otherGroup || otherGroup == "#" || isName(group) && o.group.Match(group)
}

// places are the patterns of a grant, for the account.
func places(g grant, account string) (topic, group string) {
	_, place, _ := strings.Cut(g.text, ":")
	topic, group, _ = strings.Cut(strings.ToLower(strings.ReplaceAll(place, Own, account)), "/")
	return topic, group
}

// isName reports whether a pattern fits one name alone, which is itself.
func isName(pattern string) bool { return !strings.ContainsAny(pattern, "+*#!; ") }
