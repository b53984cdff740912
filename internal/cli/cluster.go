package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// clusterCommand is the noun for brokers that share a database.
func (a *app) clusterCommand() *cobra.Command {
	cmd := parent("cluster", "Look at the brokers that share a database",
		"Look at the brokers that share a PostgreSQL database: which one is active, which ones\nwait, what the database's servers are, and who took over when and why.",
		a.clusterStatus())
	return a.connected(a.shows(cmd))
}

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Example: "  zbus cluster status --server mq1.example.com", Short: "Show the brokers, the database's servers and the takeovers", Args: wants(),
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			d, err := do[apimodel.ClusterStatus](ctx, c, "GET /cluster", nil)
			if err != nil {
				return err
			}
			if i.json {
				return i.printJSON(d.raw)
			}
			return i.printFields(i.clusterFields(&d.value)...)
		}),
	}
}

// clusterFields are the lines of a status.
func (i *invocation) clusterFields(d *apimodel.ClusterStatus) (fields []string) {
	for _, n := range d.Nodes {
		line := n.Name + " at " + n.Address
		if n.Topics != nil {
			line += ", " + number(*n.Topics) + " topics"
		}
		fields = append(fields, string(n.State), line)
	}
	if d.Database == nil {
		return append(fields, "database", "a file of this broker alone")
	}
	held := "on this server alone"
	if d.Database.Synchronous {
		held = "replicated"
	}
	fields = append(fields, "database", d.Database.Primary+", messages are "+held)
	for _, s := range d.Database.Standbys {
		line := s.Name
		if s.Address != nil {
			line += " at " + *s.Address
		}
		if s.Synchronous {
			line += ", synchronous"
		}
		if s.Lag != nil {
			line += ", " + size(*s.Lag) + " behind"
		}
		fields = append(fields, "standby", line)
	}
	for _, t := range d.Takeovers {
		line := i.when(t.Time) + " " + t.Node + ", " + string(t.Reason)
		if t.Previous != nil {
			line += " after " + *t.Previous
		}
		fields = append(fields, "takeover", line)
	}
	return fields
}
