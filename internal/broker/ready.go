package broker

// ready is the subscriptions that can be served. First comes who is least busy with
// calls, then who was served, or became idle, longest ago. Consumers of other topics
// are never busy in this sense: they are first come, first served. Guarded by
// Group.mu.
type ready struct {
	heap []*Subscription // each knows its place
	seq  int64
}

func (r *ready) len() int { return len(r.heap) }

// first is the subscription to serve next, or nil.
func (r *ready) first() *Subscription {
	if len(r.heap) == 0 {
		return nil
	}
	return r.heap[0]
}

// has reports whether the subscription is among those that can be served.
func (r *ready) has(s *Subscription) bool {
	return s.place < len(r.heap) && r.heap[s.place] == s
}

// push adds a subscription, behind those that are as busy.
func (r *ready) push(s *Subscription) {
	r.seq++
	s.seq, s.place = r.seq, len(r.heap)
	r.heap = append(r.heap, s)
	r.up(s)
}

// remove takes a subscription out that is there.
func (r *ready) remove(s *Subscription) {
	n := len(r.heap) - 1
	last := r.heap[n]
	r.heap[n] = nil
	r.heap = r.heap[:n]
	if last != s {
		r.put(last, s.place)
		r.fix(last)
	}
}

// idle notes that a subscription, which may be there or not, has no call left: it is
// idle from now on.
func (r *ready) idle(s *Subscription) {
	r.seq++
	s.seq = r.seq
}

// fix moves a subscription that is there to its place after its order has changed.
func (r *ready) fix(s *Subscription) {
	r.up(s)
	r.down(s)
}

// lead is how many calls the first may get before another one is less busy.
func (r *ready) lead() int64 {
	least := int64(0)
	for i := 1; i < min(3, len(r.heap)); i++ {
		if gap := r.heap[i].busy - r.heap[0].busy; i == 1 || gap < least {
			least = gap
		}
	}
	return least
}

func (r *ready) put(s *Subscription, place int) { s.place, r.heap[place] = place, s }

func before(a, b *Subscription) bool {
	return a.busy < b.busy || a.busy == b.busy && a.seq < b.seq
}

func (r *ready) up(s *Subscription) {
	i := s.place
	for i > 0 && before(s, r.heap[(i-1)/2]) {
		r.put(r.heap[(i-1)/2], i)
		i = (i - 1) / 2
	}
	r.put(s, i)
}

func (r *ready) down(s *Subscription) {
	i := s.place
	for {
		child := 2*i + 1
		if child+1 < len(r.heap) && before(r.heap[child+1], r.heap[child]) {
			child++
		}
		if child >= len(r.heap) || !before(r.heap[child], s) {
			break
		}
		r.put(r.heap[child], i)
		i = child
	}
	r.put(s, i)
}
