package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

type rawJSON = json.RawMessage

// messagePage is one answer to a look at messages.
type messagePage struct {
	Messages    []apimodel.Message
	ScannedTo   apimodel.Count
	More        bool
	FirstOffset apimodel.Count
	NextOffset  apimodel.Count
}

// rawPage has the messages as they came.
type rawPage struct {
	Messages []rawJSON
}

// millisAgo is a time as the API takes it.
func millisAgo(ms int64) string {
	return format(time.Now().UnixMilli() - ms)
}

// messageCommand is the noun for messages in the log.
func (a *app) messageCommand() *cobra.Command {
	cmd := parent("message", "Look at messages without consuming them",
		"Look at the messages of a topic. Nothing is consumed and no group is needed.",
		a.messageList(), a.messageFind(), a.messageShow(), a.messageTail(), a.messageCopy())
	return a.connected(a.shows(cmd))
}

// looking are the flags of a look at messages.
type looking struct {
	from, tag, group, header, text string
	limit                          int
	newest, fates                  bool
}

func (l *looking) register(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&l.from, "from", "", "begin at this `PLACE`")
	f.IntVarP(&l.limit, "limit", "n", 20, "at most this `NUMBER` of messages; 0 is all")
	f.BoolVarP(&l.newest, "reverse", "r", false, "newest first")
	f.StringVar(&l.tag, "tag", "", "only messages whose tag passes this `FILTER`")
	f.StringVar(&l.header, "header", "", "only messages with this header: `NAME` or NAME=VALUE")
	f.StringVar(&l.group, "group", "", "only messages that this `GROUP`'s filter lets through, with what became of them")
	f.BoolVar(&l.fates, "fates", false, "say what became of each message in every group")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroupFlag)
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
}

// params is what the flags say.
func (l *looking) params() (*apimodel.BrowseMessagesParams, error) {
	p := &apimodel.BrowseMessagesParams{}
	for _, v := range []struct {
		to   **string
		text string
	}{{&p.Tag, l.tag}, {&p.Header, l.header}, {&p.Group, l.group}, {&p.Text, l.text}} {
		if v.text != "" {
			*v.to = &v.text
		}
	}
	if l.fates {
		p.Fates = &l.fates
	}
	if l.newest {
		p.Dir = ptr(apimodel.BrowseMessagesParamsDir("prev"))
	}
	if l.from == "" {
		return p, nil
	}
	at, err := parsePlace("from", l.from, false, time.Now())
	switch {
	case err != nil:
		return nil, err
	case at.group != "":
		return nil, usage("--from %q: show the group with zbus group show, and give its offset", l.from)
	case at.word == "earliest":
		p.From = ptr("0")
	case at.word == "latest":
		p.From = ptr("9223372036854775807")
	case at.offset != nil:
		p.From = ptr(format(*at.offset))
	case at.id != "":
		p.Id = &at.id
	default:
		p.Time = ptr(at.time.UTC().Format(time.RFC3339Nano))
	}
	return p, nil
}

// look calls each for messages as the parameters say, at most so many, 0 being all,
// and returns the offset behind the newest message of the topic.
func (i *invocation) look(ctx context.Context, c *api, topic string, p *apimodel.BrowseMessagesParams, most int, each func(decoded[apimodel.Message]) error) (next apimodel.Count, err error) {
	for n := 0; ; {
		p.Limit = ptr(pageSize)
		if most > 0 {
			p.Limit = ptr(min(pageSize, most-n))
		}
		page, err := do[messagePage](ctx, c, "GET /topics/{topic}/messages", p, topic)
		if err != nil {
			return "", hint(err, "see zbus topic list")
		}
		raw, err := decode[rawPage](page.raw, nil)
		if err != nil {
			return "", err
		}
		for k, m := range page.value.Messages {
			if err := each(decoded[apimodel.Message]{raw.value.Messages[k], m}); err != nil {
				return "", err
			}
			n++
		}
		if !page.value.More || most > 0 && n >= most {
			return page.value.NextOffset, nil
		}
		p.From, p.Time, p.Id = &page.value.ScannedTo, nil, nil
	}
}

// list prints what the flags choose: for people in tables of a page each.
func (i *invocation) listMessages(ctx context.Context, l *looking) (found int, err error) {
	p, err := l.params()
	if err != nil {
		return 0, err
	}
	c, err := i.api()
	if err != nil {
		return 0, err
	}
	var rows []apimodel.Message
	_, err = i.look(ctx, c, i.args[0], p, l.limit, func(d decoded[apimodel.Message]) error {
		found++
		if i.json {
			return i.printJSON(d.raw)
		}
		if rows = append(rows, d.value); len(rows) == pageSize {
			i.printMessages(rows)
			rows = rows[:0]
		}
		return i.out.err
	})
	if len(rows) > 0 {
		i.printMessages(rows)
	}
	return found, err
}

// printMessages prints a table of messages, with the beginnings of their bodies.
func (i *invocation) printMessages(all []apimodel.Message) {
	t := newTable(">OFFSET", "TIME", "ID", "TAG", ">SIZE", "BODY", "FATE")
	for _, m := range all {
		t.add(count(m.Offset), i.when(m.Time), oneLine(m.Id, 28), oneLine(text(m.Tag), 24), size(m.Size), oneLine(bodyText(&m), 60), fatesText(m.Fates))
	}
	t.write(i.out)
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// bodyText is a body for people.
func bodyText(m *apimodel.Message) string {
	switch {
	case m.Missing != nil:
		return "(" + *m.Missing + " missing)"
	case m.Damaged != nil && *m.Damaged:
		return "(damaged)"
	case m.Body != nil:
		return *m.Body
	case m.BodyBase64 != nil:
		return fmt.Sprintf("%q", *m.BodyBase64)
	}
	return ""
}

// fatesText says what became of a message.
func fatesText(fates *[]apimodel.Fate) string {
	if fates == nil {
		return ""
	}
	var all []string
	for _, f := range *fates {
		all = append(all, f.Group+": "+fateWords[f.Fate])
	}
	return strings.Join(all, ", ")
}

var fateWords = map[apimodel.FateFate]string{
	"settled": "settled", "inFlight": "in flight", "returned": "returned", "pending": "to come",
	"filtered": "filtered", "beforeCursor": "skipped",
}

func (a *app) messageList() *cobra.Command {
	var l looking
	cmd := &cobra.Command{
		Use: "list TOPIC", Short: "List messages", Aliases: []string{"ls"}, Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		Long: "List the messages of a topic, the oldest first unless --reverse or --from say otherwise.\n" +
			"Long bodies are cut; zbus message show has all of one.\n\n" + placeHelp,
		Example: "  zbus message list orders -r\n  zbus message list orders --from 30m --tag 'eu.*' --fates\n" +
			"  zbus message list orders -n 0 --json | jq -r .tag | sort | uniq -c",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			n, err := i.listMessages(ctx, &l)
			if err == nil && n == 0 && !i.json {
				i.say("no messages")
			}
			return err
		}),
	}
	l.register(a, cmd)
	return cmd
}

func (a *app) messageTail() *cobra.Command {
	var most int
	var follow bool
	var filter string
	cmd := &cobra.Command{
		Use: "tail TOPIC", Short: "Show the newest messages, and with -f those that come", Args: wants("TOPIC"),
		ValidArgsFunction: a.completeTopic,
		Example:           "  zbus message tail orders\n  zbus message tail orders -f --tag 'eu.*'",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.tail(ctx, c, most, follow, filter)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().IntVarP(&most, "limit", "n", 10, "begin with this `NUMBER` of messages that are there")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "continue with those that come, until Ctrl-C")
	cmd.Flags().StringVar(&filter, "tag", "", "only messages whose tag passes this `FILTER`")
	return cmd
}
