package access

import (
	"sort"
	"sync/atomic"
)

// What is counted of an account, in the order of [Usage]. Bytes are those of bodies.
const (
	Published = iota
	PublishedBytes
	Delivered
	DeliveredBytes
	RefusedByLimit
	Connected // now
	counted
)

// totals are what an account has done since it first connected to this process.
type totals [counted]atomic.Int64

func (t *totals) publish(messages, bytes int) {
	t[Published].Add(int64(messages))
	t[PublishedBytes].Add(int64(bytes))
}

// Usage is what an account has done since it first connected to this process, and has now.
type Usage struct {
	Account string
	Counts  [counted]int64
}

// Usage lists what accounts that are stored here have done, by name and at most so many.
func (r *Registry) Usage(most int) (all []Usage) {
	p := r.picture.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.quotas))
	for name := range r.quotas {
		if p.accounts[name] != nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names[:min(len(names), most)] {
		q, u := r.quotas[name], Usage{Account: name}
		for i := range u.Counts {
			u.Counts[i] = q.done[i].Load()
		}
		u.Counts[Connected] = q.connections.Load()
		all = append(all, u)
	}
	return all
}
