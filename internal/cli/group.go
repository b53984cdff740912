package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// groupCommand is the noun for consume groups.
func (a *app) groupCommand() *cobra.Command {
	cmd := parent("group", "Make, look at, change and delete consume groups",
		"A consume group is a place in a topic. Its consumers share the messages behind it.\nzbus relocate moves it.",
		a.groupCreate(), a.groupApply(), a.groupList(), a.groupShow(), a.groupSet(), a.groupFilter(), a.groupJournal(), a.groupUndo(),
		a.groupSwitch("pause", "Stop delivery to a group, until it is resumed", true),
		a.groupSwitch("resume", "Resume delivery to a group", false), a.groupDelete())
	return a.connected(a.shows(cmd))
}

// groupFlags are the flags of what a group is.
type groupFlags struct {
	filter                string
	explicit, exclusive   bool
	ackTimeout            duration
	ackWindow, maxDeliver int64
}

func (g *groupFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&g.explicit, "explicit", false, "messages have to be acked, and come again when they are not")
	f.Var(&g.ackTimeout, "ack-timeout", "with --explicit: how long a consumer has for a message (10s)")
	f.Int64Var(&g.ackWindow, "ack-window", 0, "with --explicit: what `NUMBER` of messages may wait for acks (1000)")
	f.Int64Var(&g.maxDeliver, "max-deliver", 0, "with --explicit: after this `NUMBER` of deliveries a message goes to TOPIC.dead; 0 is never")
	f.BoolVar(&g.exclusive, "exclusive", false, "one consumer at a time")
}

// settle is what the flags say of acks.
func (g *groupFlags) settle(cmd *cobra.Command) *apimodel.SettleMode {
	if !cmd.Flags().Changed("explicit") {
		return nil
	}
	if g.explicit {
		return ptr(apimodel.Explicit)
	}
	return ptr(apimodel.Auto)
}

func (a *app) groupCreate() *cobra.Command {
	var g groupFlags
	var start string
	var paused, ifMissing bool
	cmd := &cobra.Command{
		Use: "create TOPIC GROUP", Short: "Create a consume group", Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopic,
		Long: "Create a consume group. It begins where the topic's most advanced group is, or at the\n" +
			"oldest message when there is none, unless --start says where.\n\n" + placeHelp,
		Example: "  zbus group create orders billing\n" +
			"  zbus group create orders audit --start earliest --filter 'eu.*;!eu.test' --explicit",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		body := apimodel.NewGroup{
			Name: i.args[1], Filter: given(cmd, "filter", g.filter), Settle: g.settle(cmd),
			AckTimeout: given(cmd, "ack-timeout", g.ackTimeout.Milliseconds()), AckWindow: given(cmd, "ack-window", g.ackWindow),
			MaxDeliver: given(cmd, "max-deliver", g.maxDeliver), Exclusive: given(cmd, "exclusive", g.exclusive), Paused: given(cmd, "paused", paused),
		}
		if start != "" {
			at, err := apiPosition("start", start, false)
			if err != nil {
				return err
			}
			body.Start = &at
		}
		return i.createGroup(ctx, body, ifMissing)
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&start, "start", "", "`PLACE` where it begins")
	cmd.Flags().StringVar(&g.filter, "filter", "", "only messages whose tag passes this `FILTER`, such as 'eu.*;!eu.test'")
	g.register(cmd)
	cmd.Flags().BoolVar(&paused, "paused", false, "deliver nothing until it is resumed")
	cmd.Flags().BoolVar(&ifMissing, "if-missing", false, "succeed when it is there already, whatever it is")
	return cmd
}

// createGroup creates a group of the topic that is the first argument.
func (i *invocation) createGroup(ctx context.Context, body apimodel.NewGroup, ifMissing bool) error {
	c, err := i.api()
	if err != nil {
		return err
	}
	d, err := do[apimodel.Group](ctx, c, "POST /topics/{topic}/groups", body, i.args[0])
	if ifMissing && errors.Is(err, zbus.ErrExists) {
		d, err = i.group(ctx, c, i.args[0], body.Name)
	}
	if err != nil {
		return hint(err, "see zbus topic list, or create the topic with zbus topic create %s", i.args[0])
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	fmt.Fprintf(i.out, "group %s/%s at offset %s, %s to come\n", d.value.Topic, d.value.Name,
		count(d.value.Cursor), counted(d.value.Lag, "message", "messages"))
	return nil
}

// apiPosition reads a place for the API.
func apiPosition(flag, text string, shifts bool) (apimodel.Position, error) {
	p, err := parsePlace(flag, text, shifts, time.Now())
	if err != nil {
		return apimodel.Position{}, err
	}
	return p.api()
}

// group asks for one group.
func (i *invocation) group(ctx context.Context, c *api, topic, group string) (decoded[apimodel.Group], error) {
	d, err := do[apimodel.Group](ctx, c, "GET /topics/{topic}/groups/{group}", nil, topic, group)
	return d, noGroup(err, topic, group, "")
}

func (a *app) groupList() *cobra.Command {
	var f following
	cmd := &cobra.Command{
		Use: "list [TOPIC]", Example: "  zbus group list orders\n  zbus group list -f", Short: "List the groups of a topic, or of all topics", Aliases: []string{"ls"},
		Args: wants("[TOPIC]"), ValidArgsFunction: a.completeTopic,
		RunE: a.showing(&f, func(ctx context.Context, i *invocation, c *api) error { return i.listGroups(ctx, c) }),
	}
	f.register(cmd, "the groups")
	return cmd
}

func (i *invocation) listGroups(ctx context.Context, c *api) error {
	groups, err := i.groups(ctx, c)
	if err != nil {
		return hint(err, "see zbus topic list")
	}
	if i.json {
		for _, d := range groups {
			if err := i.printJSON(d.raw); err != nil {
				return err
			}
		}
		return nil
	}
	if len(groups) == 0 {
		i.say("no groups; create one with zbus group create TOPIC GROUP")
		return nil
	}
	var all []apimodel.Group
	for _, d := range groups {
		all = append(all, d.value)
	}
	return i.printGroups(all, len(i.args) == 0)
}

// groups asks for the groups of the topic that is the first argument, or of all.
func (i *invocation) groups(ctx context.Context, c *api) (all []decoded[apimodel.Group], err error) {
	if len(i.args) > 0 {
		return collect(list[apimodel.Group](c, "groups", func(after *string) (*http.Response, error) {
			return c.send(ctx, "GET /topics/{topic}/groups", &apimodel.ListGroupsParams{After: after, Limit: ptr(pageSize)}, i.args[0])
		}), 0)
	}
	for t, err := range i.topics(ctx, c, nil) {
		if err != nil {
			return nil, err
		}
		raw, err := decode[struct{ Groups []rawJSON }](t.raw, nil)
		if err != nil {
			return nil, err
		}
		for n, g := range t.value.Groups {
			all = append(all, decoded[apimodel.Group]{raw.value.Groups[n], g})
		}
	}
	return all, nil
}

// printGroups prints a table of groups, with their topics when they are of several.
func (i *invocation) printGroups(groups []apimodel.Group, ofSeveral bool) error {
	t := newTable("GROUP", "FILTER", "SETTLE", ">NEXT", ">LAG", ">BEHIND", ">IN FLIGHT", ">CONSUMERS", ">OUT/S", "")
	for _, g := range groups {
		name := g.Name
		if ofSeveral {
			name = g.Topic + "/" + g.Name
		}
		t.add(name, oneLine(g.Filter, 30), string(g.Settle), count(g.Cursor), lag(&g), behind(&g), count(g.InFlight),
			number(len(g.Consumers)), rate(g.Rate), groupState(&g))
	}
	t.write(i.out)
	return nil
}

func lag(g *apimodel.Group) string { return mark(!g.LagExact, "~") + count(g.Lag) }

// behind is the age of the next message.
func behind(g *apimodel.Group) string {
	if g.LagSeconds == nil || *g.LagSeconds == 0 {
		return ""
	}
	return millis(int64(*g.LagSeconds * 1000))
}

func groupState(g *apimodel.Group) string {
	var all []string
	for _, s := range []string{mark(g.Paused, "paused"), mark(g.Exclusive, "exclusive"), mark(g.Ephemeral, "ephemeral")} {
		if s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ", ")
}

func (a *app) groupShow() *cobra.Command {
	var f following
	cmd := &cobra.Command{
		Use: "show TOPIC GROUP", Example: "  zbus group show orders billing -f", Short: "Show a group: where it is and how far behind", Args: wants("TOPIC", "GROUP"),
		ValidArgsFunction: a.completeTopicGroup,
		RunE: a.showing(&f, func(ctx context.Context, i *invocation, c *api) error {
			d, err := i.group(ctx, c, i.args[0], i.args[1])
			if err != nil {
				return err
			}
			return i.showGroup(d)
		}),
	}
	f.register(cmd, "the group")
	return cmd
}

func (i *invocation) showGroup(d decoded[apimodel.Group]) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	g := d.value
	acks := ""
	if g.Settle == apimodel.Explicit {
		acks = "within " + millis(g.AckTimeout) + ", at most " + counted(format(g.AckWindow), "message", "messages") + " wait for theirs"
		if g.MaxDeliver > 0 {
			acks += ", dead after " + counted(format(g.MaxDeliver), "delivery", "deliveries")
		}
	}
	late, drain := "", ""
	if b := behind(&g); b != "" {
		late = ", the next is " + b + " old"
	}
	if g.Drain != nil && g.Lag != "0" {
		drain = "in " + millis(*g.Drain)
	}
	return i.printFields(
		"group", g.Topic+"/"+g.Name, "state", groupState(&g), "filter", g.Filter, "settle", string(g.Settle), "acks", acks,
		"next offset", count(g.Cursor), "lag", lag(&g)+late, "in flight", mark(g.InFlight != "0", count(g.InFlight)),
		"returned", mark(g.Returned != "0", count(g.Returned)), "dead letters", pendingLetters(g.DeadLetters), "rate", rate(g.Rate)+"/s", "caught up", drain,
		"consumers", strings.TrimSpace(number(len(g.Consumers))+"  "+strings.Join(g.Consumers, " ")),
		"created", i.when(g.Created)+" by "+g.Creator, "changed", i.when(g.Updated))
}

// pendingLetters says what keeps dead letters waiting, or nothing.
func pendingLetters(d *apimodel.DeadLetters) string {
	if d == nil {
		return ""
	}
	text := count(d.Waiting) + " wait to be stored"
	if d.Cause != nil && d.RetryIn != nil {
		text += ": " + *d.Cause + " (next attempt in " + millis(*d.RetryIn) + ")"
	}
	return text
}

func (a *app) groupSet() *cobra.Command {
	var g groupFlags
	cmd := &cobra.Command{
		Use: "set TOPIC GROUP", Short: "Change a group while its consumers stay connected",
		Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopicGroup,
		Long:    "Change a group while its consumers stay connected. What is not given stays as it is.\nThe filter has a command of its own, zbus group filter, which tries it first.",
		Example: "  zbus group set orders billing --ack-timeout 1m --max-deliver 5\n  zbus group set orders billing --explicit=false",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		body := apimodel.GroupPatch{
			Settle: g.settle(cmd), AckTimeout: given(cmd, "ack-timeout", g.ackTimeout.Milliseconds()),
			AckWindow: given(cmd, "ack-window", g.ackWindow), MaxDeliver: given(cmd, "max-deliver", g.maxDeliver),
			Exclusive: given(cmd, "exclusive", g.exclusive),
		}
		if body == (apimodel.GroupPatch{}) {
			return usage("group set: say what to change; see zbus group set --help")
		}
		return i.patchGroup(ctx, body, "")
	})
	cmd.Flags().SortFlags = false
	g.register(cmd)
	return cmd
}

// patchGroup changes the group that the arguments name, and says what it is now, or
// done if that is enough.
func (i *invocation) patchGroup(ctx context.Context, body apimodel.GroupPatch, done string) error {
	c, err := i.api()
	if err != nil {
		return err
	}
	d, err := do[apimodel.Group](ctx, c, "PATCH /topics/{topic}/groups/{group}", body, i.args[0], i.args[1])
	if err != nil {
		return noGroup(err, i.args[0], i.args[1], "")
	}
	if done == "" || i.json {
		return i.showGroup(d)
	}
	fmt.Fprintf(i.out, "group %s/%s %s\n", d.value.Topic, d.value.Name, done)
	return nil
}

// groupSwitch creates the commands that pause and resume.
func (a *app) groupSwitch(verb, short string, paused bool) *cobra.Command {
	done := "delivers"
	if paused {
		done = "is paused"
	}
	return &cobra.Command{
		Use: verb + " TOPIC GROUP", Short: short, Example: "  zbus group " + verb + " orders billing", Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopicGroup,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			return i.patchGroup(ctx, apimodel.GroupPatch{Paused: &paused}, done)
		}),
	}
}

func (a *app) groupDelete() *cobra.Command {
	return a.asks(&cobra.Command{
		Use: "delete TOPIC GROUP", Example: "  zbus group delete orders billing --yes", Short: "Delete a group; the messages stay", Aliases: []string{"rm"},
		Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopicGroup,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			d, err := i.group(ctx, c, i.args[0], i.args[1])
			if err != nil {
				return err
			}
			g := d.value
			loss := fmt.Sprintf("this deletes group %s/%s at offset %s, with %s to come and %s connected", g.Topic, g.Name, count(g.Cursor),
				counted(g.Lag, "message", "messages"), counted(format(int64(len(g.Consumers))), "consumer", "consumers"))
			if err := i.confirm(ctx, loss, "Delete it?"); err != nil {
				return err
			}
			if _, err := c.answer(c.send(ctx, "DELETE /topics/{topic}/groups/{group}", nil, i.args[0], i.args[1])); err != nil {
				return err
			}
			if !i.json {
				fmt.Fprintf(i.out, "group %s/%s is deleted; it was at offset %s\n", g.Topic, g.Name, count(g.Cursor))
			}
			return nil
		}),
	})
}
