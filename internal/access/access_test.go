package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// shelf keeps documents as a store does.
type shelf struct {
	documents map[[2]string]storage.Document
	entries   []storage.AuditEntry
	fail      error
}

func (s *shelf) save(_ context.Context, changes ...storage.Op) error {
	if s.fail != nil {
		return s.fail
	}
	for _, op := range changes {
		switch op := op.(type) {
		case *storage.PutDocument:
			key := [2]string{op.Document.Kind, op.Document.Name}
			if delete(s.documents, key); op.Document.Value != "" {
				s.documents[key] = op.Document
			}
		case *storage.Audit:
			s.entries = append(s.entries, *op.Entry)
		default:
			return fmt.Errorf("%T is none of a registry", op)
		}
	}
	return nil
}

func (s *shelf) all() (list []storage.Document) {
	for _, d := range s.documents {
		list = append(list, d)
	}
	return list
}

type rig struct {
	*testing.T
	*Registry
	shelf *shelf
	wall  time.Time
}

var boss = Actor{Actor: storage.Actor{Name: "boss", Address: "here"}, Administers: true}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{T: t, shelf: &shelf{documents: map[[2]string]storage.Document{}}, wall: time.UnixMilli(1_800_000_000_000)}
	r.open(change...)
	return r
}

func auto(o *Options) { o.Mode = Auto }

// open is a start with what is stored.
func (r *rig) open(change ...func(*Options)) {
	r.Helper()
	opts := Options{Mode: On, Documents: r.shelf.all(), Save: r.shelf.save, Now: func() time.Time { return r.wall }}
	for _, f := range change {
		f(&opts)
	}
	var err error
	if r.Registry, err = New(opts); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) add(name string, roles []string, grants ...string) {
	r.Helper()
	r.ok(r.AddAccount(r.Context(), boss, Account{Name: name, Roles: roles, Grants: grants}, ""))
}

func (r *rig) token(account string, grants ...string) (id string, text string) {
	r.Helper()
	t, text, err := r.CreateToken(r.Context(), boss, Token{Account: account, Grants: grants})
	r.ok(err)
	return t.ID, text
}

func (r *rig) by(token string) *Principal {
	r.Helper()
	p, err := r.Authenticate(r.Context(), Credential{Token: token, Address: "10.0.0.1"})
	r.ok(err)
	return p
}

func TestTheFirstAccountTurnsAccessOn(t *testing.T) {
	r := newRig(t, auto)
	anonymous := r.Anonymous()
	if r.On() || !anonymous.Allows(Admin, "", "") || !anonymous.Allows(Publish, "t", "") {
		t.Fatal("access is on without accounts")
	}
	if err := r.AddAccount(t.Context(), boss, Account{Name: "ann", Roles: []string{"operator"}}, ""); !errors.Is(err, storage.ErrConflict) || r.On() {
		t.Errorf("a first account that may not administrate locks all out: %v", err)
	}
	epoch := anonymous.Epoch()
	r.add("ann", []string{"admin"})
	if !r.On() || anonymous.Allows(Publish, "t", "") || anonymous.Allows(See, "t", "") || anonymous.Allows(See, "", "") || anonymous.Epoch() == epoch {
		t.Error("who has not said who it is may still do something")
	}
	if !anonymous.Allows(Nothing, "", "") {
		t.Error("what everyone may do is not allowed")
	}
	var denied *Denied
	if err := anonymous.Check(Publish, "t", ""); !errors.As(err, &denied) || denied.Account != "" || denied.Missing != "publish:t" {
		t.Errorf("%v", err)
	}
	r.open()
	if !r.On() {
		t.Error("access is off after a restart")
	}
	r.open(func(o *Options) { o.Mode = Off })
	if r.On() {
		t.Error("access is on although it was turned off")
	}
	if r = newRig(t, func(o *Options) { o.Beyond = true }); !r.On() {
		t.Error("beyond loopback access is off")
	}
}

// Access that is on because of an account stays on when that can't be read.
func TestDamagedAccountsLeaveAccessOn(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"admin"})
	r.open(func(o *Options) {
		o.Documents = []storage.Document{{Kind: accountDocument, Name: "ann", Damaged: true}}
	})
	if !r.On() || r.Anonymous().Allows(Publish, "t", "") {
		t.Error("a damaged account has opened the door")
	}
}

func TestGrants(t *testing.T) {
	for text, want := range map[string]string{
		"publish:orders.#": "", "publish,consume:#": "", "consume:a/b": "", "consume:{account}.#/{account}": "", "observe": "", "observe,sessions": "", "admin": "",
		"manage:a;b;!c": "", "browse:a.b": "",
		"": "is none of the verbs", "fly:#": "is none of the verbs", "publish": "the topic is missing", "publish:": "a pattern is missing",
		"observe:#": "has no topic", "observe,publish:#": "make two grants", "publish:a/b": "has a topic and no group", "consume:a/": "a pattern is missing",
		"publish:a\x1b[2J": "can't be printed", "publish:a\nb": "can't be printed", "consume:a/\u202eb": "can't be printed", "publish:\u009b": "can't be printed",
		"consume:a/b/c": "a pattern has names", "publish:!": "the pattern after !", "see:#": "is none of the verbs", "nothing": "is none of the verbs",
	} {
		err := CheckGrants([]string{text})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestWhatGrantsAllow(t *testing.T) {
	r := newRig(t)
	r.add("Ann", nil, "publish:orders.#", "consume:orders.eu/billing", "manage:{account}.*", "sessions")
	_, text := r.token("ann")
	p := r.by(text)
	for _, x := range []struct {
		verb         Verb
		topic, group string
		want         bool
	}{
		{Publish, "orders", "", true},
		{Publish, "Orders.EU", "", true},
		{Publish, "orders2", "", false},
		{Consume, "orders.eu", "billing", true},
		{Consume, "orders.eu", "BILLING", true},
		{Consume, "orders.eu", "other", false},
		{Consume, "orders.eu", "", false},
		{Manage, "ann.x", "", true},
		{Manage, "ann.x", "g", true},
		{Manage, "ann", "", false},
		{Move, "orders", "", false},
		{See, "orders.us", "", true},
		{See, "ann.x", "", true},
		{See, "secret", "", false},
		{See, "", "", true},
		{Sessions, "", "", true},
		{Observe, "", "", false},
		{Access, "", "", false},
		{Admin, "", "", false},
		{0, "", "", false},
	} {
		for range 2 { // what was decided is remembered
			if got := p.Allows(x.verb, x.topic, x.group); got != x.want {
				t.Errorf("%s of %q/%q: %t", x.verb, x.topic, x.group, got)
			}
		}
	}
	if p.Account() != "ann" || (Caller{p, "10.0.0.1:5"}).Actor() != (storage.Actor{Name: "ann", Address: "10.0.0.1:5", Token: p.Token()}) {
		t.Errorf("%s", p.Account())
	}
}

func TestATokenMayDoLessThanItsAccount(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"publisher"}, "observe")
	_, text := r.token("ann", "publish:a", "consume:a")
	p := r.by(text)
	if !p.Allows(Publish, "a", "") || p.Allows(Publish, "b", "") || p.Allows(Consume, "a", "a") || p.Allows(Observe, "", "") || p.Allows(See, "b", "") {
		t.Error("the token does not do what both it and its account may")
	}
}

func TestChangesHoldAtOnce(t *testing.T) {
	r := newRig(t)
	r.add("root", []string{"admin"})
	r.add("ann", []string{"publisher"})
	id, text := r.token("ann")
	p := r.by(text)
	told := 0
	r.Watch(func() { told++ })
	for _, x := range []struct {
		what       string
		do         func() error
		ended, may bool
	}{
		{"a role is taken away", func() error {
			return r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Roles = nil }, nil)
		}, false, false},
		{"a grant is given", func() error {
			return r.AlterAccount(t.Context(), boss, "ANN", func(a *Account) { a.Grants = []string{"publish:t"} }, nil)
		}, false, true},
		{"the account is disabled", func() error {
			return r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Disabled = true }, nil)
		}, true, false},
		{"the account is enabled", func() error {
			return r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Disabled = false }, nil)
		}, false, true},
		{"the token is rotated", func() error { _, _, err := r.RotateToken(t.Context(), boss, id); return err }, true, false},
	} {
		before := told
		r.ok(x.do())
		if p.Ended() != x.ended || p.Allows(Publish, "t", "") != x.may || told == before {
			t.Errorf("%s: ended %t, may %t, told %d", x.what, p.Ended(), p.Allows(Publish, "t", ""), told-before)
		}
	}
	id, text = r.token("ann")
	p = r.by(text)
	r.ok(r.RevokeToken(t.Context(), boss, id))
	if !p.Ended() || p.Allows(Publish, "t", "") {
		t.Error("a revoked token does something")
	}
	var refused *Refused
	if err := p.Check(Publish, "t", ""); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	_, text = r.token("ann")
	p = r.by(text)
	r.ok(r.RemoveAccount(t.Context(), boss, "ann"))
	if !p.Ended() || len(r.Tokens("")) != 0 {
		t.Error("a token of a removed account does something")
	}
}

func TestTokensExpire(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"publisher"})
	_, text, err := r.CreateToken(t.Context(), boss, Token{Account: "ann", Expires: r.wall.UnixMilli() + 1000})
	r.ok(err)
	p := r.by(text)
	r.wall = r.wall.Add(time.Second)
	if _, err := r.Authenticate(t.Context(), Credential{Token: text}); err == nil {
		t.Error("an expired token is taken")
	}
	r.again() // what Run does when one expires
	if !p.Ended() {
		t.Error("a connection lives on with an expired token")
	}
	if _, _, err := r.CreateToken(t.Context(), boss, Token{Account: "ann", Expires: r.wall.UnixMilli()}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a token that has expired is made: %v", err)
	}
}

func TestRunTellsOfExpiry(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"publisher"})
	told := make(chan struct{}, 10)
	start := time.Now()
	r.open(func(o *Options) { o.Now = func() time.Time { return r.wall.Add(time.Since(start)) } })
	_, text, err := r.CreateToken(t.Context(), boss, Token{Account: "ann", Expires: r.Registry.now() + 50})
	r.ok(err)
	p := r.by(text)
	r.Watch(func() { told <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = r.Registry.Run(ctx) }()
	<-told
	if !p.Ended() {
		t.Error("told before it has expired")
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"publisher"})
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "bob"}, "a good password"))
	id, text := r.token("ann")
	for name, c := range map[string]Credential{
		"unknown token":            {Token: "zb_abcdefgh_" + newSecret()},
		"wrong secret":             {Token: "zb_" + id + "_" + newSecret()},
		"no token":                 {Token: "hello"},
		"empty secret":             {Token: "zb_" + id + "_"},
		"token of another account": {Account: "bob", Password: text},
		"wrong password":           {Account: "bob", Password: "a bad password"},
		"unknown account":          {Account: "eve", Password: "a good password"},
		"no password":              {Account: "ann", Password: "a good password"},
		"empty password":           {Account: "bob"},
		"unknown login":            {Login: newSecret()},
		"password as a token":      {Token: "a good password"},
		"long":                     {Token: "zb_" + strings.Repeat("a", 10_000)},
	} {
		c.Address = name // so that none has to wait
		p, err := r.Authenticate(t.Context(), c)
		var refused *Refused
		if !errors.As(err, &refused) || refused.RetryAfter != 0 || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := r.Authenticate(t.Context(), Credential{Account: "ann", Password: text}); err != nil || p.Account() != "ann" {
		t.Errorf("a token as the password of its account: %v", err)
	}
	if p, err := r.Authenticate(t.Context(), Credential{Account: "Bob", Password: "a good password"}); err != nil || p.Account() != "bob" {
		t.Errorf("a good password: %v", err)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann", Roles: []string{"admin"}}, "a good password"))
	_, text := r.token("ann")
	at := time.Duration(0)
	r.slow.since = func() time.Duration { return at }
	try := func(account, password, address string) (wait time.Duration, err error) {
		_, err = r.Authenticate(t.Context(), Credential{Account: account, Password: password, Address: address})
		var refused *Refused
		if errors.As(err, &refused) {
			wait = refused.RetryAfter
		}
		return wait, err
	}
	for i := range freeFailures {
		if wait, err := try("ann", "guess", "evil"); wait != 0 || err == nil {
			t.Fatalf("guess %d: wait %v, %v", i+1, wait, err)
		}
	}
	if wait, err := try("ann", "a good password", "evil"); wait != firstWait || err == nil {
		t.Errorf("after %d guesses: wait %v, %v", freeFailures, wait, err)
	}
	if wait, _ := try("other", "x", "evil"); wait != firstWait {
		t.Errorf("another account from there: wait %v", wait)
	}
	if _, err := try("ann", "a good password", "elsewhere"); err != nil {
		t.Errorf("the owner is locked out: %v", err)
	}
	if _, err := r.Authenticate(t.Context(), Credential{Token: text, Address: "evil"}); err != nil {
		t.Errorf("who has a good token beside the one who guesses is locked out: %v", err)
	}
	for range 2 * freeFailures {
		if _, err := r.Authenticate(t.Context(), Credential{Token: text + "x", Address: "host"}); err == nil {
			t.Error("a wrong token is taken")
		}
	}
	if _, err := try("ann", "a good password", "host"); err != nil {
		t.Errorf("a person is locked out by a program with an old token: %v", err)
	}
	at += firstWait
	if wait, err := try("ann", "guess", "evil"); wait != 0 || err == nil {
		t.Errorf("after the wait: %v %v", wait, err)
	}
	if wait, _ := try("ann", "guess", "evil"); wait != 2*firstWait {
		t.Errorf("the next wait is %v", wait)
	}
	at += quietTime + time.Second
	if _, err := try("ann", "a good password", "evil"); err != nil {
		t.Errorf("after a quiet time: %v", err)
	}
}

// Guesses that are made at the same time count as those made one after the other.
func TestGuessesAtTheSameTimeCount(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann"}, "a good password"))
	var looked atomic.Int32
	var all sync.WaitGroup
	for i := range 5 * freeFailures {
		all.Go(func() {
			address := fmt.Sprintf("2001:db8::%x", i+1) // one network
			_, err := r.Authenticate(t.Context(), Credential{Account: "ann", Password: "guess", Address: address})
			var refused *Refused
			if errors.As(err, &refused) && refused.RetryAfter == 0 {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n < freeFailures || n >= freeFailures+maxHashing {
		t.Errorf("%d of %d guesses were looked at, want %d", n, 5*freeFailures, freeFailures)
	}
	if _, err := r.Authenticate(t.Context(), Credential{Account: "ann", Password: "a good password", Address: "2001:db8:0:1::1"}); err != nil {
		t.Errorf("another network waits, too: %v", err)
	}
}

// Who waits for its turn is judged when it is there, by what failed before it.
func TestAGuessIsJudgedWhenItsTurnComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann"}, "a good password"))
		for range maxHashing {
			r.hashing <- struct{}{}
		}
		var err error
		var done sync.WaitGroup
		done.Go(func() {
			_, err = r.Authenticate(t.Context(), Credential{Account: "ann", Password: "a good password", Address: "evil"})
		})
		synctest.Wait()
		for range freeFailures {
			_ = r.refused(addressKey("evil"))
		}
		<-r.hashing
		done.Wait()
		if err == nil {
			t.Error("the guess that came in time is not slowed down")
		}
	})
}

// Another password ends what came by the one before, and what is only disabled for a while.
func TestAnotherPasswordEndsWhatCameByTheOld(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann", Roles: []string{"publisher"}}, "a good password"))
	p, err := r.Authenticate(t.Context(), Credential{Account: "ann", Password: "a good password"})
	r.ok(err)
	r.ok(r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Note = "x" }, nil))
	if p.Ended() || !p.Allows(Publish, "t", "") {
		t.Fatal("a note ends it")
	}
	r.ok(r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Roles = nil }, new("another password")))
	if !p.Ended() || p.Allows(Publish, "t", "") {
		t.Error("the old password is still good for what came by it")
	}
	for _, e := range r.shelf.entries {
		if e.Action == "account.change" && e.Detail != "note" && e.Detail != "roles: none; password" {
			t.Errorf("the audit trail says %q", e.Detail)
		}
	}
}

func TestOnlyNamesAreRemembered(t *testing.T) {
	r := newRig(t)
	r.add("ann", nil, "publish:#")
	_, text := r.token("ann")
	p := r.by(text)
	for _, n := range []int{200, 100_000} {
		if !p.Allows(Publish, strings.Repeat("a", n), "") {
			t.Errorf("a name of %d bytes is refused here", n)
		}
	}
	if n := len(p.rights().decided); n != 1 {
		t.Errorf("%d decisions are remembered, want that of the shorter name", n)
	}
	if err := CheckGrants([]string{"publish:" + strings.Repeat("a", maxGrant)}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a long grant: %v", err)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	var x throttle
	x.init()
	for i := range maxThrottled + 100 {
		x.failed(fmt.Sprint(i))
	}
	if n := len(x.tries); n > maxThrottled {
		t.Errorf("%d are remembered", n)
	}
}

func TestLogins(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann", Roles: []string{"admin"}}, "a good password"))
	at := time.Duration(0)
	r.logins.since = func() time.Duration { return at }
	begin := func() (string, *Principal) {
		t.Helper()
		secret, p, err := r.Login(t.Context(), "ann", "a good password", "here")
		r.ok(err)
		return secret, p
	}
	over := func(secret string) bool {
		_, err := r.Authenticate(t.Context(), Credential{Login: secret})
		return err != nil
	}
	secret, p := begin()
	if over(secret) || !p.Allows(Admin, "", "") {
		t.Fatal("a login does nothing")
	}
	at += IdleTime - 1
	p.Touch()
	at += IdleTime - 1
	if over(secret) {
		t.Error("a login ends although it was used")
	}
	at += IdleTime
	if r.sweepLogins(); !over(secret) {
		t.Error("an idle login lives on")
	}
	r.again()
	if !p.Ended() {
		t.Error("what an idle login began continues")
	}
	secret, p = begin()
	for range int(LoginTime/IdleTime) * 2 {
		at += IdleTime / 2
		p.Touch()
	}
	if !over(secret) {
		t.Error("a login lives longer than it may")
	}
	secret, p = begin()
	r.Logout(p)
	if !over(secret) || !p.Ended() {
		t.Error("a login lives on after the logout")
	}
	secret, p = begin()
	password := "another password"
	r.ok(r.AlterAccount(t.Context(), boss, "ann", func(*Account) {}, &password))
	if !over(secret) || !p.Ended() {
		t.Error("a login lives on with an old password")
	}
}

func TestSetup(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mode = On })
	if _, ok := newRig(t, auto).BeginSetup(); ok {
		t.Error("there is a link although access is off")
	}
	secret, ok := r.BeginSetup()
	if !ok {
		t.Fatal("there is no link")
	}
	if _, _, err := r.Setup(t.Context(), "wrong", "ann", "a good password", "here"); err == nil {
		t.Error("a wrong secret sets an administrator")
	}
	if _, _, err := r.Setup(t.Context(), secret, "ann", "short", "here"); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a short password: %v", err)
	}
	_, p, err := r.Setup(t.Context(), secret, "ann", "a good password", "here")
	if err != nil || !p.Allows(Admin, "", "") {
		t.Fatalf("%v", err)
	}
	if _, _, err := r.Setup(t.Context(), secret, "eve", "a good password", "here"); err == nil {
		t.Error("the link is good twice")
	}
	if r.SetupNeeded() {
		t.Error("setup is needed with an administrator")
	}
}

// Of those who have the link one gets in, and it is good again after what failed.
func TestSetupHappensOnce(t *testing.T) {
	r := newRig(t)
	secret, _ := r.BeginSetup()
	var in atomic.Int32
	var all sync.WaitGroup
	for _, name := range []string{"ann", "bob", "cid", "dan"} {
		all.Go(func() {
			if _, _, err := r.Setup(t.Context(), secret, name, "a good password", name); err == nil {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if n := len(r.Accounts()); n != 1 || in.Load() != 1 {
		t.Errorf("%d accounts, %d got in", n, in.Load())
	}
}

func TestAnAdministratorAlwaysRemains(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"admin"})
	for what, err := range map[string]error{
		"removed":  r.RemoveAccount(t.Context(), boss, "ann"),
		"disabled": r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Disabled = true }, nil),
		"demoted":  r.AlterAccount(t.Context(), boss, "ann", func(a *Account) { a.Roles = []string{"operator"} }, nil),
	} {
		if !errors.Is(err, storage.ErrConflict) {
			t.Errorf("the last administrator is %s: %v", what, err)
		}
	}
	r.add("bob", []string{"admin"})
	r.ok(r.RemoveAccount(t.Context(), boss, "ann"))
}

func TestGrantsAreNotHandedOutByThoseWithoutThem(t *testing.T) {
	r := newRig(t)
	r.add("root", []string{"admin"})
	r.ok(r.PutRole(t.Context(), boss, Role{Name: "clerk", Grants: []string{"access"}}))
	r.add("clerk", []string{"clerk"})
	clerk := Actor{Actor: storage.Actor{Name: "clerk"}}
	id, _ := r.token("root")
	for what, err := range map[string]error{
		"adds an administrator": r.AddAccount(t.Context(), clerk, Account{Name: "eve", Roles: []string{"admin"}}, ""),
		"adds a clerk":          r.AddAccount(t.Context(), clerk, Account{Name: "eve", Grants: []string{"access"}}, ""),
		"promotes itself":       r.AlterAccount(t.Context(), clerk, "clerk", func(a *Account) { a.Roles = []string{"admin"} }, nil),
		"changes a role of its": r.PutRole(t.Context(), clerk, Role{Name: "clerk", Grants: []string{"admin"}}),
		"makes a strong role":   r.PutRole(t.Context(), clerk, Role{Name: "strong", Grants: []string{"observe", "admin"}}),
		"sets root's password":  r.AlterAccount(t.Context(), clerk, "root", func(a *Account) { a.Kind = Person }, new("a good password")),
		"removes root":          r.RemoveAccount(t.Context(), clerk, "root"),
		"takes root's token":    func() error { _, _, err := r.RotateToken(t.Context(), clerk, id); return err }(),
		"makes root's token":    func() error { _, _, err := r.CreateToken(t.Context(), clerk, Token{Account: "root"}); return err }(),
	} {
		var denied *Denied
		if !errors.As(err, &denied) {
			t.Errorf("who may manage accounts alone %s: %v", what, err)
		}
	}
	r.ok(r.AddAccount(t.Context(), clerk, Account{Name: "eve", Roles: []string{"operator"}}, ""))
	if n := len(r.Accounts()); n != 3 {
		t.Errorf("%d accounts", n)
	}
}

// A change that is not stored has not happened.
func TestAChangeThatIsNotStoredDoesNotHold(t *testing.T) {
	r := newRig(t)
	r.add("ann", []string{"admin"})
	epoch := r.Epoch()
	r.shelf.fail = storage.ErrFull
	if err := r.AddAccount(t.Context(), boss, Account{Name: "bob"}, ""); !errors.Is(err, storage.ErrFull) {
		t.Errorf("%v", err)
	}
	if len(r.Accounts()) != 1 || r.Epoch() != epoch {
		t.Error("it holds all the same")
	}
}

func TestWhatIsStoredIsReadAgain(t *testing.T) {
	r := newRig(t)
	r.ok(r.PutRole(t.Context(), boss, Role{Name: "Shop", Note: "n", Grants: []string{"publish:shop.#"}}))
	r.ok(r.AddAccount(t.Context(), boss, Account{Name: "ann", Kind: Person, Note: "x", Roles: []string{"SHOP", "admin"}, Grants: []string{"observe"}}, "a good password"))
	_, text := r.token("ann", "publish:shop.a")
	r.by(text)
	r.saveUsed(t.Context())
	accounts, roles, tokens := fmt.Sprint(r.Accounts()), fmt.Sprint(r.Roles()), fmt.Sprint(r.Tokens(""))
	for _, d := range r.shelf.documents {
		if strings.Contains(d.Value, "a good password") || strings.Contains(d.Value, text) {
			t.Errorf("a secret is stored: %s", d.Value)
		}
	}
	r.open()
	if fmt.Sprint(r.Accounts()) != accounts || fmt.Sprint(r.Roles()) != roles || fmt.Sprint(r.Tokens("")) != tokens {
		t.Errorf("got  %v %v %v\nwant %s %s %s", r.Accounts(), r.Roles(), r.Tokens(""), accounts, roles, tokens)
	}
	p := r.by(text)
	if !p.Allows(Publish, "shop.a", "") || r.Tokens("")[0].Used == 0 {
		t.Errorf("it may not publish, or was not used: %+v", r.Tokens(""))
	}
}

// What is decided is what someone who tries all grants would say.
func TestDecisionsAgreeWithAllGrantsTried(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "a.b", "a.c", "ann", "ann.x"})
	part := rapid.SampledFrom([]string{"#", "*", "a", "a.#", "a.+", "{account}", "{account}.#", "a;b", "#;!a.b", "!b"})
	verbs := rapid.SampledFrom([]Verb{Publish, Consume, Browse, Manage, Move, Call, Serve})
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t)
		type one struct {
			verb         Verb
			topic, group string
		}
		var list []one
		var grants []string
		for range rapid.IntRange(0, 6).Draw(rt, "grants") {
			g := one{verb: verbs.Draw(rt, "verb"), topic: part.Draw(rt, "topic")}
			text := g.verb.String() + ":" + g.topic
			if g.verb&ofGroups != 0 && rapid.Bool().Draw(rt, "grouped") {
				g.group = part.Draw(rt, "group")
				text += "/" + g.group
			}
			list, grants = append(list, g), append(grants, text)
		}
		r.add("ann", nil, grants...)
		_, text := r.token("ann")
		p := r.by(text)
		fits := func(pattern, name string) bool {
			f, err := filter.Parse(strings.ReplaceAll(pattern, Own, "ann"))
			return err == nil && f.Match(name)
		}
		for range 20 {
			v, topic, group := verbs.Draw(rt, "asked"), name.Draw(rt, "of"), rapid.SampledFrom([]string{"", "a", "b", "ann"}).Draw(rt, "in")
			want, see := false, false
			for _, g := range list {
				see = see || fits(g.topic, topic)
				want = want || g.verb == v && fits(g.topic, topic) && (g.group == "" || group != "" && fits(g.group, group))
			}
			if got := p.Allows(v, topic, group); got != want {
				rt.Fatalf("%s of %s/%s with %q: %t, want %t", v, topic, group, grants, got, want)
			}
			if got := p.Allows(See, topic, ""); got != see {
				rt.Fatalf("see %s with %q: %t, want %t", topic, grants, got, see)
			}
			answer, err := r.Explain("ann", v, topic, group)
			if err != nil || answer.Allowed != want {
				rt.Fatalf("the explanation of %s of %s/%s with %q: %+v, %v", v, topic, group, grants, answer, err)
			}
		}
	})
}

func FuzzCredentials(f *testing.F) {
	for _, text := range []string{"", "zb_", "zb__", "zb_a_b", "zb_a_b_c", "Bearer x"} {
		f.Add(text, text, text)
	}
	r, err := New(Options{Mode: On, Save: func(context.Context, ...storage.Op) error { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token, login, grant string) {
		for _, c := range []Credential{{Token: token}, {Login: login}, {Account: token, Password: "zb_" + login}} {
			if p, err := r.Authenticate(t.Context(), c); err == nil && !p.Anonymous() {
				t.Errorf("%+v is %s", c, p.Account())
			}
		}
		if g, err := parseGrant(grant, "ann"); err == nil && g.verbs == 0 {
			t.Errorf("%q grants nothing", grant)
		}
	})
}
