package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/zbus"
)

// deadPrefix begins the headers that say why a message is in a dead-letter topic.
const deadPrefix = "dead-"

func (a *app) messageCopy() *cobra.Command {
	var l looking
	cmd := &cobra.Command{
		Use: "copy TOPIC TARGET", Short: "Publish messages of one topic to another, or again to the same",
		Args: wants("TOPIC", "TARGET"), ValidArgsFunction: a.completeBothTopics,
		Long: "Publish messages of one topic to another, or again to the same, with their ids, tags and\n" +
			"headers, but without the dead-… headers of dead letters. The originals stay.",
		Example: "  zbus message copy orders.dead orders --limit 0 --yes\n  zbus message copy orders trial --from 2h --tag 'eu.*' --yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.copyMessages(ctx, c, &l)
		}),
	}
	l.register(a, cmd)
	cmd.Flags().StringVar(&l.text, "text", "", "only messages with this `TEXT` in their body, id or tag")
	for _, flag := range []string{"group", "fates", "reverse"} {
		_ = cmd.Flags().MarkHidden(flag)
	}
	return a.asks(cmd)
}

func (i *invocation) copyMessages(ctx context.Context, c *api, l *looking) error {
	p, err := l.params()
	if err != nil {
		return err
	}
	source, target := i.args[0], i.args[1]
	if _, err := i.topic(ctx, c, target); err != nil {
		return err
	}
	// What is found first is what is copied, also when a topic is copied to itself.
	var found []apimodel.Message
	if _, err = i.look(ctx, c, source, p, l.limit, func(d decoded[apimodel.Message]) error {
		found = append(found, d.value)
		return nil
	}); err != nil {
		return err
	}
	if len(found) == 0 {
		return fail(zbus.ErrNotFound, "topic %s has no such messages", source)
	}
	many := counted(format(int64(len(found))), "message", "messages")
	if err := i.confirm(ctx, "this publishes "+many+" of topic "+source+" to topic "+target, "Publish them?"); err != nil {
		return err
	}
	client, err := i.dial(ctx, zbus.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	for n, m := range found {
		if err := i.copyMessage(ctx, c, client, &m); err != nil {
			return fmt.Errorf("message at offset %s: %w; %d of %d are copied", m.Offset, plain(err), n, len(found))
		}
	}
	if i.json {
		return i.printJSON(map[string]int{"copied": len(found)})
	}
	fmt.Fprintf(i.out, "%s published to topic %s\n", many, target)
	return nil
}

// copyMessage publishes one message, with the whole of its body.
func (i *invocation) copyMessage(ctx context.Context, c *api, client *zbus.Client, m *apimodel.Message) error {
	if m.Truncated != nil && *m.Truncated {
		whole, err := do[apimodel.Message](ctx, c, "GET /topics/{topic}/messages/{offset}", nil, i.args[0], m.Offset)
		if err != nil {
			return err
		}
		m = &whole.value
	}
	if m.Damaged != nil && *m.Damaged {
		return fail(zbus.ErrInternal, "is damaged")
	}
	headers := make(map[string]string, len(m.Headers)+1)
	for name, v := range m.Headers {
		if !strings.HasPrefix(name, deadPrefix) && !wire.Private(name) {
			headers[name] = v
		}
	}
	if m.Key != nil {
		headers["key"] = *m.Key
	}
	_, err := client.Publish(ctx, i.args[1], zbus.Message{ID: m.Id, AllowDuplicate: true, Tag: text(m.Tag), Headers: headers, Body: body(m)})
	return err
}

// completeBothTopics offers topics for both arguments.
func (a *app) completeBothTopics(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		args = nil
	}
	return a.completeTopic(cmd, args, begin)
}
