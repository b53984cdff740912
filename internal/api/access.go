package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// maker is who asks, for changes of accounts, tokens and roles.
func maker(ctx context.Context) access.Actor { return access.ActorOf(access.From(ctx)) }

func (h *handler) accountOf(a *access.Account) Account {
	return Account{
		Name: a.Name, Kind: AccountKind(a.Kind), Note: apiconv.Optional(a.Note), Roles: listed(a.Roles), Grants: listed(a.Grants),
		Limits: limitsOf(a.Limits), Usage: h.usageOf(a.Name), Disabled: a.Disabled, Password: a.Password != "", Tokens: len(h.Access.Tokens(a.Name)),
		Created: apiconv.Time(a.Created), Updated: apiconv.Time(a.Updated),
	}
}

// listed is a list that is never null.
func listed(list []string) []string { return append([]string{}, list...) }

func limitsOf(l access.Limits) *AccountLimits {
	if l == (access.Limits{}) {
		return nil
	}
	return &AccountLimits{
		Connections: filled(l.Connections), Messages: filled(l.Messages), Bytes: filled(l.Bytes), Calls: filled(l.Calls),
		Stored: filled(l.Stored), Topics: filled(l.Topics),
	}
}

// filled is a limit, or nil where there is none.
func filled(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func limitsFrom(l *AccountLimits) access.Limits {
	if l == nil {
		return access.Limits{}
	}
	return access.Limits{
		Connections: apiconv.Or(l.Connections, 0), Messages: apiconv.Or(l.Messages, 0), Bytes: apiconv.Or(l.Bytes, 0), Calls: apiconv.Or(l.Calls, 0),
		Stored: apiconv.Or(l.Stored, 0), Topics: apiconv.Or(l.Topics, 0),
	}
}

// usageOf is what an account has now; nil where no broker runs.
func (h *handler) usageOf(account string) *AccountUsage {
	if h.Broker == nil {
		return nil
	}
	var u AccountUsage
	u.Connections, u.Calls = h.Access.Use(account)
	u.Topics, u.Stored = h.Broker.Owned(account)
	return &u
}

// ListAccounts lists the accounts.
func (h *handler) ListAccounts(context.Context, ListAccountsRequestObject) (ListAccountsResponseObject, error) {
	answer := ListAccounts200JSONResponse{Accounts: []Account{}}
	for _, a := range h.Access.Accounts() {
		answer.Accounts = append(answer.Accounts, h.accountOf(&a))
	}
	return answer, nil
}

// CreateAccount adds an account.
func (h *handler) CreateAccount(ctx context.Context, r CreateAccountRequestObject) (CreateAccountResponseObject, error) {
	a := access.Account{
		Name: r.Body.Name, Kind: string(apiconv.Or(r.Body.Kind, "")), Note: apiconv.Or(r.Body.Note, ""),
		Roles: apiconv.Or(r.Body.Roles, nil), Grants: apiconv.Or(r.Body.Grants, nil), Limits: limitsFrom(r.Body.Limits),
	}
	if err := h.Access.AddAccount(context.WithoutCancel(ctx), maker(ctx), a, apiconv.Or(r.Body.Password, "")); err != nil {
		return nil, err
	}
	a, err := h.Access.AccountOf(a.Name)
	if err != nil {
		return nil, err
	}
	return CreateAccount201JSONResponse(h.accountOf(&a)), nil
}

// GetAccount shows an account.
func (h *handler) GetAccount(_ context.Context, r GetAccountRequestObject) (GetAccountResponseObject, error) {
	a, err := h.Access.AccountOf(r.Account)
	if err != nil {
		return nil, err
	}
	return GetAccount200JSONResponse(h.accountOf(&a)), nil
}

// UpdateAccount changes an account.
func (h *handler) UpdateAccount(ctx context.Context, r UpdateAccountRequestObject) (UpdateAccountResponseObject, error) {
	err := h.Access.AlterAccount(context.WithoutCancel(ctx), maker(ctx), r.Account, func(a *access.Account) {
		a.Note, a.Roles, a.Grants = apiconv.Or(r.Body.Note, a.Note), apiconv.Or(r.Body.Roles, a.Roles), apiconv.Or(r.Body.Grants, a.Grants)
		a.Disabled = apiconv.Or(r.Body.Disabled, a.Disabled)
		if r.Body.Limits != nil {
			a.Limits = limitsFrom(r.Body.Limits)
		}
	}, nil)
	if err != nil {
		return nil, err
	}
	a, err := h.Access.AccountOf(r.Account)
	if err != nil {
		return nil, err
	}
	return UpdateAccount200JSONResponse(h.accountOf(&a)), nil
}

// DeleteAccount removes an account.
func (h *handler) DeleteAccount(ctx context.Context, r DeleteAccountRequestObject) (DeleteAccountResponseObject, error) {
	return DeleteAccount204Response{}, h.Access.RemoveAccount(context.WithoutCancel(ctx), maker(ctx), r.Account)
}

// SetPassword sets a password: one's own, with the old one, or that of another account.
func (h *handler) SetPassword(ctx context.Context, r SetPasswordRequestObject) (SetPasswordResponseObject, error) {
	who, by := access.From(ctx), maker(ctx)
	if r.Body.Old != nil && who.Account() != "" && sameName(who.Account(), r.Account) {
		if err := h.Access.Verify(ctx, r.Account, *r.Body.Old, who.Host()); err != nil {
			return nil, err
		}
		by.Administers = true // of its own password
	} else if err := who.Check(access.Access, "", ""); err != nil {
		return nil, err
	}
	err := h.Access.AlterAccount(context.WithoutCancel(ctx), by, r.Account, func(*access.Account) {}, &r.Body.Password)
	return SetPassword204Response{}, err
}

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

func roleOf(x *access.Role) Role {
	return Role{Name: x.Name, Note: apiconv.Optional(x.Note), Grants: listed(x.Grants), Limits: limitsOf(x.Limits), BuiltIn: x.BuiltIn}
}

// ListRoles lists the roles.
func (h *handler) ListRoles(context.Context, ListRolesRequestObject) (ListRolesResponseObject, error) {
	answer := ListRoles200JSONResponse{Roles: []Role{}}
	for _, x := range h.Access.Roles() {
		answer.Roles = append(answer.Roles, roleOf(&x))
	}
	return answer, nil
}

// PutRole adds or changes a role.
func (h *handler) PutRole(ctx context.Context, r PutRoleRequestObject) (PutRoleResponseObject, error) {
	role := access.Role{Name: strings.ToLower(r.Role), Note: apiconv.Or(r.Body.Note, ""), Grants: r.Body.Grants, Limits: limitsFrom(r.Body.Limits)}
	if err := h.Access.PutRole(context.WithoutCancel(ctx), maker(ctx), role); err != nil {
		return nil, err
	}
	return PutRole200JSONResponse(roleOf(&role)), nil
}

// DeleteRole removes a role.
func (h *handler) DeleteRole(ctx context.Context, r DeleteRoleRequestObject) (DeleteRoleResponseObject, error) {
	return DeleteRole204Response{}, h.Access.RemoveRole(context.WithoutCancel(ctx), maker(ctx), r.Role)
}

// maybeAt is a time that may not be there.
func maybeAt(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	return new(apiconv.Time(ms))
}

// ListTokens lists the tokens that one may see.
func (h *handler) ListTokens(ctx context.Context, r ListTokensRequestObject) (ListTokensResponseObject, error) {
	who, account := access.From(ctx), apiconv.Or(r.Params.Account, "")
	if manages := who.Check(access.Access, "", ""); manages != nil {
		if account = apiconv.Or(r.Params.Account, who.Account()); !sameName(account, who.Account()) {
			return nil, manages
		}
	}
	if account != "" {
		if _, err := h.Access.AccountOf(account); err != nil {
			return nil, err
		}
	}
	answer := ListTokens200JSONResponse{Tokens: []Token{}}
	for _, t := range h.Access.Tokens(account) {
		answer.Tokens = append(answer.Tokens, Token{
			Id: t.ID, Account: t.Account, Note: apiconv.Optional(t.Note), Grants: listed(t.Grants),
			Created: apiconv.Time(t.Created), Expires: maybeAt(t.Expires), Used: maybeAt(t.Used), By: apiconv.Optional(t.By),
		})
	}
	return answer, nil
}

func newTokenOf(t *access.Token, secret string) NewToken {
	return NewToken{
		Id: t.ID, Account: t.Account, Token: secret, Note: apiconv.Optional(t.Note), Grants: listed(t.Grants), Created: apiconv.Time(t.Created), Expires: maybeAt(t.Expires),
	}
}

// CreateToken creates a token, and tells its secret this once.
func (h *handler) CreateToken(ctx context.Context, r CreateTokenRequestObject) (CreateTokenResponseObject, error) {
	account := apiconv.Or(r.Body.Account, access.From(ctx).Account())
	if account == "" {
		return nil, problem.Invalid("the member account is missing")
	}
	t := access.Token{Account: account, Note: apiconv.Or(r.Body.Note, ""), Grants: apiconv.Or(r.Body.Grants, nil)}
	if r.Body.Expires != nil {
		t.Expires = r.Body.Expires.UnixMilli()
	}
	t, secret, err := h.Access.CreateToken(context.WithoutCancel(ctx), maker(ctx), t)
	if err != nil {
		return nil, err
	}
	return CreateToken201JSONResponse(newTokenOf(&t, secret)), nil
}

// RotateToken gives a token another secret.
func (h *handler) RotateToken(ctx context.Context, r RotateTokenRequestObject) (RotateTokenResponseObject, error) {
	t, secret, err := h.Access.RotateToken(context.WithoutCancel(ctx), maker(ctx), r.Token)
	if err != nil {
		return nil, err
	}
	return RotateToken200JSONResponse(newTokenOf(&t, secret)), nil
}

// RevokeToken removes a token.
func (h *handler) RevokeToken(ctx context.Context, r RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	return RevokeToken204Response{}, h.Access.RevokeToken(context.WithoutCancel(ctx), maker(ctx), r.Token)
}

// CheckAccess says what an account may do.
func (h *handler) CheckAccess(ctx context.Context, r CheckAccessRequestObject) (CheckAccessResponseObject, error) {
	who := access.From(ctx)
	account := apiconv.Or(r.Body.Account, who.Account())
	if account == "" {
		return nil, problem.Invalid("the member account is missing")
	}
	if !sameName(account, who.Account()) {
		if err := who.Check(access.Access, "", ""); err != nil {
			return nil, err
		}
	}
	verb, ok := access.ParseVerb(r.Body.Verb)
	if !ok {
		return nil, problem.Invalid("verb %q: must be one of %s", broker.Excerpt(r.Body.Verb), anyOf(access.VerbNames(), ""))
	}
	topic := apiconv.Or(r.Body.Topic, "")
	if verb.OfTopics() != (topic != "") {
		if topic == "" {
			return nil, problem.Invalid("the member topic is missing: %s is done with a topic", verb)
		}
		return nil, problem.Invalid("%s has no topic: leave it out", verb)
	}
	answer, err := h.Access.Explain(account, verb, topic, apiconv.Or(r.Body.Group, ""))
	if err != nil {
		return nil, err
	}
	return CheckAccess200JSONResponse{Allowed: answer.Allowed, By: apiconv.Optional(answer.By), Missing: apiconv.Optional(answer.Missing)}, nil
}

func (h *handler) whoami(who access.Caller) Whoami {
	d := Whoami{Access: "off", Address: who.Address, Roles: []string{}, Grants: []string{}, Account: apiconv.Optional(who.Account()), Token: apiconv.Optional(who.Token())}
	if !h.Access.On() {
		return d
	}
	d.Access = "on"
	if h.Access.SetupNeeded() {
		d.Setup = new(true)
	}
	if names := h.signOnNames(); len(names) > 0 {
		d.SignOn = &names[0]
		if len(names) > 1 {
			d.SignOnWith = &names
		}
	}
	if d.Account != nil {
		d.Grants, d.Roles, d.Limits = listed(who.Grants()), listed(who.Roles()), limitsOf(who.Limits())
		d.Usage = h.usageOf(who.Account())
	}
	if a, ok := who.SignedOn(); ok {
		d.SignedOn = &SignedOn{Issuer: a.Issuer, Subject: a.Subject, Expires: maybeAt(a.Expires)}
	}
	return d
}

// Whoami says who the caller is.
func (h *handler) Whoami(ctx context.Context, _ WhoamiRequestObject) (WhoamiResponseObject, error) {
	return Whoami200JSONResponse(h.whoami(access.From(ctx))), nil
}

// Login checks a password, and sets the cookie of a login.
func (h *handler) Login(ctx context.Context, r LoginRequestObject) (LoginResponseObject, error) {
	who := access.From(ctx)
	secret, p, err := h.Access.Login(ctx, r.Body.Account, r.Body.Password, who.Host())
	if err != nil {
		return nil, err
	}
	setLogin(ctx, secret)
	return Login200JSONResponse(h.whoami(access.Caller{Principal: p, Address: who.Address})), nil
}

// Logout ends the login of the caller, and says where to end that of its issuer.
func (h *handler) Logout(ctx context.Context, _ LogoutRequestObject) (LogoutResponseObject, error) {
	who := access.From(ctx)
	h.Access.Logout(who.Principal)
	setLogin(ctx, "")
	if page := h.logoutPage(ctx, who); page != "" {
		return Logout200JSONResponse{Url: page}, nil
	}
	return Logout204Response{}, nil
}

// Setup sets the first administrator.
func (h *handler) Setup(ctx context.Context, r SetupRequestObject) (SetupResponseObject, error) {
	who := access.From(ctx)
	secret, p, err := h.Access.Setup(context.WithoutCancel(ctx), r.Body.Secret, r.Body.Account, r.Body.Password, who.Host())
	if err != nil {
		return nil, err
	}
	setLogin(ctx, secret)
	return Setup200JSONResponse(h.whoami(access.Caller{Principal: p, Address: who.Address})), nil
}

// CreateTicket creates a ticket for a WebSocket.
func (h *handler) CreateTicket(ctx context.Context, _ CreateTicketRequestObject) (CreateTicketResponseObject, error) {
	secret, err := h.Access.Ticket(access.From(ctx).Principal)
	if err != nil {
		return nil, err
	}
	return CreateTicket201JSONResponse{Ticket: secret, Seconds: int(access.TicketTime.Seconds())}, nil
}

// exchange is a request and where its answer goes: cookies are headers of both.
type exchange struct {
	w   http.ResponseWriter
	req *http.Request
}

type exchangeKey struct{}

// setLogin sets the cookie of a login, or removes it.
func setLogin(ctx context.Context, secret string) {
	if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
		http.SetCookie(x.w, access.LoginCookie(x.req, secret))
	}
}
