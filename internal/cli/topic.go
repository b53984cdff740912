package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// topicCommand is the noun for logs.
func (a *app) topicCommand() *cobra.Command {
	cmd := parent("topic", "Make, look at, change and delete topics",
		"A topic is a log of messages. Groups are places in it.",
		a.topicCreate(), a.topicApply(), a.topicList(), a.topicShow(), a.topicSet(), a.topicEmpty(), a.topicDelete(),
		a.topicSwitch("pause", "Stop delivery to all groups; publishing continues", func(ctx context.Context, c *api, topic string) (*http.Response, error) {
			return c.send(ctx, "POST /topics/{topic}:pause", nil, topic)
		}),
		a.topicSwitch("resume", "Resume delivery", func(ctx context.Context, c *api, topic string) (*http.Response, error) {
			return c.send(ctx, "POST /topics/{topic}:resume", nil, topic)
		}),
		a.topicSwitch("accept", "Serve a damaged topic as it is: what is missing is counted and passed over", func(ctx context.Context, c *api, topic string) (*http.Response, error) {
			return c.send(ctx, "POST /topics/{topic}:accept", nil, topic)
		}))
	return a.connected(a.shows(cmd))
}

// limits are the flags of a topic's retention.
type limits struct {
	age          duration
	count, bytes string
}

func (l *limits) register(cmd *cobra.Command) {
	cmd.Flags().Var(&l.age, "max-age", "drop messages that are older, such as 7d")
	cmd.Flags().StringVar(&l.count, "max-count", "", "drop the oldest messages beyond this `NUMBER`")
	cmd.Flags().StringVar(&l.bytes, "max-bytes", "", "drop the oldest messages beyond this `SIZE`, such as 10GiB")
}

// retention is what the flags say; nil when none was given.
func (l *limits) retention(cmd *cobra.Command) (r *apimodel.Retention, err error) {
	r = &apimodel.Retention{MaxAge: given(cmd, "max-age", l.age.Milliseconds())}
	if l.count != "" {
		n, err := parseCount("max-count", l.count)
		if err != nil {
			return nil, err
		}
		r.MaxCount = &n
	}
	if l.bytes != "" {
		n, err := parseSize("max-bytes", l.bytes)
		if err != nil {
			return nil, err
		}
		r.MaxBytes = &n
	}
	if *r == (apimodel.Retention{}) {
		return nil, nil
	}
	return r, nil
}

func (a *app) topicCreate() *cobra.Command {
	var l limits
	var kind string
	var ifMissing bool
	cmd := &cobra.Command{
		Use: "create TOPIC", Short: "Create a topic", Args: wants("TOPIC"),
		Long: "Create a topic. It has no groups yet: see zbus group create, and zbus consume, which\nneeds none.",
		Example: "  zbus topic create orders\n" +
			"  zbus topic create clicks --max-age 7d --max-bytes 10GiB\n" +
			"  zbus topic create shop --kind rpc",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		retention, err := l.retention(cmd)
		if err != nil {
			return err
		}
		c, err := i.api()
		if err != nil {
			return err
		}
		t, err := do[apimodel.Topic](ctx, c, "POST /topics", apimodel.NewTopic{
			Name: i.args[0], Kind: given(cmd, "kind", apimodel.TopicKind(kind)), Retention: retention,
		})
		if ifMissing && errors.Is(err, zbus.ErrExists) {
			t, err = i.topic(ctx, c, i.args[0])
		}
		if err != nil {
			return err
		}
		if i.json {
			return i.printJSON(t.raw)
		}
		fmt.Fprintf(i.out, "topic %s\n", t.value.Name)
		return nil
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&kind, "kind", "log", "`KIND`: log (on disk), memory, rpc (for calls), or proxy (for HTTP requests)")
	l.register(cmd)
	cmd.Flags().BoolVar(&ifMissing, "if-missing", false, "succeed when it is there already")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"log", "memory", "rpc", "proxy"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// topic asks for one topic.
func (i *invocation) topic(ctx context.Context, c *api, name string) (decoded[apimodel.Topic], error) {
	t, err := do[apimodel.Topic](ctx, c, "GET /topics/{topic}", nil, name)
	return t, hint(err, "see zbus topic list, or create it with zbus topic create %s", name)
}

func (a *app) topicList() *cobra.Command {
	var f following
	var kind string
	var cluster bool
	cmd := &cobra.Command{
		Use: "list [TEXT]", Short: "List topics, or those with TEXT in their names", Aliases: []string{"ls"},
		Args: wants("[TEXT]"), Example: "  zbus topic list\n  zbus topic list -f\n  zbus topic list --cluster\n  zbus topic list --json | jq -r .name",
	}
	cmd.RunE = a.showing(&f, func(ctx context.Context, i *invocation, c *api) error {
		if cluster {
			return i.listClusterTopics(ctx, c, given(cmd, "kind", apimodel.TopicKind(kind)))
		}
		return i.listTopics(ctx, c, given(cmd, "kind", apimodel.TopicKind(kind)))
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&kind, "kind", "", "only topics of this `KIND`: log, memory, rpc or proxy")
	cmd.Flags().BoolVar(&cluster, "cluster", false, "the topics of all brokers that this one knows, with a line for each of them")
	f.register(cmd, "the topics")
	return cmd
}

func (i *invocation) listTopics(ctx context.Context, c *api, kind *apimodel.TopicKind) error {
	t := newTable("TOPIC", "KIND", ">MESSAGES", ">SIZE", ">GROUPS", ">CONSUMERS", ">IN/S", ">OUT/S", "NEWEST", "")
	for d, err := range i.topics(ctx, c, kind) {
		if err != nil {
			return err
		}
		if i.json {
			if err := i.printJSON(d.raw); err != nil {
				return err
			}
			continue
		}
		v := d.value
		t.add(v.Name, string(v.Kind), count(v.Depth), size(v.Bytes), number(len(v.Groups)), number(v.Consumers),
			rate(v.Rates.In), rate(v.Rates.Out), i.whenever(v.LastTime), mark(v.Paused, "paused"))
	}
	if i.json {
		return nil
	}
	return i.printTable(t, "no topics; create one with zbus topic create TOPIC")
}

// topics lists those whose names have the first argument in them.
func (i *invocation) topics(ctx context.Context, c *api, kind *apimodel.TopicKind) func(func(decoded[apimodel.Topic], error) bool) {
	p := apimodel.ListTopicsParams{Kind: kind, Limit: ptr(pageSize)}
	if len(i.args) > 0 {
		p.Name = &i.args[0]
	}
	return list[apimodel.Topic](c, "topics", func(after *string) (*http.Response, error) {
		p.After = after
		return c.send(ctx, "GET /topics", &p)
	})
}

func (a *app) topicShow() *cobra.Command {
	var f following
	cmd := &cobra.Command{
		Use: "show TOPIC", Short: "Show a topic and its groups", Example: "  zbus topic show orders -f", Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		RunE: a.showing(&f, func(ctx context.Context, i *invocation, c *api) error {
			t, err := i.topic(ctx, c, i.args[0])
			if err != nil {
				return err
			}
			return i.showTopic(t)
		}),
	}
	f.register(cmd, "the topic")
	return cmd
}

func (i *invocation) showTopic(d decoded[apimodel.Topic]) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	t := d.value
	offsets := ""
	if t.Depth != "0" && carriesMessages(&t) == nil {
		offsets = count(t.FirstOffset) + " to " + number(value(t.NextOffset)-1)
	}
	err := i.printFields(
		"topic", t.Name, "kind", string(t.Kind)+mark(t.Paused, ", paused"), "messages", count(t.Depth), "size", size(t.Bytes),
		"offsets", offsets, "oldest", i.whenever(t.FirstTime), "newest", i.whenever(t.LastTime),
		"limits", limitsText(t.Retention), "rates", rate(t.Rates.In)+"/s in, "+rate(t.Rates.Out)+"/s out",
		"consumers", number(t.Consumers), "created", i.when(t.Created)+" by "+t.Creator, "owner", text(t.Owner))
	if err != nil || len(t.Groups) == 0 {
		return err
	}
	fmt.Fprintln(i.out)
	return i.printGroups(t.Groups, false)
}

// limitsText says what a topic keeps.
func limitsText(r apimodel.Retention) string {
	var all []string
	if r.MaxAge != nil && *r.MaxAge != 0 {
		all = append(all, millis(*r.MaxAge))
	}
	if r.MaxCount != nil && *r.MaxCount != "0" {
		all = append(all, counted(*r.MaxCount, "message", "messages"))
	}
	if r.MaxBytes != nil && *r.MaxBytes != "0" {
		all = append(all, size(*r.MaxBytes))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// topicSwitch creates the commands that pause, resume and accept.
func (a *app) topicSwitch(verb, short string, do func(context.Context, *api, string) (*http.Response, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " TOPIC", Short: short, Example: "  zbus topic " + verb + " orders", Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			t, err := decode[apimodel.Topic](c.answer(do(ctx, c, i.args[0])))
			if err != nil {
				return hint(err, "see zbus topic list")
			}
			if i.json {
				return i.printJSON(t.raw)
			}
			state := "delivers"
			if t.value.Paused {
				state = "is paused"
			}
			fmt.Fprintf(i.out, "topic %s %s\n", t.value.Name, state)
			return nil
		}),
	}
}
