package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/admin"
	"github.com/rushmore/zbus-go/zbus/zbustest"
)

func start(t *testing.T) (*admin.Client, *zbustest.Server) {
	t.Helper()
	s := zbustest.Start(t)
	a, err := admin.New("http://127.0.0.1:15555", admin.Options{HTTP: s.Broker().HTTP()})
	if err != nil {
		t.Fatal(err)
	}
	return a, s
}

func ptr[T any](v T) *T { return &v }

// must is the value of what must not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTopicsAndGroupsAreManaged(t *testing.T) {
	a, _ := start(t)
	ctx := t.Context()
	for _, name := range []string{"orders", "orders.eu", "prices"} {
		if topic, err := a.CreateTopic(ctx, admin.NewTopic{Name: name}); err != nil || topic.Name != name {
			t.Fatalf("%+v, %v", topic, err)
		}
	}
	if _, err := a.CreateTopic(ctx, admin.NewTopic{Name: "orders"}); !errors.Is(err, zbus.ErrExists) {
		t.Errorf("a topic that is there: %v", err)
	}
	if topic := must(a.ChangeTopic(ctx, "prices", admin.TopicPatch{Retention: &admin.Retention{MaxCount: ptr("10")}})); *topic.Retention.MaxCount != "10" {
		t.Errorf("%+v", topic)
	}
	n := 0
	for topic, err := range a.Topics(ctx, "orders") {
		if n++; err != nil || topic.Name == "prices" {
			t.Errorf("%+v, %v", topic, err)
		}
	}
	if n != 2 {
		t.Errorf("%d topics, want 2", n)
	}
	must(a.CreateGroup(ctx, "orders", admin.NewGroup{Name: "billing", Filter: ptr("eu.*"), MaxDeliver: ptr[int64](3)}))
	if g := must(a.ChangeGroup(ctx, "orders", "billing", admin.GroupPatch{Filter: ptr("")})); g.Filter != "" || g.MaxDeliver != 3 {
		t.Errorf("%+v", g)
	}
	names := map[string]bool{}
	for g, err := range a.Groups(ctx, "orders") {
		if err != nil {
			t.Fatal(err)
		}
		names[g.Name] = true
	}
	if len(names) != 1 || !names["billing"] {
		t.Errorf("groups %v", names)
	}
	if err := errors.Join(a.DeleteGroup(ctx, "orders", "billing"), a.DeleteTopic(ctx, "prices")); err != nil {
		t.Error(err)
	}
	_, err := a.Group(ctx, "orders", "billing")
	var e *admin.Error
	if !errors.Is(err, zbus.ErrNotFound) || !errors.As(err, &e) || e.Status != 404 || e.Code != "not_found" || len(e.Problem) == 0 {
		t.Errorf("a group that was removed: %v", err)
	}
	if _, err := a.Topic(ctx, "../server"); !errors.Is(err, zbus.ErrInvalid) && !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("a name with slashes: %v", err)
	}
}

func TestPutMakesTopicsAndGroupsSo(t *testing.T) {
	a, _ := start(t)
	ctx := t.Context()
	topic, group := admin.TopicState{Retention: &admin.Retention{MaxCount: ptr("10")}}, admin.GroupState{Filter: ptr("eu.*")}
	for _, want := range []string{"created", "unchanged"} {
		if made := must(a.PutTopic(ctx, "orders", topic)); string(made.Outcome) != want || *made.Topic.Retention.MaxCount != "10" {
			t.Errorf("%+v, want %s", made, want)
		}
		if made := must(a.PutGroup(ctx, "orders", "billing", group)); string(made.Outcome) != want || made.Group.Filter != "eu.*" {
			t.Errorf("%+v, want %s", made, want)
		}
	}
	made := must(a.PutGroup(ctx, "orders", "billing", admin.GroupState{}))
	if made.Outcome != "changed" || len(made.Differences) != 1 || made.Differences[0].Member != "filter" {
		t.Errorf("%+v", made)
	}
	if _, err := a.PutTopic(ctx, "orders", admin.TopicState{Kind: ptr(admin.TopicKind("rpc"))}); !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("another kind: %v", err)
	}
}

func TestListsHaveAllPages(t *testing.T) {
	a, _ := start(t)
	for i := range 7 {
		must(a.CreateTopic(t.Context(), admin.NewTopic{Name: fmt.Sprint("t", i)}))
	}
	n := 0
	for topic, err := range admin.List[admin.Topic](t.Context(), a, "GET /topics", "topics", map[string]any{"limit": 3}) {
		if err != nil || topic.Name != fmt.Sprint("t", n) {
			t.Fatalf("%s, %v", topic.Name, err)
		}
		n++
	}
	if n != 7 {
		t.Errorf("%d topics, want 7", n)
	}
}

func TestMovesArePlannedAppliedAndReverted(t *testing.T) {
	a, s := start(t)
	ctx := t.Context()
	c := s.Client()
	must(c.DeclareGroup(ctx, "orders", zbus.GroupSpec{Name: "billing", Explicit: true}))
	must(c.DeclareGroup(ctx, "orders", zbus.GroupSpec{Name: "other"}))
	must(c.PublishBatch(ctx, "orders", []zbus.Message{{ID: "a", Body: []byte("one")}, {Body: []byte("two")}, {Body: []byte("three")}}))
	for name, test := range map[string]struct {
		to   admin.Position
		want string
	}{
		"latest": {admin.Latest(), "3"}, "offset": {admin.AtOffset(1), "1"}, "message": {admin.AtMessage("a"), "0"},
		"time": {admin.AtTime(time.Now().Add(time.Hour)), "3"}, "group": {admin.AtGroup("other"), "0"}, "earliest": {admin.Earliest(), "0"},
	} {
		if plan := must(a.Plan(ctx, "orders", "billing", test.to)); plan.To != test.want {
			t.Errorf("%s is %s, want %s", name, plan.To, test.want)
		}
	}
	plan := must(a.Plan(ctx, "orders", "billing", admin.Latest()))
	if plan.Skipped != "3" {
		t.Errorf("%+v", plan)
	}
	stale := must(a.Plan(ctx, "orders", "billing", admin.AtOffset(1)))
	moved := must(a.Apply(ctx, plan.Id, "enough of it"))
	if moved.Group.Cursor != "3" || moved.Entry.Reason != "enough of it" {
		t.Errorf("%+v", moved)
	}
	if _, err := a.Apply(ctx, stale.Id, ""); !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("a plan that no longer holds: %v", err)
	}
	if back := must(a.Revert(ctx, moved.Entry.Id, "more of it")); back.Group.Cursor != "0" {
		t.Errorf("%+v", back)
	}
	var kinds []string
	for entry, err := range a.Journal(ctx, "orders", "billing") {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, string(entry.Kind))
	}
	if len(kinds) < 2 || kinds[0] != "revert" || kinds[1] != "relocate" {
		t.Errorf("the journal has %v", kinds)
	}
}

func TestMessagesAreBrowsedAndTransacted(t *testing.T) {
	a, s := start(t)
	ctx := t.Context()
	c := s.Client()
	must(c.DeclareGroup(ctx, "orders", zbus.GroupSpec{Name: "billing", Explicit: true, MaxDeliver: 1}))
	must(c.DeclareTopic(ctx, zbus.TopicSpec{Name: "invoices"}))
	var tx admin.Transaction
	for _, topic := range []string{"orders", "invoices"} {
		appendMessage(&tx, topic, "body of "+topic)
	}
	if done := must(a.Transact(ctx, tx)); len(done.Messages) != 2 {
		t.Errorf("%+v", done)
	}
	bad := admin.Transaction{}
	appendMessage(&bad, "orders", "not stored")
	appendMessage(&bad, "missing", "not stored")
	if _, err := a.Transact(ctx, bad); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("with a topic that is missing: %v", err)
	}
	page := must(a.Browse(ctx, "orders", admin.Browse{Limit: ptr(10)}))
	if len(page.Messages) != 1 || *page.Messages[0].Body != "body of orders" || page.More {
		t.Errorf("%+v", page)
	}
	if m := must(a.Message(ctx, "invoices", 0)); *m.Body != "body of invoices" {
		t.Errorf("%+v", m)
	}
	got := must(c.Fetch(ctx, "orders", "billing", 1, zbustest.Timeout))
	if err := got[0].Nack(ctx, "no such customer", 0); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the dead letter is there", func() bool {
		page, err := a.Browse(ctx, "orders.dead", admin.Browse{})
		return err == nil && len(page.Messages) == 1 && page.Messages[0].Headers["dead-cause"] == "no such customer"
	})
}

// appendMessage adds a message to a transaction.
func appendMessage(tx *admin.Transaction, topic, body string) {
	all := []admin.TransactionMessage{}
	if tx.Messages != nil {
		all = *tx.Messages
	}
	all = append(all, admin.TransactionMessage{Topic: topic, Body: &body})
	tx.Messages = &all
}

func TestAccountsRolesAndTokens(t *testing.T) {
	a, s := start(t)
	ctx := t.Context()
	must(a.PutRole(ctx, "clerk", admin.RoleBody{Grants: []string{"publish:orders.#"}}))
	must(a.CreateAccount(ctx, admin.NewAccount{Name: "ann", Roles: &[]string{"admin"}, Password: ptr("correct horse")}))
	if _, err := a.Accounts(ctx); !errors.Is(err, zbus.ErrUnauthorized) { // there is an administrator now
		t.Errorf("without a token: %v", err)
	}
	secret := must(basic(s.Broker().HTTP(), "ann", "correct horse").CreateToken(ctx, admin.TokenSpec{Note: ptr("a test")}))
	a = must(admin.New("http://127.0.0.1", admin.Options{Token: secret.Token, HTTP: s.Broker().HTTP()}))
	must(a.CreateAccount(ctx, admin.NewAccount{Name: "shop", Roles: &[]string{"clerk"}}))
	if shop := must(a.ChangeAccount(ctx, "shop", admin.AccountChange{Note: ptr("the shop")})); *shop.Note != "the shop" {
		t.Errorf("%+v", shop)
	}
	if all := must(a.Accounts(ctx)); len(all) != 2 || all[1].Name != "shop" {
		t.Errorf("%+v", all)
	}
	token := must(a.CreateToken(ctx, admin.TokenSpec{Account: ptr("shop")}))
	if all := must(a.Tokens(ctx, "shop")); len(all) != 1 || all[0].Id != token.Id {
		t.Errorf("%+v", all)
	}
	shop := must(admin.New("http://127.0.0.1", admin.Options{Token: token.Token, HTTP: s.Broker().HTTP()}))
	if _, err := shop.Accounts(ctx); !errors.Is(err, zbus.ErrForbidden) {
		t.Errorf("without the grant: %v", err)
	}
	if err := errors.Join(a.RevokeToken(ctx, token.Id), a.DeleteAccount(ctx, "shop")); err != nil {
		t.Error(err)
	}
	if _, err := a.Account(ctx, "shop"); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("an account that was removed: %v", err)
	}
	found := false
	for _, r := range must(a.Roles(ctx)) {
		found = found || r.Name == "clerk"
	}
	if !found {
		t.Error("the role is not in the list")
	}
}

// basic asks with a password.
func basic(web *http.Client, name, password string) *admin.Client {
	with := *web
	with.Transport = withPassword{web.Transport, name, password}
	return must(admin.New("http://127.0.0.1", admin.Options{HTTP: &with}))
}

type withPassword struct {
	http.RoundTripper
	name, password string
}

func (w withPassword) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.SetBasicAuth(w.name, w.password)
	return w.RoundTripper.RoundTrip(req)
}

func TestErrorsOfTheConnectionAndOfOthers(t *testing.T) {
	for _, text := range []string{"", "127.0.0.1:15555", "ftp://x", "http://"} {
		if _, err := admin.New(text, admin.Options{}); !errors.Is(err, zbus.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	a := must(admin.New("http://127.0.0.1:1", admin.Options{}))
	if _, err := a.Topic(t.Context(), "x"); !errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := admin.Do[admin.None](t.Context(), a, "GET /topics/{topic}", nil); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("without a name: %v", err)
	}
	deaf := must(net.Listen("tcp", "127.0.0.1:0"))
	defer deaf.Close()
	go func() {
		for c, err := deaf.Accept(); err == nil; c, err = deaf.Accept() {
			_ = c.Close()
		}
	}()
	a = must(admin.New("https://"+deaf.Addr().String(), admin.Options{}))
	if _, err := a.CreateTopic(t.Context(), admin.NewTopic{Name: "x"}); !errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("nobody who speaks TLS: %v", err)
	}
	answers := make(chan func(http.ResponseWriter), 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (<-answers)(w) }))
	defer other.Close()
	a = must(admin.New(other.URL, admin.Options{MaxAnswer: 100}))
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		want   error
	}{
		"another program": {func(w http.ResponseWriter) { http.Error(w, "<html>", http.StatusBadGateway) }, zbus.ErrUnavailable},
		"no JSON":         {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, zbus.ErrInternal},
		"nothing":         {func(http.ResponseWriter) {}, zbus.ErrInternal},
		"too much":        {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 101)) }, zbus.ErrTooLarge},
		"cut":             {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, zbus.ErrUnknownOutcome},
	} {
		answers <- test.answer
		if _, err := a.CreateTopic(t.Context(), admin.NewTopic{Name: "x"}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	answers <- func(http.ResponseWriter) { cancel() }
	if _, err := a.CreateTopic(ctx, admin.NewTopic{Name: "x"}); err == nil {
		t.Error("an answer without a topic, when the context has ended, is none")
	}
}
