package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

func (a *app) topicSet() *cobra.Command {
	var l limits
	owner := ""
	cmd := &cobra.Command{
		Use: "set TOPIC", Short: "Change how much a topic keeps, or who owns it", Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		Long: "Change how much a topic keeps. Limits that are not given stay, 0 removes one. The\n" +
			"oldest messages go first, consumed or not: how many go at once is said before. A topic counts\n" +
			"for the limits of the account that owns it; an administrator may say which that is.",
		Example: "  zbus topic set orders --max-age 30d\n  zbus topic set orders --max-count 0\n  zbus topic set orders --owner shop",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		retention, err := l.retention(cmd)
		if err != nil {
			return err
		}
		patch := apimodel.TopicPatch{Retention: retention}
		if cmd.Flags().Changed("owner") {
			patch.Owner = &owner
		}
		if retention == nil && patch.Owner == nil {
			return usage("topic set: say what to change: --max-age, --max-count, --max-bytes or --owner")
		}
		c, err := i.api()
		if err != nil {
			return err
		}
		t, err := i.topic(ctx, c, i.args[0])
		if err != nil {
			return err
		}
		if retention != nil {
			if err := i.confirmLoss(ctx, c, &t.value, retention); err != nil {
				return err
			}
		}
		if t, err = do[apimodel.Topic](ctx, c, "PATCH /topics/{topic}", patch, i.args[0]); err != nil {
			return err
		}
		if i.json {
			return i.printJSON(t.raw)
		}
		if patch.Owner != nil {
			fmt.Fprintf(i.out, "topic %s is owned by: %s\n", t.value.Name, cmp.Or(text(t.value.Owner), "nobody"))
		}
		if retention != nil {
			fmt.Fprintf(i.out, "topic %s keeps: %s\n", t.value.Name, limitsText(t.value.Retention))
		}
		return nil
	})
	cmd.Flags().SortFlags = false
	l.register(cmd)
	cmd.Flags().StringVar(&owner, "owner", "", "the account that it counts for; empty: nobody")
	return a.asks(cmd)
}

// confirmLoss asks when a topic drops something at once under new limits.
func (i *invocation) confirmLoss(ctx context.Context, c *api, t *apimodel.Topic, r *apimodel.Retention) error {
	loss, err := i.loss(ctx, c, t, r)
	if err != nil || loss == "" {
		return err
	}
	return i.confirm(ctx, "topic "+t.Name+" drops "+loss, "Change the limits?")
}

// loss says what a topic drops at once under new limits; empty for nothing.
func (i *invocation) loss(ctx context.Context, c *api, t *apimodel.Topic, r *apimodel.Retention) (string, error) {
	depth := value(t.Depth)
	if r.MaxCount != nil && *r.MaxCount != "0" && depth > value(*r.MaxCount) {
		return counted(format(depth-value(*r.MaxCount)), "message", "messages") + " of " + count(t.Depth), nil
	}
	if r.MaxBytes != nil && *r.MaxBytes != "0" && value(t.Bytes) > value(*r.MaxBytes) {
		return "messages of " + size(format(value(t.Bytes)-value(*r.MaxBytes))) + " in all, of " + size(t.Bytes), nil
	}
	if r.MaxAge == nil || *r.MaxAge == 0 || depth == 0 {
		return "", nil
	}
	page, err := do[messagePage](ctx, c, "GET /topics/{topic}/messages", &apimodel.BrowseMessagesParams{
		Time: ptr(millisAgo(*r.MaxAge)), Limit: ptr(1),
	}, t.Name)
	if err != nil {
		return "", err
	}
	kept := value(t.NextOffset)
	if len(page.value.Messages) > 0 {
		kept = value(page.value.Messages[0].Offset)
	}
	if dropped := kept - value(t.FirstOffset); dropped > 0 {
		return counted(format(dropped), "message", "messages") + " of " + count(t.Depth), nil
	}
	return "", nil
}

func (a *app) topicEmpty() *cobra.Command {
	return a.asks(&cobra.Command{
		Use: "empty TOPIC", Example: "  zbus topic empty orders --yes", Short: "Delete all messages of a topic", Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		Long: "Delete all messages of a topic. Its groups stay, and offsets continue where they are.",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			t, err := i.topic(ctx, c, i.args[0])
			if err != nil {
				return err
			}
			if err := i.confirm(ctx, "this deletes "+contents(&t.value)+" of topic "+t.value.Name, "Delete them?"); err != nil {
				return err
			}
			before := t.value.Depth
			if t, err = do[apimodel.Topic](ctx, c, "POST /topics/{topic}:empty", nil, i.args[0]); err != nil {
				return err
			}
			if i.json {
				return i.printJSON(t.raw)
			}
			fmt.Fprintf(i.out, "topic %s is empty; it had %s\n", t.value.Name, counted(before, "message", "messages"))
			return nil
		}),
	})
}

// contents says how much a topic has.
func contents(t *apimodel.Topic) string {
	return counted(t.Depth, "message", "messages") + " (" + size(t.Bytes) + ")"
}

func (a *app) topicDelete() *cobra.Command {
	return a.asks(&cobra.Command{
		Use: "delete TOPIC", Example: "  zbus topic delete orders --yes", Short: "Delete a topic, its messages and its groups", Aliases: []string{"rm"},
		Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			t, err := i.topic(ctx, c, i.args[0])
			if err != nil {
				return err
			}
			loss := "this deletes topic " + t.value.Name + " with " + contents(&t.value) + ", " +
				counted(format(int64(len(t.value.Groups))), "group", "groups") + " and " +
				counted(format(int64(t.value.Consumers)), "consumer", "consumers") + " connected"
			if err := i.confirm(ctx, loss, "Delete it?"); err != nil {
				return err
			}
			if _, err := c.answer(c.send(ctx, "DELETE /topics/{topic}", nil, i.args[0])); err != nil {
				return err
			}
			if !i.json {
				fmt.Fprintf(i.out, "topic %s is deleted; it had %s\n", t.value.Name, counted(t.value.Depth, "message", "messages"))
			}
			return nil
		}),
	})
}
