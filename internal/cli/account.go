package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

const (
	person  = apimodel.AccountKind("person")
	program = apimodel.AccountKind("program")
)

// grantHelp is what help says of grants.
const grantHelp = "A grant is VERB:TOPIC, or VERB:TOPIC/GROUP for consume, manage and move, such as\n" +
	"'publish:orders.#' or 'consume:orders/billing'; several verbs have commas between them.\n" +
	"Topic and group are patterns as in filters, {account} is the account's own name. Verbs:\n" +
	"publish, consume, browse, manage, move, call, serve; and without a topic: observe, sessions,\n" +
	"access, admin, join."

// accountCommand is the noun for those who act.
func (a *app) accountCommand() *cobra.Command {
	return a.administers(parent("account", "Add, change and remove the accounts of those who may use a broker",
		"An account is a person, who logs in with a password, or a program, which has tokens. Its roles\n"+
			"and grants say what it may do; changes hold at once, also for open connections. The first\n"+
			"account turns access on, and has to be an administrator.\n\n"+grantHelp+"\n\n"+
			"With --data the accounts are those of a directory whose broker is stopped.",
		a.accountAdd(), a.accountList(), a.accountShow(), a.accountGrant(), a.accountLimit(), a.accountPasswd(),
		a.accountSwitch("disable", "Let an account do nothing until it is enabled; its connections end", true),
		a.accountSwitch("enable", "Let a disabled account in again", false), a.accountReset(), a.accountRemove()))
}

// accountFlags are the flags of what an account is.
type accountFlags struct {
	admin, stdin  bool
	roles, grants []string
	kind, note    string
}

func (a *app) accountAdd() *cobra.Command {
	var o accountFlags
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add an account", Args: wants("NAME"),
		Long: "Add an account: a person, who is asked for a password or whose password is the line on\n" +
			"standard input, or a program. It is a person with --admin or a password, else a program.\n\n" + grantHelp,
		Example: "  zbus account add ann --admin\n" +
			"  zbus account add shop --grant 'publish:orders.#' --grant 'consume:prices/shop'\n" +
			"  pass show zbus | zbus account add ann --admin --password-stdin --data /var/lib/zbus",
		PreRun: func(*cobra.Command, []string) { a.directory.create = true },
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			return i.addAccount(ctx, c, &o)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.admin, "admin", false, "it may do everything: the same as --role admin")
	f.StringArrayVar(&o.roles, "role", nil, "a `ROLE` that it has; several times for several; see zbus role list")
	f.StringArrayVar(&o.grants, "grant", nil, "a `GRANT` that it has besides; several times for several")
	f.StringVar(&o.kind, "kind", "", "`KIND`: person, program, or sso for who signs on with the issuer")
	f.StringVar(&o.note, "note", "", "a `TEXT` for people")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// addAccount adds the account that the first argument names.
func (i *invocation) addAccount(ctx context.Context, c *api, o *accountFlags) error {
	if o.admin {
		o.roles = append(o.roles, "admin")
	}
	kind := apimodel.AccountKind(o.kind)
	if kind == "" {
		kind = program
		if o.admin || o.stdin {
			kind = person
		}
	}
	administers := slices.Contains(o.roles, "admin") || slices.Contains(o.grants, "admin")
	if err := i.notLockedOut(ctx, c, administers); err != nil {
		return err
	}
	body := apimodel.NewAccount{Name: i.args[0], Kind: &kind, Roles: filledList(o.roles), Grants: filledList(o.grants), Note: filled[string](o.note)}
	switch {
	case kind == person:
		password, err := i.newPassword(ctx, o.stdin)
		if err != nil {
			return err
		}
		body.Password = &password
	case o.stdin:
		return usage("account add: only a person has a password here; for a program see zbus token create")
	}
	d, err := do[apimodel.Account](ctx, c, "POST /accounts", body)
	if err != nil {
		return err
	}
	if err := i.showAccount(d, nil); err != nil {
		return err
	}
	if kind == program {
		i.say("create a token for it with zbus token create %s", d.value.Name)
	}
	return nil
}

// notLockedOut refuses a first account that turns access on and can't administrate.
func (i *invocation) notLockedOut(ctx context.Context, c *api, administers bool) error {
	if administers {
		return nil
	}
	who, err := do[apimodel.Whoami](ctx, c, "GET /whoami", nil)
	if err != nil || who.value.Access == "on" {
		return err
	}
	all, err := do[apimodel.AccountList](ctx, c, "GET /accounts", nil)
	if err != nil || len(all.value.Accounts) > 0 {
		return err
	}
	return fail(zbus.ErrConflict, "the first account turns access on, so it has to be an administrator: zbus account add NAME --admin")
}

// filledList is a list, or nil when it is empty.
func filledList(list []string) *[]string {
	if len(list) == 0 {
		return nil
	}
	return &list
}

func (a *app) accountList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the accounts", Args: wants(), Aliases: []string{"ls"}, Example: "  zbus account list",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			d, err := do[apimodel.AccountList](ctx, c, "GET /accounts", nil)
			if err != nil {
				return err
			}
			t := newTable("NAME", "KIND", "ROLES", "GRANTS", "LIMITS", ">TOKENS", "STATE", "NOTE")
			for _, x := range d.value.Accounts {
				if i.json {
					if err := i.printJSON(x); err != nil {
						return err
					}
					continue
				}
				t.add(x.Name, string(x.Kind), strings.Join(x.Roles, " "), oneLine(strings.Join(x.Grants, " "), 60), limitsOf(x.Limits),
					fmt.Sprint(x.Tokens), mark(x.Disabled, "disabled"), oneLine(text(x.Note), 40))
			}
			if i.json {
				return nil
			}
			return i.printTable(t, "no accounts; add the first with zbus account add NAME --admin")
		}),
	}
}

func (a *app) accountShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show an account and its tokens", Args: wants("NAME"), Example: "  zbus account show ann",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			d, err := do[apimodel.Account](ctx, c, "GET /accounts/{account}", nil, i.args[0])
			if err != nil {
				return err
			}
			tokens, err := do[apimodel.TokenList](ctx, c, "GET /tokens", &apimodel.ListTokensParams{Account: &d.value.Name})
			if err != nil {
				return err
			}
			return i.showAccount(d, tokens.value.Tokens)
		}),
	}
}

// showAccount prints an account, and tokens of it.
func (i *invocation) showAccount(d decoded[apimodel.Account], tokens []apimodel.Token) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	x := d.value
	password := "none"
	if x.Password {
		password = "set"
	}
	if err := i.printFields("account", x.Name, "kind", string(x.Kind), "state", mark(x.Disabled, "disabled"), "roles", strings.Join(x.Roles, " "),
		"grants", strings.Join(x.Grants, " "), "limits", limitsOf(x.Limits), "in use", usageOf(x.Usage, x.Limits), "password", mark(x.Kind == person, password), "note", oneLine(text(x.Note), 200),
		"created", i.when(x.Created), "changed", i.when(x.Updated)); err != nil || len(tokens) == 0 {
		return err
	}
	fmt.Fprintln(i.out)
	return i.printTokens(tokens)
}

// changeAccount changes the account that the first argument names.
func (i *invocation) changeAccount(ctx context.Context, c *api, change apimodel.AccountChange) error {
	d, err := do[apimodel.Account](ctx, c, "PATCH /accounts/{account}", change, i.args[0])
	if err != nil {
		return err
	}
	return i.showAccount(d, nil)
}

func (a *app) accountGrant() *cobra.Command {
	var roles []string
	var none bool
	cmd := &cobra.Command{
		Use: "grant NAME [GRANT...]", Short: "Set what an account may do", Args: wants("NAME", "GRANT..."),
		Long:    "Set the grants of an account, or with --role its roles, to those given. What it had before\nis taken away.\n\n" + grantHelp,
		Example: "  zbus account grant shop 'publish:orders.#' 'consume:prices/shop'\n  zbus account grant ann --role operator --role publisher",
	}
	cmd.RunE = a.administer(func(ctx context.Context, i *invocation, c *api) error {
		change := apimodel.AccountChange{Roles: given(cmd, "role", roles), Grants: filledList(i.args[1:])}
		if none && change.Grants == nil {
			change.Grants = &[]string{}
		} else if none || change.Grants == nil && change.Roles == nil {
			return usage("account grant: say which grants or roles, or --none to take the grants away")
		}
		return i.changeAccount(ctx, c, change)
	})
	cmd.Flags().StringArrayVar(&roles, "role", nil, "set the roles: a `ROLE`; several times for several")
	cmd.Flags().BoolVar(&none, "none", false, "no grants but those of its roles")
	return cmd
}

// accountSwitch creates the commands that disable and enable.
func (a *app) accountSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: wants("NAME"), Example: "  zbus account " + verb + " shop",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			return i.changeAccount(ctx, c, apimodel.AccountChange{Disabled: &disabled})
		}),
	}
}

func (a *app) accountPasswd() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use: "passwd NAME", Short: "Set a password", Args: wants("NAME"),
		Long: "Set the password of an account. For your own account without the grant access the old one\n" +
			"is asked for, too; on standard input it is the line before the new one. Logins to the console\n" +
			"end; tokens do not.",
		Example: "  zbus account passwd ann\n  pass show zbus | zbus account passwd ann --password-stdin",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			return i.setPassword(ctx, c, stdin)
		}),
	}
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (i *invocation) setPassword(ctx context.Context, c *api, stdin bool) error {
	body := apimodel.NewPassword{}
	if stdin {
		lines, err := i.secretLines(ctx, "password in one line, or the old one and the new one in two", 2)
		if err != nil {
			return err
		}
		if body.Password = lines[len(lines)-1]; len(lines) > 1 {
			body.Old = &lines[0]
		}
	} else {
		old, err := i.oldPassword(ctx, c)
		if err != nil {
			return err
		}
		if body.Password, err = i.newPassword(ctx, false); err != nil {
			return err
		}
		body.Old = old
	}
	if _, err := c.answer(c.send(ctx, "PUT /accounts/{account}/password", body, i.args[0])); err != nil {
		return err
	}
	i.say("the password of %s is set", i.args[0])
	return nil
}

// oldPassword asks for the present password if that is needed; else it is nil.
func (i *invocation) oldPassword(ctx context.Context, c *api) (*string, error) {
	who, err := do[apimodel.Whoami](ctx, c, "GET /whoami", nil)
	if err != nil || who.value.Access == "off" || !strings.EqualFold(text(who.value.Account), i.args[0]) {
		return nil, err
	}
	may, err := do[apimodel.AccessAnswer](ctx, c, "POST /access:check", apimodel.AccessQuestion{Verb: "access"})
	if err != nil || may.value.Allowed {
		return nil, err
	}
	old, err := i.askSecret(ctx, "Present password")
	return &old, err
}

func (a *app) accountReset() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use: "reset NAME --data DIR", Short: "The way back in, when no administrator can log in", Args: wants("NAME"),
		Long: "Make sure that an account is there in the directory of a stopped broker, is enabled, may do\n" +
			"everything, and has the password on standard input or, without --password-stdin, a new one\n" +
			"that is printed.",
		Example: "  zbus account reset ann --data /var/lib/zbus",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			if a.directory.data == "" {
				return usage("account reset: works on the directory of a stopped broker; name it with --data DIR")
			}
			return i.resetAccount(ctx, c, stdin)
		}),
	}
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (i *invocation) resetAccount(ctx context.Context, c *api, stdin bool) error {
	password := strings.ToLower(rand.Text())
	if stdin {
		var err error
		if password, err = i.newPassword(ctx, true); err != nil {
			return err
		}
	}
	all, err := do[apimodel.AccountList](ctx, c, "GET /accounts", nil)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all.value.Accounts, func(x apimodel.Account) bool { return strings.EqualFold(x.Name, i.args[0]) })
	switch {
	case at < 0:
		_, err = c.answer(c.send(ctx, "POST /accounts", apimodel.NewAccount{Name: i.args[0], Kind: ptr(person), Roles: &[]string{"admin"}, Password: &password}))
	case all.value.Accounts[at].Kind != person:
		return usage("account reset: %s is no person, and has no password; name a person, or a new account", i.args[0])
	default:
		_, err = c.answer(c.send(ctx, "PUT /accounts/{account}/password", apimodel.NewPassword{Password: password}, i.args[0]))
		if err == nil {
			roles := append(all.value.Accounts[at].Roles, "admin")
			_, err = c.answer(c.send(ctx, "PATCH /accounts/{account}", apimodel.AccountChange{Roles: &roles, Disabled: ptr(false)}, i.args[0]))
		}
	}
	if err != nil {
		return err
	}
	i.say("%s may do everything; start the broker and log in", i.args[0])
	if !stdin {
		i.say("its password:")
		fmt.Fprintln(i.out, password)
	}
	return nil
}

func (a *app) accountRemove() *cobra.Command {
	return a.asks(&cobra.Command{
		Use: "remove NAME", Short: "Remove an account and its tokens", Args: wants("NAME"), Aliases: []string{"rm"}, Example: "  zbus account remove shop --yes",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			d, err := do[apimodel.Account](ctx, c, "GET /accounts/{account}", nil, i.args[0])
			if err != nil {
				return err
			}
			loss := fmt.Sprintf("this removes the account %s with %s; its connections end", d.value.Name, counted(format(int64(d.value.Tokens)), "token", "tokens"))
			if err := i.confirm(ctx, loss, "Remove it?"); err != nil {
				return err
			}
			if _, err := c.answer(c.send(ctx, "DELETE /accounts/{account}", nil, i.args[0])); err != nil {
				return err
			}
			i.say("the account %s is removed", d.value.Name)
			return nil
		}),
	})
}
