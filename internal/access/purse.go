package access

// Purse is what a connection has taken in advance of what its account may publish, for messages that
// come together: they cost one look at what all connections of the account share. It is for one
// goroutine, and empty between batches.
type Purse struct {
	quota    *Quota
	messages int
	bytes    int

	paid struct { // what passed and is not counted yet
		by              *Quota
		messages, bytes int
	}
}

// How much is taken in advance, where there is that much.
const (
	advanceMessages = 64
	advanceBytes    = 64 << 10
)

// Publish pays for a message of the account of a quota; more says that others follow at once. An error is
// [*Limited]: then nothing was used.
func (p *Purse) Publish(q *Quota, bytes int, more bool) error {
	if p.messages > 0 && p.bytes >= bytes && p.quota == q {
		p.messages--
		p.bytes -= bytes
		p.count(q, bytes)
		return nil
	}
	if q == nil {
		return nil
	}
	l := q.limits.Load()
	if l.Messages == 0 && l.Bytes == 0 {
		p.count(q, bytes)
		return nil
	}
	p.Return()
	if !more {
		return q.Publish(1, bytes)
	}
	messages, room, wait := q.published.advance(l, bytes)
	if wait > 0 {
		return q.over(wait, tooMuch)
	}
	p.quota, p.messages, p.bytes = q, messages, room
	p.count(q, bytes)
	return nil
}

// count notes a message that has passed: all connections of the account share what it is added to.
func (p *Purse) count(q *Quota, bytes int) {
	if p.paid.by != q {
		p.tell()
		p.paid.by = q
	}
	p.paid.messages++
	p.paid.bytes += bytes
}

// tell adds what was noted.
func (p *Purse) tell() {
	if p.paid.messages > 0 {
		p.paid.by.done.publish(p.paid.messages, p.paid.bytes)
		p.paid.messages, p.paid.bytes = 0, 0
	}
}

// Return gives back what is left.
func (p *Purse) Return() {
	p.tell()
	p.paid.by = nil
	if p.messages == 0 && p.bytes == 0 {
		return
	}
	p.quota.published.giveBack(p.messages, p.bytes)
	*p = Purse{}
}
