package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

func (a *app) whoamiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "whoami", Short: "Show who the broker takes you for, and what you may do", Args: wants(), Example: "  zbus whoami",
		Long: "Show who the broker takes you for, and what you may do.\n\nExit code 77: access is on, and it does not know who you are.",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			d, err := do[apimodel.Whoami](ctx, c, "GET /whoami", nil)
			if err != nil {
				return err
			}
			return i.showWhoami(c.server, d)
		}),
	}
	return a.connected(a.shows(cmd))
}

func (i *invocation) showWhoami(s *Server, d decoded[apimodel.Whoami]) error {
	w := d.value
	unknown := w.Access == "on" && w.Account == nil
	if i.json {
		if err := i.printJSON(d.raw); err != nil {
			return err
		}
	} else if !unknown {
		access := "on"
		if w.Access == "off" {
			access = "off: all clients may do everything"
		}
		if err := i.printFields("server", s.Host, "access", access, "account", text(w.Account), "roles", strings.Join(w.Roles, " "),
			"grants", strings.Join(w.Grants, " "), "limits", limitsOf(w.Limits), "in use", usageOf(w.Usage, w.Limits), "token", text(w.Token), "signed on", signedOn(w.SignedOn), "address", w.Address); err != nil {
			return err
		}
	}
	if unknown {
		return fail(zbus.ErrUnauthorized, "%s does not know who you are: a token is needed%s", s.Host, sayWho)
	}
	return nil
}

// signedOn is what an issuer says of a person; "", if none does.
func signedOn(s *apimodel.SignedOn) string {
	if s == nil {
		return ""
	}
	return s.Subject + " of " + s.Issuer
}

func (a *app) canCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "can ACCOUNT VERB [TOPIC[/GROUP]]", Short: "Ask whether an account may do something, and why", Args: wants("ACCOUNT", "VERB", "[TOPIC[/GROUP]]"),
		Long: "Ask whether an account may do something. The answer is the grant that allows it, with the\n" +
			"role that has it, or the grant that is missing; tokens may have less. About other accounts\n" +
			"than your own it takes the grant access.\n\nExit code 0: it may; 1: it may not.",
		Example: "  zbus can shop publish orders.eu\n  zbus can billing consume orders/billing && echo yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			q := apimodel.AccessQuestion{Account: &i.args[0], Verb: i.args[1]}
			what := i.args[1]
			if len(i.args) > 2 {
				what += " " + i.args[2]
				topic, group, grouped := strings.Cut(i.args[2], "/")
				if q.Topic = &topic; grouped {
					q.Group = &group
				}
			}
			what = oneLine(what, 200)
			d, err := do[apimodel.AccessAnswer](ctx, c, "POST /access:check", q)
			if err != nil {
				return err
			}
			if i.json {
				if err := i.printJSON(d.raw); err != nil {
					return err
				}
			}
			if !d.value.Allowed {
				return fail(ErrDeclined, "%s may not %s: missing %s", i.args[0], what, text(d.value.Missing))
			}
			if !i.json {
				fmt.Fprintf(i.out, "%s may %s: %s\n", i.args[0], what, text(d.value.By))
			}
			return nil
		}),
	}
	return a.connected(a.shows(cmd))
}
