package cli

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

func (a *app) serverAudit() *cobra.Command {
	var action, target string
	var most int
	cmd := &cobra.Command{
		Use: "audit", Short: "List who changed what, newest first", Args: wants(),
		Example: "  zbus server audit\n  zbus server audit --action topic. --target orders",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			p := apimodel.ListAuditParams{Action: filled[string](action), Target: filled[string](target), Limit: ptr(100)}
			entries, err := collect(list[apimodel.AuditEntry](c, "entries", func(after *string) (*http.Response, error) {
				p.After = after
				return c.send(ctx, "GET /audit", &p)
			}), most)
			if err != nil {
				return err
			}
			return i.printAudit(entries)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&action, "action", "", "only `ACTION`s that begin so, such as topic.")
	cmd.Flags().StringVar(&target, "target", "", "only on this `TOPIC` or TOPIC/GROUP")
	cmd.Flags().IntVarP(&most, "limit", "n", 20, "at most this `NUMBER`; 0 is all")
	return cmd
}

func (i *invocation) printAudit(entries []decoded[apimodel.AuditEntry]) error {
	t := newTable("TIME", "BY", "ACTION", "TARGET", "DETAIL")
	for _, d := range entries {
		if i.json {
			if err := i.printJSON(d.raw); err != nil {
				return err
			}
			continue
		}
		e := d.value
		t.add(i.when(e.Time), e.Actor, e.Action, e.Target, oneLine(e.Detail, 80))
	}
	if i.json {
		return nil
	}
	return i.printTable(t, "nothing was changed")
}
