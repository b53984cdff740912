package access

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/rushmore/zbus-go/internal/filter"
)

// Own stands for the account's own name in the patterns of grants.
const Own = "{account}"

// Bounds of the grants of an account, role or token.
const (
	maxGrants = 200
	maxGrant  = 1000 // bytes
)

// grant is one permission, compiled for an account. It is never changed.
type grant struct {
	text  string // as it was written
	from  string // the role that it comes from; "" if it is the account's own
	verbs Verb
	topic *filter.Filter // nil for verbs without a topic
	group *filter.Filter // nil: any group, and the topic itself
}

// parseGrant reads verb[,verb…][:topic[/group]] for an account. Patterns are filters for
// names, which have no case.
func parseGrant(text, account string) (grant, error) {
	g := grant{text: text}
	names, place, placed := strings.Cut(text, ":")
	for name := range strings.SplitSeq(names, ",") {
		v, ok := ParseVerb(strings.TrimSpace(name))
		if !ok {
			return g, invalid("grant %q: %q is none of the verbs %s", clip(text), clip(name), strings.Join(VerbNames(), ", "))
		}
		g.verbs |= v
	}
	switch bound, free := g.verbs&ofTopics, g.verbs&^ofTopics; {
	case bound != 0 && free != 0:
		return g, invalid("grant %q: %s has a topic, %s has none: make two grants of it", clip(text), bound, free)
	case bound != 0 && !placed:
		return g, invalid("grant %q: the topic is missing, such as %s:orders.# or, for any, %s:#", clip(text), bound, bound)
	case free != 0 && placed:
		return g, invalid("grant %q: %s has no topic: write %s", clip(text), free, free)
	case free != 0:
		return g, nil
	}
	topic, group, grouped := strings.Cut(place, "/")
	var err error
	if g.topic, err = pattern(text, topic, account); err != nil {
		return g, err
	}
	if !grouped {
		return g, nil
	}
	if other := g.verbs &^ ofGroups; other != 0 {
		return g, invalid("grant %q: %s has a topic and no group", clip(text), other)
	}
	g.group, err = pattern(text, group, account)
	return g, err
}

// pattern compiles the pattern of a grant.
func pattern(text, p, account string) (*filter.Filter, error) {
	p = strings.ToLower(strings.ReplaceAll(p, Own, account))
	if strings.Trim(p, "; ") == "" {
		return nil, invalid("grant %q: a pattern is missing; # is any name", clip(text))
	}
	if strings.ContainsAny(p, "{}/") {
		return nil, invalid("grant %q: a pattern has names, dots, + * # ! ; and %s", clip(text), Own)
	}
	f, err := filter.Parse(p)
	if err != nil {
		return nil, invalid("grant %q: %s", clip(text), err)
	}
	return f, nil
}

// CheckGrants refuses grants that make no sense.
func CheckGrants(grants []string) error {
	if len(grants) > maxGrants {
		return invalid("%d grants: at most %d are allowed; a pattern stands for many topics", len(grants), maxGrants)
	}
	for _, text := range grants {
		if len(text) > maxGrant {
			return invalid("grant %q: has %d bytes, at most %d are allowed", clip(text), len(text), maxGrant)
		}
		if _, err := parseGrant(text, "account"); err != nil {
			return err
		}
		// No name has such a character, and where grants are listed it would do something else than be seen.
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			return invalid("grant %q: has a character that can't be printed", clip(text))
		}
	}
	return nil
}

// reserved are the verbs that no token of an issuer grants by itself: those that give others what they may do,
// and that of the servers that work together. A role or an account can have them.
const reserved = Admin | Access | Join

// CheckIssued refuses grants of a token of an issuer that make no sense, or that no such token can have.
func CheckIssued(grants []string) error {
	if err := CheckGrants(grants); err != nil {
		return err
	}
	for _, g := range compile(grants, "account", "") {
		if g.verbs&reserved != 0 {
			return invalid("grant %q: a token of an issuer can't grant %s; a role or an account can", clip(g.text), g.verbs&reserved)
		}
	}
	return nil
}

// covers reports whether the grant allows a verb. Names are in lower case; group is "" when
// the topic as a whole is meant.
func (g *grant) covers(v Verb, topic, group string) bool {
	switch {
	case g.verbs&Admin != 0:
		return true
	case v == See:
		return g.verbs&Observe != 0 || g.topic != nil && g.topic.Match(topic)
	case g.verbs&v == 0:
		return false
	case g.topic == nil:
		return true
	}
	return g.topic.Match(topic) && (g.group == nil || group != "" && g.group.Match(group))
}

// needed is the grant that would allow a verb, as text.
func needed(v Verb, topic, group string) string {
	switch {
	case v == See:
		return ""
	case v&ofTopics == 0:
		return v.String()
	case group != "" && v&ofGroups != 0:
		return fmt.Sprintf("%s:%s/%s", v, topic, group)
	}
	return fmt.Sprintf("%s:%s", v, topic)
}

// clip shortens what a client sent, to be quoted in a text.
func clip(s string) string { return clipTo(s, 80) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
