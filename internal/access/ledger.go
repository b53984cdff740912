package access

// LimitsFor are the limits of an account by its name, those of its roles included; none while access is
// off. Of an account that only the issuer knows they are those of its roles as long as it is signed on.
func (r *Registry) LimitsFor(account string) Limits {
	p := r.picture.Load()
	if !p.on {
		return Limits{}
	}
	if a := p.accounts[account]; a != nil {
		return p.limits(a)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.quotas[account]; q != nil && q.signed != nil {
		return p.limits(q.signed)
	}
	return Limits{}
}

// LimitRefused counts what was refused for a limit of an account by its name.
func (r *Registry) LimitRefused(account string) {
	if a := r.picture.Load().accounts[account]; a != nil {
		r.quotaOf(a).refuse() // which it has from now on, as if it had connected
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.quotas[account]; q != nil {
		q.refuse()
	}
}

// LimitsEpoch counts the changes of limits: what LimitsFor said holds as long as it stays.
func (r *Registry) LimitsEpoch() uint64 { return r.limited.Load() }

// Use is how many connections and calls in flight an account has.
func (r *Registry) Use(account string) (connections, calls int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.quotas[account]; q != nil {
		return q.connections.Load(), q.calls.Load()
	}
	return 0, 0
}
