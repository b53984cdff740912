package access

// Answer says whether an account may do something, and why.
type Answer struct {
	Allowed bool
	By      string // the grant that allows it, and the role that it comes from
	Missing string // the grant that would allow it; "" if it is allowed
}

// Explain tells whether an account may do something, leaving its tokens aside.
func (r *Registry) Explain(account string, v Verb, topic, group string) (Answer, error) {
	p := r.picture.Load()
	a, err := p.account(account)
	if err != nil {
		return Answer{}, err
	}
	if !p.on {
		return Answer{Allowed: true, By: "access is off"}, nil
	}
	if a.Disabled {
		return Answer{Missing: "the account is disabled"}, nil
	}
	q := questionOf(v, topic, group)
	for _, g := range p.rights(a) {
		if g.covers(q.verb, q.topic, q.group) {
			by := g.text
			if g.from != "" {
				by += " (role " + g.from + ")"
			}
			return Answer{Allowed: true, By: by}, nil
		}
	}
	return Answer{Missing: needed(v, topic, group)}, nil
}
