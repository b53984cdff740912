package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// consuming is what zbus consume is to do.
type consuming struct {
	group, from, filter, format string
	count                       int
	timeout                     duration
	follow, create, explicit    bool
	window                      int
}

const consumeLong = `Print the bodies of messages, one a line.

Without --group it reads the log in a group of its own, which is gone afterwards: nobody
else notices, and trying things leaves nothing behind. With --group it consumes in that
group, from where the group is. In a group with acks a message is acked after it was
written, so what could not be written comes again.

It ends when it has printed what is there. With --count it waits until so many have come,
with --timeout at most so long, with -f until Ctrl-C. The exit code is 75 when the time is
over before --count messages have come.

`

const consumeExample = `  zbus consume orders
  zbus consume orders --from 30m --filter 'eu.*'
  zbus consume orders -f --from latest --format '{offset} {tag} {body}'
  zbus consume orders --group billing --count 10 --timeout 5s
  zbus consume orders --json | jq -r .id`

// consumeCommand is the verb that takes messages.
func (a *app) consumeCommand() *cobra.Command {
	var o consuming
	cmd := &cobra.Command{
		Use: "consume TOPIC", Short: "Print the messages of a topic, one a line", Args: wants("TOPIC"),
		ValidArgsFunction: a.completeTopic, Long: consumeLong + placeHelp, Example: consumeExample,
		RunE: a.run(func(ctx context.Context, i *invocation) error { return i.consume(ctx, &o) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.group, "group", "g", "", "consume in this `GROUP`")
	f.IntVarP(&o.count, "count", "n", 0, "end after this `NUMBER` of messages, and wait for them")
	f.Var(&o.timeout, "timeout", "wait at most so long in all")
	f.BoolVarP(&o.follow, "follow", "f", false, "continue until Ctrl-C")
	f.StringVar(&o.from, "from", "", "begin at this `PLACE` (earliest); with --group only when --create makes it")
	f.StringVar(&o.filter, "filter", "", "only messages whose tag passes this `FILTER`, as --from")
	f.BoolVar(&o.create, "create", false, "create the group if it does not exist")
	f.BoolVar(&o.explicit, "explicit", false, "with --create: a group whose messages are acked")
	f.StringVar(&o.format, "format", "", "print each message like this `TEXT`: {body}, {offset}, {time}, {id}, {tag}, {key}, {attempt}, {header:NAME}, \\t and \\n")
	f.BoolVar(&a.json, "json", false, "print each message as JSON, as the API does")
	f.BoolVar(&a.utc, "utc", false, "print times in UTC and not in local time")
	a.rawFlag(f)
	f.IntVar(&o.window, "window", 0, "what `NUMBER` of messages comes in advance (64; 1 with --count, and in a group without acks, where they would be lost)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroupFlag)
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	return a.connected(cmd)
}

// check refuses flags that contradict each other.
func (o *consuming) check(json bool) (from place, err error) {
	switch {
	case o.group == "" && (o.create || o.explicit):
		return from, usage("consume: --create and --explicit are for a group; name it with --group")
	case o.explicit && !o.create:
		return from, usage("consume: --explicit says what --create makes; see zbus group set for a group that is there")
	case o.group != "" && !o.create && (o.from != "" || o.filter != ""):
		return from, usage("consume: group %s is where it is; --from and --filter are for a group that --create makes."+
			" Move it with zbus relocate, filter it with zbus group filter", o.group)
	case o.follow && o.count > 0:
		return from, usage("consume: -f has no end and --count is one; leave one of them away")
	case o.count < 0:
		return from, usage("--count %d: must be 1 or more", o.count)
	case json && o.format != "":
		return from, usage("consume: --json and --format can't both be")
	}
	return parsePlace("from", first(o.from, "earliest"), false, time.Now())
}

// waits reports whether there is no end at the end of the log.
func (o *consuming) waits() bool { return o.follow || o.count > 0 || o.timeout.Duration > 0 }

func (i *invocation) consume(ctx context.Context, o *consuming) error {
	from, err := o.check(i.json)
	if err != nil {
		return err
	}
	if o.group != "" && nowhere(i.out.w) {
		return fail(ErrUsage, "consume: standard output is closed, so the messages of group %s would be lost; to throw them away, redirect it with >/dev/null", o.group)
	}
	print, err := i.printer(o)
	if err != nil {
		return err
	}
	a, err := i.api()
	if err != nil {
		return err
	}
	c, err := i.dial(ctx, zbus.Options{ReconnectTimeout: endTime})
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := i.topic(ctx, a, i.args[0])
	if err == nil {
		err = carriesMessages(&t.value)
	}
	if err != nil {
		return err
	}
	s := &stream{
		i: i, a: a, c: c, topic: i.args[0], group: o.group, count: o.count, waits: o.waits(), endless: o.follow,
		end: value(t.value.NextOffset), print: print, options: zbus.SubscribeOptions{Window: o.window}, last: -1,
	}
	if err := s.prepare(ctx, o, from); err != nil {
		return err
	}
	var over <-chan time.Time
	if o.timeout.Duration > 0 {
		over = time.After(o.timeout.Duration)
	}
	err = s.run(ctx, over)
	if s.ownGroup && (err == nil || errors.Is(err, ErrInterrupted) || errors.Is(err, ErrIncomplete)) {
		s.leave(ctx)
	}
	return err
}

// carriesMessages refuses topics of the kinds that are no logs.
func carriesMessages(t *apimodel.Topic) error {
	switch t.Kind {
	case apimodel.TopicKindLog, apimodel.TopicKindMemory:
		return nil
	case apimodel.TopicKindRpc:
		return usage("topic %s is for calls: see zbus call and zbus serve-rpc", t.Name)
	}
	return usage("topic %s is of the kind %s: it has no messages", t.Name, t.Kind)
}

// prepare creates the group, if one is to be created.
func (s *stream) prepare(ctx context.Context, o *consuming, from place) error {
	if o.group == "" {
		return s.own(ctx, from, o.filter)
	}
	if o.count > 0 && o.window == 0 {
		s.options.Window = 1 // what is not asked for stays with the broker
	}
	if o.create {
		return s.create(ctx, o, from)
	}
	return nil
}

// ephemeral begins the names of groups that belong to one consumer.
const ephemeral = "~"

// own creates a group for this consumer alone. It goes with the connection. On the next
// one it is made where it began, and what was printed is passed over.
func (s *stream) own(ctx context.Context, from place, filter string) error {
	s.group = ephemeral + "cli-" + strings.ToLower(rand.Text())
	spec := zbus.GroupSpec{Name: s.group, Temporary: true, Filter: filter, Start: from.native()}
	g, err := s.c.DeclareGroup(ctx, s.topic, spec)
	if err != nil {
		return err
	}
	spec.Start = zbus.AtOffset(g.Cursor)
	s.options.Declare, s.ownGroup = &spec, true
	if s.options.Window == 0 {
		s.options.Window = 256 // what is lost is this group's alone
	}
	return nil
}

// leave removes the group of this consumer alone. It would go with the connection, but some
// time after this command has ended: the next one would still see it.
func (s *stream) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	_ = s.c.RemoveGroup(ctx, s.topic, s.group) // if not, it goes with the connection
}

// create creates the group that was asked for, unless it is there.
func (s *stream) create(ctx context.Context, o *consuming, from place) error {
	body := apimodel.NewGroup{Name: o.group, Filter: filled[string](o.filter)}
	if o.explicit {
		body.Settle = ptr(apimodel.Explicit)
	}
	if o.from != "" {
		at, err := from.api()
		if err != nil {
			return err
		}
		body.Start = &at
	}
	_, err := s.a.answer(s.a.send(ctx, "POST /topics/{topic}/groups", body, s.topic))
	if errors.Is(err, zbus.ErrExists) {
		if o.from != "" || o.filter != "" || o.explicit {
			s.i.say("group %s is there already and stays as it is", o.group)
		}
		return nil
	}
	return err
}

// printer returns the function that prints a message.
func (i *invocation) printer(o *consuming) (func(*zbus.Delivery) error, error) {
	if i.json {
		return func(d *zbus.Delivery) error { return i.printJSON(deliveryJSON(d)) }, nil
	}
	if o.format == "" {
		return func(d *zbus.Delivery) error {
			_, err := i.out.Write(append(d.Body, '\n'))
			return err
		}, nil
	}
	parts, err := parseFormat(o.format)
	if err != nil {
		return nil, err
	}
	return func(d *zbus.Delivery) error {
		var line []byte
		for _, p := range parts {
			line = append(line, p(i.app, d)...)
		}
		_, err := i.out.Write(append(line, '\n'))
		return err
	}, nil
}

// part of a format.
type part func(a *app, d *zbus.Delivery) string

var formatFields = map[string]part{
	"body":    func(_ *app, d *zbus.Delivery) string { return string(d.Body) },
	"offset":  func(_ *app, d *zbus.Delivery) string { return fmt.Sprint(d.Offset) },
	"time":    func(a *app, d *zbus.Delivery) string { return a.when(d.Time) },
	"id":      func(_ *app, d *zbus.Delivery) string { return d.ID },
	"tag":     func(_ *app, d *zbus.Delivery) string { return d.Tag },
	"key":     func(_ *app, d *zbus.Delivery) string { return d.Header("key") },
	"attempt": func(_ *app, d *zbus.Delivery) string { return fmt.Sprint(d.Attempt) },
}

// parseFormat reads a format: text with fields in braces. {{ is a brace.
func parseFormat(text string) (parts []part, err error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\\`, `\`).Replace(text)
	for text != "" {
		n := strings.IndexByte(text, '{')
		if n < 0 {
			n = len(text)
		}
		literal := text[:n]
		if n < len(text)-1 && text[n+1] == '{' {
			literal, n = text[:n+1], n+2
		}
		parts = append(parts, func(*app, *zbus.Delivery) string { return literal })
		if text = text[n:]; text == "" || n > len(literal) || text[0] != '{' {
			continue
		}
		name, rest, ok := strings.Cut(text[1:], "}")
		p := formatFields[name]
		if header, is := strings.CutPrefix(name, "header:"); is {
			header = strings.ToLower(header)
			p = func(_ *app, d *zbus.Delivery) string { return d.Header(header) }
		}
		if !ok || p == nil {
			return nil, usage("--format: {%s: there is {body}, {offset}, {time}, {id}, {tag}, {key}, {attempt} and {header:NAME}; {{ is a brace", name)
		}
		parts, text = append(parts, p), rest
	}
	return parts, nil
}
