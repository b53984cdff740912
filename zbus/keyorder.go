package zbus

// keyOrder has messages of one key handled one after the other: by the keys of those that are
// being handled, the others that have come. Its methods are called with Client.mu held; those of
// nil let everything pass.
type keyOrder map[string][]*Delivery

// begin reports whether a message may be handled now. Otherwise it is kept, until it is returned
// by end.
func (k keyOrder) begin(d *Delivery) bool {
	if k == nil || d.Key == "" {
		return true
	}
	waiting, busy := k[d.Key]
	if busy {
		k[d.Key] = append(waiting, d)
		return false
	}
	k[d.Key] = nil
	return true
}

// end says that a message is no longer handled, and returns the next one of its key, which is
// handled from now on.
func (k keyOrder) end(d *Delivery) (next *Delivery) {
	waiting, busy := k[d.Key]
	switch {
	case !busy:
		return nil
	case len(waiting) == 0:
		delete(k, d.Key)
		return nil
	}
	next, waiting[0] = waiting[0], nil
	k[d.Key] = waiting[1:]
	return next
}

// waiting is all that is kept.
func (k keyOrder) waiting() (all []*Delivery) {
	for _, some := range k {
		all = append(all, some...)
	}
	return all
}

// forget drops what is kept.
func (k keyOrder) forget() {
	for key := range k {
		k[key] = nil
	}
}
