package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

func (a *app) groupFilter() *cobra.Command {
	var last int
	var test, none bool
	var reason string
	cmd := &cobra.Command{
		Use: "filter TOPIC GROUP [FILTER]", Short: "Show a group's filter, or try a new one and set it",
		Args: wants("TOPIC", "GROUP", "[FILTER]"), ValidArgsFunction: a.completeTopicGroup,
		Long: "Show a group's filter, or run a new one over the last messages, say which would be\n" +
			"kept, lost and gained, and set it. A tag is compared part by part: + is one part, * at\n" +
			"the end one or more, # any number; a;b is either, !a excludes.",
		Example: "  zbus group filter orders billing 'eu.*;!eu.test' --test\n" +
			"  zbus group filter orders billing 'eu.*;!eu.test' --yes\n" +
			"  zbus group filter orders billing --none",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		c, err := i.api()
		if err != nil {
			return err
		}
		switch {
		case none && len(i.args) == 3:
			return usage("group filter: a FILTER and --none can't both be")
		case none:
			i.args = append(i.args, "")
		case len(i.args) == 2:
			return i.showFilter(ctx, c)
		}
		return i.setFilter(ctx, c, last, test, reason)
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&test, "test", false, "try it and change nothing")
	cmd.Flags().IntVar(&last, "last", 10_000, "try it on this `NUMBER` of the newest messages, up to 100000")
	cmd.Flags().BoolVar(&none, "none", false, "let everything through")
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` for the journal")
	return a.asks(cmd)
}

func (i *invocation) showFilter(ctx context.Context, c *api) error {
	d, err := i.group(ctx, c, i.args[0], i.args[1])
	if err != nil {
		return err
	}
	if i.json {
		return i.printJSON(struct {
			Filter string `json:"filter"`
		}{d.value.Filter})
	}
	if d.value.Filter == "" {
		i.say("no filter: the group gets everything")
		return nil
	}
	fmt.Fprintln(i.out, d.value.Filter)
	return nil
}

// setFilter tries the filter that is the third argument, and sets it unless it is
// only to be tried.
func (i *invocation) setFilter(ctx context.Context, c *api, last int, test bool, reason string) error {
	d, err := do[apimodel.FilterReport](ctx, c, "POST /topics/{topic}/filters:test", apimodel.FilterTest{
		Filter: i.args[2], Group: &i.args[1], Last: &last,
	}, i.args[0])
	if err != nil {
		return noGroup(err, i.args[0], i.args[1], "")
	}
	if test && i.json {
		return i.printJSON(d.raw)
	}
	if !i.json {
		i.printFilterReport(&d.value)
	}
	if test {
		return nil
	}
	r := &d.value
	if r.Lost != "0" {
		loss := fmt.Sprintf("of the last %s messages the group would not get %s that it gets now, %s of them still to come",
			count(r.Scanned), count(r.Lost), count(r.PendingLost))
		if err := i.confirm(ctx, loss, "Set this filter?"); err != nil {
			return err
		}
	}
	patch := apimodel.GroupPatch{Filter: &i.args[2]}
	if reason != "" {
		patch.Reason = &reason
	}
	return i.patchGroup(ctx, patch, fmt.Sprintf("has the filter %q; undo: zbus group undo %s %s", i.args[2], i.args[0], i.args[1]))
}

// filterTags is how many tags a report shows.
const filterTags = 10

func (i *invocation) printFilterReport(r *apimodel.FilterReport) {
	fmt.Fprintf(i.out, "of the last %s: %s pass; %s kept, %s gained, %s lost (%s of these still to come)\n",
		counted(r.Scanned, "message", "messages"), count(r.Matched), count(r.Kept), count(r.Gained), count(r.Lost), count(r.PendingLost))
	if len(r.ByTag) == 0 {
		return
	}
	t := newTable("TAG", ">MESSAGES", "NOW", "THEN")
	for n, tag := range r.ByTag {
		if n == filterTags {
			t.add(fmt.Sprintf("and %s", counted(format(int64(len(r.ByTag)-n)), "tag more", "tags more")), "", "", "")
			break
		}
		name := oneLine(tag.Tag, 60)
		if name == "" {
			name = "(none)"
		}
		t.add(name, count(tag.Count), passes(tag.WasMatched), passes(tag.Matched))
	}
	t.write(i.out)
}

func passes(v *bool) string {
	if v == nil {
		return ""
	}
	if *v {
		return "passes"
	}
	return "-"
}
