package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

func (a *app) messageFind() *cobra.Command {
	l := looking{}
	cmd := &cobra.Command{
		Use: "find TOPIC [TEXT]", Short: "Find messages by text, id, tag or header", Args: wants("TOPIC", "[TEXT]"),
		ValidArgsFunction: a.completeTopic,
		Long: "Find messages that have TEXT in their body, id or tag, or that the flags choose, the\n" +
			"newest first. When there is none the exit code is 66.",
		Example: "  zbus message find orders pizza\n  zbus message find orders --header customer=ann\n" +
			"  zbus message find orders --from 2h pizza",
	}
	oldest := false
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		if len(i.args) == 2 {
			l.text = i.args[1]
		}
		if l.text == "" && l.tag == "" && l.header == "" {
			return usage("message find: say what to find: TEXT, --tag or --header")
		}
		l.newest = !oldest
		n, err := i.listMessages(ctx, &l)
		if err == nil && n == 0 {
			return fail(zbus.ErrNotFound, "no such message in topic %s", i.args[0])
		}
		return err
	})
	l.register(a, cmd)
	_ = cmd.Flags().MarkHidden("reverse")
	cmd.Flags().BoolVar(&oldest, "oldest", false, "oldest first")
	return cmd
}

func (a *app) messageShow() *cobra.Command {
	var bodyOnly bool
	cmd := &cobra.Command{
		Use: "show TOPIC OFFSET|id:ID", Short: "Show one message, all of it, and what became of it",
		Args: wants("TOPIC", "OFFSET|id:ID"), ValidArgsFunction: a.completeTopic,
		Example: "  zbus message show orders 17\n  zbus message show orders id:img-7\n  zbus message show orders 17 --body > photo.jpg",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			offset, err := i.offsetOf(ctx, c, i.args[0], i.args[1])
			if err != nil {
				return err
			}
			d, err := do[apimodel.Message](ctx, c, "GET /topics/{topic}/messages/{offset}", nil, i.args[0], offset)
			switch {
			case err != nil:
				return hint(err, "see zbus message list %s", i.args[0])
			case bodyOnly:
				_, err := i.out.Write(body(&d.value))
				return err
			case i.json:
				return i.printJSON(d.raw)
			}
			return i.showMessage(&d.value)
		}),
	}
	cmd.Flags().BoolVar(&bodyOnly, "body", false, "print the body alone, byte for byte")
	return cmd
}

// offsetOf finds a message by what was written for it: an offset or id:ID.
func (i *invocation) offsetOf(ctx context.Context, c *api, topic, at string) (apimodel.Count, error) {
	p, err := parsePlace("from", at, false, time.Now())
	if err != nil || p.offset == nil && p.id == "" {
		return "", usage("%q: must be the offset of a message, or id:ID", at)
	}
	if p.offset != nil {
		return format(*p.offset), nil
	}
	page, err := do[messagePage](ctx, c, "GET /topics/{topic}/messages", &apimodel.BrowseMessagesParams{Id: &p.id, Limit: ptr(1)}, topic)
	if err != nil {
		return "", hint(err, "see zbus message list %s", topic)
	}
	if len(page.value.Messages) == 0 {
		return "", fail(zbus.ErrNotFound, "topic %s has no message with the id %q", topic, p.id)
	}
	return page.value.Messages[0].Offset, nil
}

// body is the body of a message, byte for byte.
func body(m *apimodel.Message) []byte {
	switch {
	case m.BodyBase64 != nil:
		return *m.BodyBase64
	case m.Body != nil:
		return []byte(*m.Body)
	}
	return nil
}

func (i *invocation) showMessage(m *apimodel.Message) error {
	pairs := []string{
		"offset", count(m.Offset), "time", i.when(m.Time), "id", oneLine(m.Id, 128), "tag", oneLine(text(m.Tag), 128),
		"key", oneLine(text(m.Key), 256), "size", size(m.Size), "damaged", mark(m.Damaged != nil && *m.Damaged, "yes: what is stored is not what was written"),
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		pairs = append(pairs, name+":", oneLine(m.Headers[name], 1<<16))
	}
	if m.Fates != nil {
		for _, f := range *m.Fates {
			pairs = append(pairs, "in "+f.Group, fateText(&f))
		}
	}
	if err := i.printFields(pairs...); err != nil {
		return err
	}
	if m.Body != nil {
		fmt.Fprintf(i.out, "\n%s\n", *m.Body)
	} else if m.BodyBase64 != nil {
		fmt.Fprintf(i.out, "\n%q\n", *m.BodyBase64)
	}
	return nil
}

// fateText says what became of a message in a group, and why.
func fateText(f *apimodel.Fate) string {
	words := fateWords[f.Fate]
	if f.Deliveries != nil && *f.Deliveries > 0 {
		words += ", " + counted(format(*f.Deliveries), "delivery", "deliveries")
	}
	switch {
	case f.Part != nil && *f.Part > 0 && f.Pattern != nil:
		words += fmt.Sprintf(": part %d of the tag does not pass %s", *f.Part, *f.Pattern)
	case f.Pattern != nil && *f.Pattern != "":
		words += ": excluded by " + *f.Pattern
	}
	return words
}
