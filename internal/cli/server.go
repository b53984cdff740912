package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// serverCommand is the noun for the broker itself.
func (a *app) serverCommand() *cobra.Command {
	cmd := parent("server", "Look at a broker, its connections and its history",
		"Look at a broker: what it is and does, who is connected, who changed what, and what\nis defined in it.",
		a.serverInfo(), a.serverStats(), a.serverList(), a.serverSessions(), a.serverDisconnect(), a.serverAudit(), a.serverConfirmClock(), a.serverDrain(), a.serverUndrain(),
		a.serverExport(), a.serverImport())
	return a.connected(a.shows(cmd))
}

func (a *app) serverInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info", Example: "  zbus server info --server mq.example.com", Short: "Show what a broker is and has", Args: wants(),
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			d, err := do[apimodel.ServerStatus](ctx, c, "GET /server", nil)
			if err != nil {
				return err
			}
			if i.json {
				return i.printJSON(d.raw)
			}
			s := d.value
			free := ""
			if s.DiskFree != nil {
				free = ", " + size(*s.DiskFree) + " free on the disk"
			}
			if s.Disk != nil && s.Disk.Stopped {
				free += ": publishing is stopped below " + size(s.Disk.Floor)
			}
			fields := []string{
				"server", s.Address, "version", s.Version, "durability", string(s.Durability),
				"started", i.when(s.Started) + ", " + millis(s.Uptime) + " ago",
				"topics", number(s.Topics), "groups", number(s.Groups), "connections", number(s.Connections),
				"messages", count(s.Messages) + " (" + size(s.Bytes) + ")", "database", size(s.Database) + free, "memory", size(s.Memory),
				"backup", i.lastBackup(s.Backup),
				"rates", rate(s.Rates.In) + "/s in, " + rate(s.Rates.Out) + "/s out",
			}
			for _, c := range s.Conditions {
				fields = append(fields, string(c.Severity), c.Text)
			}
			return i.printFields(fields...)
		}),
	}
}

func (a *app) serverList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Example: "  zbus server list", Short: "List the brokers that this one knows, itself included", Aliases: []string{"ls"}, Args: wants(),
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			t := newTable("SERVER", "STATE", "SINCE", "HEARD", "VERSION", ">TOPICS", ">GROUPS", ">MESSAGES", ">CONNECTIONS", ">IN/S", ">OUT/S", ">DISK FREE")
			all := list[apimodel.KnownServer](c, "servers", func(*string) (*http.Response, error) { return c.send(ctx, "GET /servers", nil) })
			return printPages(i, all, t, "no servers", func(s *apimodel.KnownServer) { t.add(i.knownServer(s)...) })
		}),
	}
}

// knownServer is a line of the list of servers. Of one that is not reached little is known.
func (i *invocation) knownServer(s *apimodel.KnownServer) []string {
	heard, version, topics := "", "", ""
	switch {
	case s.This:
		heard = "this one"
	case s.Age >= 0:
		heard = millis(s.Age) + " ago"
	}
	if s.Version != nil {
		version = *s.Version
	}
	if s.Topics != nil {
		topics = number(*s.Topics)
	}
	cells := []string{s.Address, string(s.State), i.when(s.Since), heard, version, topics}
	if s.Groups == nil || s.Messages == nil || s.Connections == nil || s.Rates == nil {
		return append(cells, "", "", "", "", "", "")
	}
	free := ""
	if s.DiskFree != nil {
		free = size(*s.DiskFree)
	}
	if s.Disk != nil && s.Disk.Stopped {
		free += ", too little"
	}
	return append(cells, number(*s.Groups), count(*s.Messages), number(*s.Connections), rate(s.Rates.In), rate(s.Rates.Out), free)
}

func (a *app) serverStats() *cobra.Command {
	var over string
	var most int
	f := following{}
	cmd := &cobra.Command{
		Use: "stats", Short: "Show rates and lag of the last minutes or hours, or with -f as they come", Args: wants(),
		Example: "  zbus server stats\n  zbus server stats -f\n  zbus server stats --range 24h --json",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.stats(ctx, c, over, most, &f)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&over, "range", "15m", "`RANGE`: 15m (a point a second) or 24h (one every 15 seconds)")
	cmd.Flags().IntVarP(&most, "limit", "n", 20, "begin with this `NUMBER` of points; 0 is all")
	f.register(cmd, "new points")
	_ = cmd.RegisterFlagCompletionFunc("range", cobra.FixedCompletions([]string{"15m", "24h"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// stats prints the newest points, and if it is to follow those that come.
func (i *invocation) stats(ctx context.Context, c *api, over string, most int, f *following) error {
	if over != "15m" && over != "24h" {
		return usage("--range %q: must be 15m or 24h", over)
	}
	p := &apimodel.GetStatsParams{Range: ptr(apimodel.GetStatsParamsRange(over))}
	var last time.Time
	if !i.json {
		fmt.Fprintf(i.out, "%-*s %9s %9s %9s %12s %12s %12s\n", len(timeFormat), "TIME", "IN/S", "OUT/S", "CALLS/S", "LAG", "CONNECTIONS", "BACKLOG")
	}
	for {
		points, err := i.newPoints(ctx, c, p, last)
		if err != nil {
			return err
		}
		if most > 0 && last.IsZero() {
			points = points[max(0, len(points)-most):]
		}
		for _, d := range points {
			if err := i.printPoint(d); err != nil {
				return err
			}
			last = d.value.Time
		}
		if !f.on {
			return nil
		}
		select {
		case <-time.After(max(f.every.Duration, 50*time.Millisecond)):
		case <-ctx.Done():
			return nil
		}
	}
}

// newPoints asks for the points after a time.
func (i *invocation) newPoints(ctx context.Context, c *api, p *apimodel.GetStatsParams, after time.Time) (points []decoded[apimodel.StatsPoint], err error) {
	fetch := func(*string) (*http.Response, error) { return c.send(ctx, "GET /stats", p) }
	for d, err := range list[apimodel.StatsPoint](c, "points", fetch) {
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case err != nil:
			return nil, err
		case d.value.Time.After(after):
			points = append(points, d)
		}
	}
	return points, nil
}

func (i *invocation) printPoint(d decoded[apimodel.StatsPoint]) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	v := d.value
	_, err := fmt.Fprintf(i.out, "%-*s %9s %9s %9s %12s %12s %12s\n", len(timeFormat), i.when(v.Time),
		rate(v.In), rate(v.Out), rate(v.Calls), mark(!v.LagExact, "~")+count(v.Lag), number(v.Connections), size(v.Backlog))
	return err
}

func (a *app) serverSessions() *cobra.Command {
	var f following
	var topic, protocol string
	cmd := &cobra.Command{
		Use: "sessions", Example: "  zbus server sessions --topic orders", Short: "List the connections that there are", Args: wants(),
		RunE: a.showing(&f, func(ctx context.Context, i *invocation, c *api) error { return i.listSessions(ctx, c, topic, protocol) }),
	}
	cmd.Flags().SortFlags = false
	sessionFlags(a, cmd, &topic, &protocol)
	f.register(cmd, "the connections")
	return cmd
}

func sessionFlags(a *app, cmd *cobra.Command, topic, protocol *string) {
	cmd.Flags().StringVar(topic, "topic", "", "only those that consume this `TOPIC`")
	cmd.Flags().StringVar(protocol, "protocol", "", "only those that speak this `PROTOCOL`: tcp, http, websocket or api")
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions([]string{"tcp", "http", "websocket", "api"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("topic", func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		return a.completeTopic(cmd, nil, begin)
	})
}

// filled returns a pointer to text, or nil when it is empty.
func filled[T ~string](text string) *T {
	if text == "" {
		return nil
	}
	return ptr(T(text))
}

func (i *invocation) listSessions(ctx context.Context, c *api, topic, protocol string) error {
	t := newTable("SESSION", "REMOTE", "PROTOCOL", "SINCE", ">IDLE", ">REQUESTS", ">MESSAGES", "CONSUMES")
	p := apimodel.ListSessionsParams{Topic: filled[string](topic), Protocol: filled[apimodel.Protocol](protocol), Limit: ptr(pageSize)}
	all := list[apimodel.Session](c, "sessions", func(after *string) (*http.Response, error) {
		p.After = after
		return c.send(ctx, "GET /sessions", &p)
	})
	return printPages(i, all, t, "no connections", func(s *apimodel.Session) {
		var subs []string
		for _, sub := range s.Subscriptions {
			subs = append(subs, sub.Topic+"/"+sub.Group)
		}
		t.add(s.Id, s.Remote, string(s.Protocol), i.when(s.Since), millis(s.Idle), count(s.In), count(s.Out), oneLine(strings.Join(subs, " "), 60))
	})
}

func (a *app) serverDisconnect() *cobra.Command {
	var topic, protocol, reason string
	cmd := &cobra.Command{
		Use: "disconnect [SESSION]", Short: "Disconnect one client, or those that consume a topic", Args: wants("[SESSION]"),
		Long: "Disconnect clients: one by its session (see zbus server sessions), or all that match the\n" +
			"flags. What they hold unacked goes to other consumers. Clients may connect again.",
		Example: "  zbus server disconnect --topic orders --yes\n  zbus server disconnect --protocol websocket --yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			if len(i.args) == 0 && topic == "" && protocol == "" {
				return usage("server disconnect: say whom: SESSION, --topic or --protocol")
			}
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.disconnect(ctx, c, topic, protocol, reason)
		}),
	}
	cmd.Flags().SortFlags = false
	sessionFlags(a, cmd, &topic, &protocol)
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that they are told")
	return a.asks(cmd)
}

func (i *invocation) disconnect(ctx context.Context, c *api, topic, protocol, reason string) error {
	p := apimodel.ListSessionsParams{Topic: filled[string](topic), Protocol: filled[apimodel.Protocol](protocol), Limit: ptr(pageSize)}
	sessions, err := collect(list[apimodel.Session](c, "sessions", func(after *string) (*http.Response, error) {
		p.After = after
		return c.send(ctx, "GET /sessions", &p)
	}), 0)
	if err != nil {
		return err
	}
	q := apimodel.CloseSessionsParams{Topic: p.Topic, Protocol: p.Protocol, Reason: filled[string](reason)}
	n, who := 0, ""
	for _, d := range sessions {
		if len(i.args) == 0 || d.value.Id == i.args[0] {
			n, who = n+1, " ("+d.value.Remote+")"
		}
	}
	if len(i.args) > 0 {
		if q.Id = &i.args[0]; n == 0 {
			return fail(zbus.ErrNotFound, "no session %q; see zbus server sessions", i.args[0])
		}
	}
	if n != 1 {
		who = ""
	}
	if err := i.confirm(ctx, "this disconnects "+counted(format(int64(n)), "client", "clients")+who, "Disconnect?"); err != nil {
		return err
	}
	d, err := do[struct{ Closed int64 }](ctx, c, "DELETE /sessions", &q)
	if err != nil {
		return err
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	fmt.Fprintf(i.out, "%s disconnected\n", counted(format(d.value.Closed), "client", "clients"))
	return nil
}
