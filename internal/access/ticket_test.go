package access

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestATicketIsGoodOnceForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		id, text := r.token("ann")
		who := r.by(text)
		use := func(secret string) (*Principal, error) {
			return r.Authenticate(t.Context(), Credential{Ticket: secret})
		}
		get := func() string {
			secret, err := r.Ticket(who)
			r.ok(err)
			return secret
		}
		secret := get()
		if p, err := use(secret); err != nil || p != who {
			t.Errorf("%v %v", p, err)
		}
		if _, err := use(secret); err == nil {
			t.Error("it is good twice")
		}
		if _, err := use("x"); err == nil {
			t.Error("anything is a ticket")
		}
		late := get()
		time.Sleep(TicketTime)
		if _, err := use(late); err == nil {
			t.Error("it is good for longer")
		}
		first := get()
		for range ofHolder {
			time.Sleep(time.Millisecond)
			secret = get()
		}
		if _, err := use(first); err == nil || len(r.tickets.open) != ofHolder {
			t.Errorf("there are %d", len(r.tickets.open))
		}
		r.ok(r.RevokeToken(t.Context(), boss, id))
		if _, err := use(secret); err == nil {
			t.Error("it is good for longer than its token")
		}
	})
}
