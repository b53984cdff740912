package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// relocation is what zbus relocate is to do.
type relocation struct {
	to, reason string
	dryRun     bool
	examples   int
}

// relocateCommand is the verb that moves a group.
func (a *app) relocateCommand() *cobra.Command {
	var r relocation
	cmd := &cobra.Command{
		Use: "relocate TOPIC GROUP", Short: "Move a group to another position in its topic",
		Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopicGroup,
		Long: "Move a group, while its consumers stay connected. First the plan is shown: how many\n" +
			"messages would be delivered again or never, and which come next. Every move can be\n" +
			"undone with zbus group undo.\n\n" + placeHelp + "\n+N and -N are so many messages forward or back.",
		Example: "  zbus relocate orders billing --to earliest --dry-run\n" +
			"  zbus relocate orders billing --to -100 --yes --reason 'billing lost them'\n" +
			"  zbus relocate orders billing --to 2h\n" +
			"  zbus relocate orders billing --to group:audit",
		RunE: a.run(func(ctx context.Context, i *invocation) error { return i.relocate(ctx, &r) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.to, "to", "", "`PLACE` to move to")
	f.BoolVarP(&r.dryRun, "dry-run", "n", false, "show the plan and change nothing")
	f.StringVar(&r.reason, "reason", "", "`TEXT` for the journal")
	f.IntVar(&r.examples, "examples", 3, "show this `NUMBER` of the first and of the last messages to come, up to 100")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	return a.connected(a.shows(a.asks(cmd)))
}

func (i *invocation) relocate(ctx context.Context, r *relocation) error {
	place, err := parsePlace("to", r.to, true, time.Now())
	if err != nil {
		return err
	}
	to, err := place.api()
	if err != nil {
		return err
	}
	if !r.dryRun && !i.yes && !isTerminal(i.in) {
		return usage("relocate: add --dry-run to see the plan, or --yes to move where no user can be asked")
	}
	c, err := i.api()
	if err != nil {
		return err
	}
	plan, err := do[apimodel.Plan](ctx, c, "POST /topics/{topic}/groups/{group}/plans", apimodel.PlanRequest{To: to, Examples: &r.examples}, i.args[0], i.args[1])
	if err != nil {
		return noGroup(err, i.args[0], i.args[1], "")
	}
	for {
		p := &plan.value
		if err := i.noteEnd(ctx, c, r.to, place, p); err != nil {
			return err
		}
		if r.dryRun && i.json {
			return i.printJSON(plan.raw)
		}
		if !i.json {
			i.printPlan(p)
		}
		if r.dryRun {
			return nil
		}
		if err := i.confirm(ctx, "", fmt.Sprintf("Move group %s/%s from %s to %s?", p.Topic, p.Group, count(p.From), count(p.To))); err != nil {
			return err
		}
		moved, err := do[apimodel.Moved](ctx, c, "POST /plans/{plan}:apply", because(r.reason), p.Id)
		var refused *refusal
		if err == nil {
			return i.printMoved(moved)
		}
		if !errors.As(err, &refused) || refused.plan == nil {
			return err
		}
		if plan, err = i.refused(refused); err != nil {
			return err
		}
	}
}

// noteEnd says so when an offset or a shift leads out of the log: the plan is for the
// end that is nearest, and has no word for it. The log is asked for only then, and
// looked at after the plan, so what has come since does not make a note wrong.
func (i *invocation) noteEnd(ctx context.Context, c *api, text string, to place, p *apimodel.Plan) error {
	var wanted int64
	switch {
	case to.offset != nil:
		wanted = *to.offset
	case to.shift != nil:
		wanted = value(p.From) + min(*to.shift, math.MaxInt64-value(p.From))
	default:
		return nil
	}
	if wanted == value(p.To) {
		return nil
	}
	t, err := i.topic(ctx, c, p.Topic)
	if err != nil {
		return err
	}
	switch {
	case wanted < value(t.value.FirstOffset):
		i.say("note: --to %s is before the oldest message, so the group goes to that, offset %s", text, count(p.To))
	case wanted > value(t.value.NextOffset):
		i.say("note: --to %s is beyond the newest message, so the group goes behind that, to offset %s", text, count(p.To))
	}
	return nil
}

// refused continues when a group has moved while its plan was looked at: with a fresh
// plan, if a person can look at it.
func (i *invocation) refused(r *refusal) (decoded[apimodel.Plan], error) {
	fresh, err := decode[apimodel.Plan](r.plan, nil)
	if err != nil {
		return fresh, err
	}
	if i.yes {
		if i.json {
			err = i.printJSON(fresh.raw)
		} else {
			i.printPlan(&fresh.value)
		}
		return fresh, errors.Join(err, &failure{r.text + "; nothing was moved, the fresh plan is above", r})
	}
	i.say("%s. This is the plan now:", upperFirst(r.text))
	return fresh, nil
}

// printPlan says what a plan would do.
func (i *invocation) printPlan(p *apimodel.Plan) {
	at := count(p.To)
	if p.ToTime != nil {
		at += " of " + i.when(*p.ToTime)
	}
	about := mark(!p.Exact, "about ")
	effect := "none: the group is already there"
	switch {
	case p.Again != "0" && p.Skipped != "0":
		effect = fmt.Sprintf("%s again, %s skipped; %s%s pass the filter", count(p.Again), count(p.Skipped), about, count(p.Matching))
	case p.Again != "0":
		effect = counted(p.Again, "message", "messages") + " again, " + about + count(p.Matching) + " of them (" + size(p.Bytes) + ") pass the filter"
	case p.Skipped != "0":
		effect = counted(p.Skipped, "message", "messages") + " skipped, " + about + count(p.Matching) + " of them (" + size(p.Bytes) + ") pass the filter"
	case p.From != p.To:
		effect = "no message is delivered again or skipped"
	}
	pending := ""
	if p.Pending != nil {
		pending = counted(*p.Pending, "message", "messages")
		if p.Drain != nil && *p.Pending != "0" {
			pending += ", " + millis(*p.Drain) + " at the present rate"
		}
	}
	_ = i.printFields(
		"group", p.Topic+"/"+p.Group, "from", count(p.From), "to", at, "effect", effect, "then to come", pending,
		"in flight", mark(p.InFlight != "0", counted(p.InFlight, "delivery in flight is invalidated", "deliveries in flight are invalidated")),
		"consumers", strconv.Itoa(p.Consumers)+" connected, they stay")
	if len(p.First) > 0 {
		fmt.Fprintln(i.out, "the next messages")
		i.printMessages(p.First)
	}
	var last []apimodel.Message
	for _, m := range p.Last {
		if n := len(p.First); n == 0 || value(m.Offset) > value(p.First[n-1].Offset) {
			last = append(last, m)
		}
	}
	if len(last) > 0 {
		fmt.Fprintln(i.out, "the last ones")
		i.printMessages(last)
	}
}
