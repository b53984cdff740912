package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// deadSuffix ends the name of a topic that takes dead letters.
const deadSuffix = ".dead"

// deadCommand is the noun for messages that were given up.
func (a *app) deadCommand() *cobra.Command {
	cmd := parent("dead", "Look at dead letters, publish them again or drop them",
		"Messages that a group has given up wait in a topic of their own, such as orders.dead for\n"+
			"those of orders. Both names mean the same here.",
		a.deadList(), a.deadShow(), a.deadRedrive(), a.deadDrop())
	return a.connected(a.shows(cmd))
}

// deadTopic is the name of the topic that takes the dead letters of a topic, or that is one.
func deadTopic(name string) string {
	if strings.HasSuffix(strings.ToLower(name), deadSuffix) {
		return name
	}
	return name + deadSuffix
}

// letterChoice are the flags that choose dead letters.
type letterChoice struct{ group, kind, text string }

func (l *letterChoice) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&l.group, "group", "", "only letters that died in this `GROUP`")
	f.StringVar(&l.kind, "kind", "", "only letters of this `KIND`: see zbus dead list")
	f.StringVar(&l.text, "text", "", "only letters with this `TEXT` in their body, id or tag")
}

func (a *app) deadList() *cobra.Command {
	var l letterChoice
	cmd := &cobra.Command{
		Use: "list TOPIC", Short: "List the dead letters that wait, by group and cause", Aliases: []string{"ls"},
		Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		Example: "  zbus dead list orders\n  zbus dead list orders --group billing --text pizza",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.listDead(ctx, c, &l)
		}),
	}
	l.register(cmd)
	return cmd
}

func (i *invocation) listDead(ctx context.Context, c *api, l *letterChoice) error {
	topic := deadTopic(i.args[0])
	d, err := do[apimodel.DeadLetterList](ctx, c, "GET /topics/{topic}/dead-letters", &apimodel.ListDeadLettersParams{
		Group: &l.group, Kind: &l.kind, Text: &l.text,
	}, topic)
	if err != nil {
		return hint(err, "nothing has died, or see zbus topic list")
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	t := newTable("KIND", "GROUP", ">LETTERS", "FIRST", "LAST", "CAUSE")
	for _, k := range d.value.Kinds {
		t.add(k.Kind, k.Group, count(k.Letters), i.when(k.FirstTime), i.when(k.LastTime), oneLine(k.Cause, 100))
	}
	if d.value.More {
		i.say("of the oldest %s messages:", count(d.value.Scanned))
	}
	return i.printTable(t, "no such dead letters in topic "+topic)
}

func (a *app) deadShow() *cobra.Command {
	show := a.messageShow()
	show.Short = "Show one dead letter, with where and why it died"
	show.Example = "  zbus dead show orders 17\n  zbus dead show orders id:img-7"
	run := show.RunE
	show.RunE = func(cmd *cobra.Command, args []string) error {
		return run(cmd, append([]string{deadTopic(args[0])}, args[1:]...))
	}
	return show
}

func (a *app) deadRedrive() *cobra.Command {
	var l letterChoice
	var rate float64
	dry := false
	cmd := &cobra.Command{
		Use: "redrive TOPIC [OFFSET...]", Short: "Publish dead letters again where they died",
		Args: wants("TOPIC", "OFFSET..."), ValidArgsFunction: a.completeTopic,
		Long: "Publish dead letters again to the topic that they died in, and be done with them, each once.\n" +
			"All groups of that topic get them; which ones is said before. Without OFFSET and flags it\n" +
			"is all that wait.",
		Example: "  zbus dead redrive orders --group billing --rate 50 --yes\n  zbus dead redrive orders 17 18 --yes\n  zbus dead redrive orders --dry-run",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			return i.redrive(ctx, &l, apimodel.Redrive{Rate: &rate}, dry)
		}),
	}
	l.register(cmd)
	cmd.Flags().Float64Var(&rate, "rate", 0, "at most this `NUMBER` of letters a second")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what it would do")
	return a.asks(cmd)
}

func (a *app) deadDrop() *cobra.Command {
	var l letterChoice
	cmd := &cobra.Command{
		Use: "drop TOPIC [OFFSET...]", Short: "Be done with dead letters without publishing them",
		Args: wants("TOPIC", "OFFSET..."), ValidArgsFunction: a.completeTopic,
		Example: "  zbus dead drop orders 17 --yes\n  zbus dead drop orders --kind 5f0c… --yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			return i.redrive(ctx, &l, apimodel.Redrive{Drop: ptr(true)}, false)
		}),
	}
	l.register(cmd)
	return a.asks(cmd)
}

// redrive publishes letters again, or drops them, when it is known how many they are.
func (i *invocation) redrive(ctx context.Context, l *letterChoice, r apimodel.Redrive, dry bool) error {
	r.Group, r.Kind, r.Text = &l.group, &l.kind, &l.text
	if len(i.args) > 1 {
		offsets := i.args[1:]
		r.Offsets = &offsets
	}
	c, err := i.api()
	if err != nil {
		return err
	}
	topic := deadTopic(i.args[0])
	ask := func() (decoded[apimodel.RedriveReport], error) {
		return do[apimodel.RedriveReport](ctx, c, "POST /topics/{topic}/messages:redrive", r, topic)
	}
	r.DryRun = ptr(true)
	d, err := ask()
	if err != nil {
		return hint(err, "letters go back to a topic that exists: see zbus topic list")
	}
	would := redriveText(&d.value, r.Drop != nil)
	switch {
	case dry && i.json:
		return i.printJSON(d.raw)
	case dry:
		fmt.Fprintln(i.out, would)
		return nil
	case d.value.Matched == "0":
		return fail(zbus.ErrNotFound, "no such dead letters in topic %s", topic)
	}
	if err := i.confirm(ctx, "this "+would, "Continue?"); err != nil {
		return err
	}
	r.DryRun, r.To = nil, &d.value.ScannedTo // what dies from now on stays
	done := int64(0)
	for more := true; more; r.From = &d.value.ScannedTo {
		if d, err = ask(); err != nil {
			return fmt.Errorf("%w; %d dead letters are done with", plain(err), done)
		}
		done += value(d.value.Done)
		more = d.value.More
	}
	if i.json {
		return i.printJSON(map[string]int64{"done": done})
	}
	verb := "published to topic " + d.value.Origin
	if r.Drop != nil {
		verb = "dropped"
	}
	fmt.Fprintf(i.out, "%s %s\n", counted(format(done), "dead letter", "dead letters"), verb)
	return nil
}

// redriveText says what happens to letters, and who gets those that did not die there.
func redriveText(r *apimodel.RedriveReport, drop bool) string {
	letters := counted(r.Matched, "dead letter", "dead letters")
	if r.More {
		letters = "the oldest " + letters
	}
	if drop {
		return "drops " + letters + " that died in topic " + r.Origin
	}
	text := "publishes " + letters + " to topic " + r.Origin
	also := ""
	for _, g := range r.Reaches {
		if g.Letters != g.Died {
			also += ", " + g.Group
		}
	}
	if also != "" {
		text += "; also reaches: " + also[2:]
	}
	return text
}
