package server

import (
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// maxReplies is how many stored calls a session may leave unanswered, before the oldest
// can no longer be answered.
const maxReplies = 1024

// storedCall identifies a stored call: by the session that made it, and its id of it.
type storedCall struct{ caller, id string }

// replies are the stored calls that a session was given and has not answered. Clients of
// the original declare the kind of a topic that was created for messages on disk; such a
// topic stores its calls, and the table of calls knows nothing of them. Other topics add
// nothing here, so their messages can't be answered.
type replies struct {
	mu    sync.Mutex
	owed  map[storedCall]int64 // guarded by mu: the number of the delivery that came last
	order []storedCall         // guarded by mu: by number, modulo maxReplies
	next  int64                // guarded by mu: the number of the next delivery
}

// add notes what the session is given. What it costs is bounded.
func (r *replies) add(b *broker.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owed == nil {
		r.owed = make(map[storedCall]int64)
	}
	for i := range b.Items {
		rec := b.Items[i].Record
		key := storedCall{id: strings.Clone(rec.ID)}
		_ = wire.RangeJSON(rec.Headers, func(name, value string) bool { // without a sender nobody asks
			if name == wire.HeaderSender {
				key.caller = strings.Clone(value)
			}
			return key.caller == ""
		})
		if key.caller == "" {
			continue
		}
		if len(r.order) < maxReplies {
			r.order = append(r.order, key)
		} else {
			oldest := &r.order[r.next%maxReplies]
			if r.owed[*oldest] == r.next-maxReplies { // it was not delivered again
				delete(r.owed, *oldest)
			}
			*oldest = key
		}
		r.owed[key] = r.next
		r.next++
	}
}

// take reports whether the session may answer a stored call, which it may do once for
// each delivery.
func (r *replies) take(caller, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := storedCall{caller, id}
	_, ok := r.owed[key]
	delete(r.owed, key)
	return ok
}
