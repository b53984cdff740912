package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// tokenCommand is the noun for the secrets of programs.
func (a *app) tokenCommand() *cobra.Command {
	return a.administers(parent("token", "Create, rotate and revoke the tokens of accounts",
		"A token is a secret by which a program acts as an account. It is printed once, when it is\n"+
			"created or rotated; the broker keeps a hash of it.\n\n"+grantHelp,
		a.tokenCreate(), a.tokenList(), a.tokenRotate(), a.tokenRevoke()))
}

func (a *app) tokenCreate() *cobra.Command {
	var grants []string
	var note string
	var expires duration
	cmd := &cobra.Command{
		Use: "create [ACCOUNT]", Short: "Create a token and print it", Args: wants("[ACCOUNT]"),
		Long: "Create a token for an account, or for your own. It may do what the account may or, with\n" +
			"--grant, only what both the account and these grants allow. Standard output has the token\n" +
			"alone.\n\n" +
			"For other accounts this takes the grant access. A token that you create with a token may not\n" +
			"have more than that one, does not last longer, and ends with it.\n\n" + grantHelp,
		Example: "  zbus token create shop --expires 90d > shop.token\n  zbus token create shop --grant 'publish:orders.#' --json",
	}
	cmd.RunE = a.administer(func(ctx context.Context, i *invocation, c *api) error {
		account := ""
		if len(i.args) > 0 {
			account = i.args[0]
		}
		spec := apimodel.TokenSpec{Account: filled[string](account), Note: filled[string](note), Grants: filledList(grants)}
		if cmd.Flags().Changed("expires") {
			if expires.Duration == 0 {
				return usage("--expires 0: leave it out for a token that does not expire")
			}
			spec.Expires = ptr(time.Now().Add(expires.Duration))
		}
		return i.printNewToken(do[apimodel.NewToken](ctx, c, "POST /tokens", spec))
	})
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&grants, "grant", nil, "only what this `GRANT` allows, too; several times for several")
	f.Var(&expires, "expires", "after how long it is no longer good, such as 90d; without it never")
	f.StringVar(&note, "note", "", "a `TEXT` for people")
	return cmd
}

// printNewToken prints a token that is seen only this once.
func (i *invocation) printNewToken(d decoded[apimodel.NewToken], err error) error {
	if err != nil {
		return err
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	until := "does not expire"
	if d.value.Expires != nil {
		until = "expires " + i.when(*d.value.Expires)
	}
	i.say("token %s of account %s, %s; it is shown only now", d.value.Id, d.value.Account, until)
	fmt.Fprintln(i.out, d.value.Token)
	return nil
}

func (a *app) tokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list [ACCOUNT]", Short: "List tokens, without their secrets", Args: wants("[ACCOUNT]"), Aliases: []string{"ls"}, Example: "  zbus token list shop",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			p := &apimodel.ListTokensParams{}
			if len(i.args) > 0 {
				p.Account = &i.args[0]
			}
			d, err := do[apimodel.TokenList](ctx, c, "GET /tokens", p)
			if err != nil {
				return err
			}
			return i.printTokens(d.value.Tokens)
		}),
	}
}

func (i *invocation) printTokens(tokens []apimodel.Token) error {
	t := newTable("ID", "ACCOUNT", "GRANTS", "EXPIRES", "LAST USED", "CREATED", "NOTE")
	for _, x := range tokens {
		if i.json {
			if err := i.printJSON(x); err != nil {
				return err
			}
			continue
		}
		expires, used := "never", "never"
		if x.Expires != nil {
			if expires = i.when(*x.Expires); x.Expires.Before(time.Now()) {
				expires = "expired"
			}
		}
		if x.Used != nil {
			used = i.when(*x.Used)
		}
		t.add(x.Id, x.Account, oneLine(strings.Join(x.Grants, " "), 60), expires, used, i.when(x.Created), oneLine(text(x.Note), 40))
	}
	if i.json {
		return nil
	}
	return i.printTable(t, "no tokens; create one with zbus token create ACCOUNT")
}

func (a *app) tokenRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate ID", Short: "Give a token another secret and print it; the old one is no longer good", Args: wants("ID"), Example: "  zbus token rotate abcdefgh",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			return i.printNewToken(do[apimodel.NewToken](ctx, c, "POST /tokens/{token}:rotate", nil, tokenID(i.args[0])))
		}),
	}
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token; its connections end", Args: wants("ID"), Example: "  zbus token revoke abcdefgh",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			id := tokenID(i.args[0])
			if _, err := c.answer(c.send(ctx, "DELETE /tokens/{token}", nil, id)); err != nil {
				return err
			}
			i.say("token %s is revoked", id)
			return nil
		}),
	}
}

// tokenID is the id of a token, of which the whole may be given: that must not end in a URL.
func tokenID(text string) string {
	rest, whole := strings.CutPrefix(text, "zb_")
	if !whole {
		return text
	}
	id, _, _ := strings.Cut(rest, "_")
	return id
}
