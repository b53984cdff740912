package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// roleCommand is the noun for named sets of grants.
func (a *app) roleCommand() *cobra.Command {
	return a.administers(parent("role", "Define roles: named sets of grants that accounts share",
		"A role is a named set of grants. The built-in ones can be neither changed nor removed.\n\n"+grantHelp,
		a.roleList(), a.rolePut(), a.roleRemove()))
}

func (a *app) roleList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the roles and their grants", Args: wants(), Aliases: []string{"ls"}, Example: "  zbus role list",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			d, err := do[apimodel.RoleList](ctx, c, "GET /roles", nil)
			if err != nil {
				return err
			}
			t := newTable("NAME", "GRANTS", "LIMITS", "", "NOTE")
			for _, x := range d.value.Roles {
				if i.json {
					if err := i.printJSON(x); err != nil {
						return err
					}
					continue
				}
				t.add(x.Name, strings.Join(x.Grants, " "), limitsOf(x.Limits), mark(x.BuiltIn, "built in"), oneLine(text(x.Note), 80))
			}
			if i.json {
				return nil
			}
			return i.printTable(t, "no roles")
		}),
	}
}

func (a *app) rolePut() *cobra.Command {
	var grants, limits []string
	var note string
	cmd := &cobra.Command{
		Use: "put NAME --grant GRANT", Short: "Add a role, or set the grants of one", Args: wants("NAME"), Long: "Add a role, or set the grants of one: what it had before is taken away.\n\n" + grantHelp + "\n\n" + limitHelp,
		Example: "  zbus role put clerk --grant 'publish,consume:orders.#' --grant observe",
	}
	cmd.RunE = a.administer(func(ctx context.Context, i *invocation, c *api) error {
		if len(grants) == 0 {
			return usage("role put: --grant is missing, such as --grant 'publish:orders.#'")
		}
		bounds, err := parseLimits("role put", limits)
		if err != nil {
			return err
		}
		body := apimodel.RoleBody{Grants: grants, Limits: bounds, Note: filled[string](note)}
		d, err := do[apimodel.Role](ctx, c, "PUT /roles/{role}", body, i.args[0])
		if err != nil {
			return err
		}
		if i.json {
			return i.printJSON(d.raw)
		}
		return i.printFields("role", d.value.Name, "grants", strings.Join(d.value.Grants, " "), "limits", limitsOf(d.value.Limits), "note", oneLine(text(d.value.Note), 200))
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().StringArrayVar(&grants, "grant", nil, "a `GRANT` of it; several times for several")
	cmd.Flags().StringArrayVar(&limits, "limit", nil, "a `LIMIT` of each account that has it and none of its own; several times for several")
	cmd.Flags().StringVar(&note, "note", "", "a `TEXT` for people")
	return cmd
}

func (a *app) roleRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a role that no account has", Args: wants("NAME"), Aliases: []string{"rm"}, Example: "  zbus role remove clerk",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			if _, err := c.answer(c.send(ctx, "DELETE /roles/{role}", nil, i.args[0])); err != nil {
				return err
			}
			i.say("the role %s is removed", i.args[0])
			return nil
		}),
	}
}
