package access

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// guesser tries passwords, and says how long that took and how long one has to wait for the next.
type guesser struct{ *rig }

func (g *guesser) try(account, password, address string) (took, wait time.Duration, err error) {
	began := time.Now()
	_, err = g.Authenticate(g.Context(), Credential{Account: account, Password: password, Address: address})
	var refused *Refused
	if errors.As(err, &refused) {
		wait = refused.RetryAfter
	}
	return time.Since(began), wait, err
}

// attack lets n addresses guess once each.
func (g *guesser) attack(account, from string, n int) (took []time.Duration) {
	g.Helper()
	for i := range n {
		d, wait, err := g.try(account, "guess", fmt.Sprint(from, i))
		if err == nil || wait != 0 {
			g.Fatalf("guess %d: %v, wait %v", i+1, err, wait)
		}
		took = append(took, d)
	}
	return took
}

func TestGuessingFromManyAddressesIsSlowedDownAndLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guesser{newRig(t)}
		for _, name := range []string{"ann", "bob"} {
			g.ok(g.AddAccount(t.Context(), boss, Account{Name: name}, "a good password"))
		}
		if took, _, err := g.try("ann", "a good password", "home"); took != 0 || err != nil {
			t.Fatal(took, err)
		}
		want := []time.Duration{0, 0, 0, 0, 0, 1, 2, 4, 8, 8, 10}
		for _, account := range []string{"ann", "nobody"} { // it says nothing of whether there is one
			for i, took := range g.attack(account, account, len(want)) {
				if took != want[i]*time.Second {
					t.Errorf("guess %d at %s is looked at after %v, want %v", i+1, account, took, want[i]*time.Second)
				}
			}
			if took, wait, _ := g.try(account, "guess", account+"10"); took != 0 || wait != firstWait {
				t.Errorf("the second guess of an address: %v, wait %v, want %v", took, wait, firstWait)
			}
		}
		if took, _, err := g.try("ann", "a good password", "home"); took != 0 || err != nil {
			t.Errorf("where ann has logged in before: %v %v", took, err)
		}
		for i := range freeFailures {
			if took, wait, err := g.try("ann", "mistyped", "home"); took != 0 || wait != 0 || err == nil {
				t.Errorf("mistake %d there: %v, wait %v, %v", i+1, took, wait, err)
			}
		}
		for i, want := range []time.Duration{longestPause, 0} {
			if took, _, err := g.try("ann", "a good password", "new"); took > want || err != nil {
				t.Errorf("login %d from a new address, during the attack: %v %v", i+1, took, err)
			}
		}
		if took, _, err := g.try("bob", "a good password", "elsewhere"); took != 0 || err != nil {
			t.Errorf("another account: %v %v", took, err)
		}
	})
}

func TestGuessesAreForgottenFiveAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guesser{newRig(t)}
		g.attack("ann", "a", freeAtAccount)
		time.Sleep(failureCounts)
		if took := g.attack("ann", "b", 2); took[0] != 0 || took[1] != firstPause {
			t.Errorf("after %v two guesses are looked at after %v", failureCounts, took)
		}
		time.Sleep(2 * time.Minute)
		if took := g.attack("ann", "c", freeAtAccount+1); took[freeAtAccount-1] != 0 || took[freeAtAccount] != firstPause {
			t.Errorf("after two minutes guesses are looked at after %v", took)
		}
	})
}

// A login that waits does not keep the passwords of others from being checked, and may be given up.
func TestWhoWaitsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guesser{newRig(t)}
		g.ok(g.AddAccount(t.Context(), boss, Account{Name: "bob"}, "a good password"))
		g.attack("ann", "a", freeAtAccount+3)
		ctx, giveUp := context.WithCancel(t.Context())
		left := make(chan error, 2*maxHashing)
		for i := range cap(left) {
			go func() {
				_, err := g.Authenticate(ctx, Credential{Account: "ann", Password: "guess", Address: fmt.Sprint("b", i)})
				left <- err
			}()
		}
		synctest.Wait()
		if took, _, err := g.try("bob", "a good password", "home"); took != 0 || err != nil {
			t.Errorf("beside those who wait: %v %v", took, err)
		}
		giveUp()
		for range cap(left) {
			var refused *Refused
			if err := <-left; !errors.As(err, &refused) || refused.RetryAfter == 0 {
				t.Errorf("who gives up: %v", err)
			}
		}
	})
}

func TestStrangersAreBounded(t *testing.T) {
	var s strangers
	s.init()
	for i := range maxAttacked + 100 {
		s.failed(fmt.Sprint(i), "at", 0)
		s.succeeded(fmt.Sprint(i), fmt.Sprint(i))
	}
	if len(s.attacks) > maxAttacked || len(s.acquainted) > maxAcquainted {
		t.Errorf("%d and %d are remembered", len(s.attacks), len(s.acquainted))
	}
}

// An account that logs in from very many addresses has its own forgotten, not those of others.
func TestLoginsFromEverywhereMakeNoStrangersOfOthers(t *testing.T) {
	var s strangers
	s.init()
	const others = 1000
	for i := range others {
		s.succeeded(fmt.Sprint("ann", i), fmt.Sprint("ann", i))
	}
	for range 2 {
		for i := range maxAcquainted {
			s.succeeded("eve", fmt.Sprint("eve", i))
		}
	}
	known := 0
	for i := range others {
		if _, ok := s.acquainted[fmt.Sprint("ann", i)]; ok {
			known++
		}
	}
	if known != others || len(s.acquainted) != maxAcquainted {
		t.Errorf("of %d accounts %d are known where they have logged in; %d of all", others, known, len(s.acquainted))
	}
}
