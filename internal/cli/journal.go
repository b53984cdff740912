package cli

import (
	"context"
	"fmt"
	"iter"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

func (a *app) groupJournal() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use: "journal TOPIC GROUP", Short: "List every move and filter change of a group, newest first",
		Args: wants("TOPIC", "GROUP"), ValidArgsFunction: a.completeTopicGroup,
		Example: "  zbus group journal orders billing\n  zbus group undo orders billing",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			entries, err := collect(i.journal(ctx, c), most)
			if err != nil {
				return noGroup(err, i.args[0], i.args[1], "")
			}
			return i.printJournal(entries)
		}),
	}
	cmd.Flags().IntVarP(&most, "limit", "n", 20, "at most this `NUMBER`; 0 is all")
	return cmd
}

// journal lists that of the group that the arguments name.
func (i *invocation) journal(ctx context.Context, c *api) iter.Seq2[decoded[apimodel.JournalEntry], error] {
	return list[apimodel.JournalEntry](c, "entries", func(after *string) (*http.Response, error) {
		return c.send(ctx, "GET /topics/{topic}/groups/{group}/journal", &apimodel.ListJournalParams{After: after, Limit: ptr(100)}, i.args[0], i.args[1])
	})
}

func (i *invocation) printJournal(entries []decoded[apimodel.JournalEntry]) error {
	t := newTable(">ENTRY", "TIME", "KIND", ">FROM", ">TO", "FILTER", "BY", "REASON")
	for _, d := range entries {
		if i.json {
			if err := i.printJSON(d.raw); err != nil {
				return err
			}
			continue
		}
		e, filter := d.value, ""
		if e.FilterFrom != nil && e.FilterTo != nil {
			filter = oneLine(fmt.Sprintf("%q to %q", *e.FilterFrom, *e.FilterTo), 50)
		}
		t.add(e.Id, i.when(e.Time), string(e.Kind), count(e.From), count(e.To), filter, e.Actor, oneLine(e.Reason, 60))
	}
	if i.json {
		return nil
	}
	return i.printTable(t, "the journal is empty")
}

func (a *app) groupUndo() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "undo TOPIC GROUP [ENTRY]", Short: "Undo the last move or filter change of a group",
		Args: wants("TOPIC", "GROUP", "[ENTRY]"), ValidArgsFunction: a.completeTopicGroup,
		Long: "Undo the last entry of a group's journal, or another one. The group goes back to\n" +
			"exactly where that entry found it, or has the filter that it had. That is an entry,\n" +
			"too, so undoing twice does it again.",
		Example: "  zbus group undo orders billing\n  zbus group undo orders billing 17 --reason 'wrong group'",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			entry, err := i.undoable(ctx, c)
			if err != nil {
				return noGroup(err, i.args[0], i.args[1], "")
			}
			d, err := do[apimodel.Moved](ctx, c, "POST /journal/{entry}:revert", because(reason), entry)
			if err != nil {
				return err
			}
			return i.printMoved(d)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` for the journal")
	return cmd
}

// undoable finds the entry to undo: the last one, or that which is named, so that
// nothing of another group is undone.
func (i *invocation) undoable(ctx context.Context, c *api) (string, error) {
	for d, err := range i.journal(ctx, c) {
		switch {
		case err != nil:
			return "", err
		case len(i.args) == 3 && d.value.Id == i.args[2]:
			return d.value.Id, nil
		case len(i.args) == 2 && d.value.Kind != apimodel.JournalKindCreate:
			return d.value.Id, nil
		}
	}
	if len(i.args) == 3 {
		return "", fail(zbus.ErrNotFound, "group %s/%s has no journal entry %q; see zbus group journal %s %s", i.args[0], i.args[1], i.args[2], i.args[0], i.args[1])
	}
	return "", fail(zbus.ErrNotFound, "group %s/%s was not moved nor given another filter: there is nothing to undo", i.args[0], i.args[1])
}

func because(reason string) apimodel.Because {
	if reason == "" {
		return apimodel.Because{}
	}
	return apimodel.Because{Reason: &reason}
}

// printMoved says where a group is now, and how to get back.
func (i *invocation) printMoved(d decoded[apimodel.Moved]) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	g, e := d.value.Group, d.value.Entry
	name := g.Topic + "/" + g.Name
	if e.FilterFrom != nil {
		fmt.Fprintf(i.out, "group %s has the filter %q again\n", name, g.Filter)
		return nil
	}
	fmt.Fprintf(i.out, "group %s moved from %s to %s; undo: zbus group undo %s %s\n", name, count(e.From), count(e.To), g.Topic, g.Name)
	if e.Retained != nil && !*e.Retained {
		i.say("note: some messages before %s are no longer kept, so an undo can't bring back all", count(e.From))
	}
	return nil
}
