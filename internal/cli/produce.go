package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// producing is what zbus produce is to do.
type producing struct {
	body, tag, id string
	hasBody       bool
	files         []string
	headers       []string
	ndjson, whole bool
	create, quiet bool
	once          bool
	window        int
	most          int64 // bytes of a body; 0: not known
}

// produceCommand is the verb that publishes.
func (a *app) produceCommand() *cobra.Command {
	var p producing
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Publish messages: each line of the input is one", Args: wants("TOPIC"),
		ValidArgsFunction: a.completeTopic,
		Long: "Publish messages. Each line of standard input, or of --file, is one; an empty line is an\n" +
			"empty message. With --ndjson each line is an object with the members of the API's\n" +
			"messages: id, tag, key, headers, body or bodyBase64. What zbus consume --json prints is\n" +
			"such a line, too.\n\n" +
			"The messages are stored in order, --window of them under way at a time. At the first one\n" +
			"that is not stored it stops, says which lines are not stored, and the exit code says why.",
		Example: "  echo 'two pizzas' | zbus produce orders --create\n" +
			"  zbus produce orders --body 'one coffee' --tag eu.de --header customer=ann\n" +
			"  zbus produce orders --ndjson --file orders.ndjson\n" +
			"  zbus produce photos --file photo.jpg --whole\n" +
			"  zbus consume orders --json --context prod | zbus produce orders --ndjson --create",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		p.hasBody = cmd.Flags().Changed("body")
		return i.produce(ctx, &p)
	})
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&p.body, "body", "", "publish this one `TEXT`")
	f.StringArrayVar(&p.files, "file", nil, "read from this `FILE` (repeatable)")
	f.BoolVar(&p.ndjson, "ndjson", false, "each line is a message as JSON")
	f.BoolVar(&p.whole, "whole", false, "the whole input is one message, not each line")
	f.StringVar(&p.tag, "tag", "", "`TAG` of the messages, for filters of groups")
	f.StringArrayVar(&p.headers, "header", nil, "`NAME=VALUE` to go with the messages (repeatable)")
	f.StringVar(&p.id, "id", "", "`ID` of the one message")
	f.BoolVar(&p.create, "create", false, "create the topic if it does not exist")
	f.BoolVar(&p.once, "once", false, "store nothing twice: send over HTTP, again when there is no answer, and nothing whose id the topic knows")
	f.IntVar(&p.window, "window", 1000, "what `NUMBER` of messages may be under way")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "no summary and no progress")
	f.BoolVar(&a.json, "json", false, "print the summary as JSON")
	return a.connected(cmd)
}

// check refuses flags that contradict each other, and makes what all messages have.
func (p *producing) check() (m zbus.Message, err error) {
	one := p.hasBody || p.whole
	switch {
	case p.hasBody && (len(p.files) > 0 || p.ndjson || p.whole):
		return m, usage("produce: --body is the message; it goes with neither --file nor --ndjson nor --whole")
	case p.ndjson && p.whole:
		return m, usage("produce: --ndjson and --whole can't both be")
	case p.id != "" && (!one || len(p.files) > 1):
		return m, usage("produce: --id is for one message: with --body, or --whole and one file; with --ndjson each line may have one")
	case p.window < 1 || p.window > 100_000:
		return m, usage("--window %d: must be 1 to 100000", p.window)
	}
	m = zbus.Message{Tag: p.tag, ID: p.id}
	for _, h := range p.headers {
		name, v, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return m, usage("--header %q: must be NAME=VALUE", h)
		}
		if m.Headers == nil {
			m.Headers = make(map[string]string, len(p.headers))
		}
		m.Headers[strings.TrimSpace(name)] = v
	}
	return m, nil
}

func (i *invocation) produce(ctx context.Context, p *producing) error {
	common, err := p.check()
	if err != nil {
		return err
	}
	if p.most, err = i.ready(ctx, p.create); err != nil {
		return err
	}
	t := &tally{start: time.Now()}
	to, end, err := i.sink(ctx, p, t)
	if err != nil {
		return err
	}
	defer end()
	publish := to.publish
	to.publish = func(ctx context.Context, m zbus.Message, at source) error {
		if n := int64(len(m.Body)); p.most > 0 && n > p.most {
			return &failure{fmt.Sprintf("%sthe body has %s: the broker takes at most %s (--max-body); it and what follows are not stored", at, size(format(n)), size(format(p.most))), zbus.ErrTooLarge}
		}
		return publish(ctx, m, at)
	}
	shown := func() {}
	if !p.quiet && isTerminal(i.err) && !(isTerminal(i.in) && len(p.files) == 0) {
		shown = t.show(i.err)
	}
	err = i.produceAll(ctx, p, common, to, t)
	t.under.Wait()
	shown()
	return i.summary(p, t, err)
}

// sink takes a message to be published. Its error is that nothing more can be.
type sink struct {
	publish func(context.Context, zbus.Message, source) error
	flush   func(context.Context) error // sends what was only taken
}

// sink makes that which the flags want, and what ends it.
func (i *invocation) sink(ctx context.Context, p *producing, t *tally) (s sink, end func(), err error) {
	if p.once {
		c, err := i.api()
		if err != nil {
			return s, nil, err
		}
		o := newOnce(c, i.args[0], t)
		return sink{o.publish, o.flush}, func() {}, nil
	}
	c, err := i.dial(ctx, zbus.Options{MaxPending: p.window})
	if err != nil {
		return s, nil, err
	}
	publish := func(ctx context.Context, m zbus.Message, at source) error { return t.publish(ctx, c, i.args[0], m, at) }
	return sink{publish, func(context.Context) error { return nil }}, func() { _ = c.Close() }, nil
}

// produceAll publishes every message there is, and returns when all have an outcome.
func (i *invocation) produceAll(ctx context.Context, p *producing, common zbus.Message, to sink, t *tally) error {
	if p.hasBody {
		common.Body = []byte(p.body)
		return errors.Join(to.publish(ctx, common, source{}), to.flush(ctx))
	}
	files := p.files
	if len(files) == 0 {
		files = []string{"-"}
		if isTerminal(i.in) && !p.quiet {
			i.say("each line is a message; Ctrl-D ends")
		}
	}
	for _, name := range files {
		err := i.produceFile(ctx, p, common, name, len(files) > 1, to, t)
		if err != nil || t.failed() {
			return errors.Join(err, to.flush(ctx)) // what came before a wrong line is stored
		}
	}
	return to.flush(ctx)
}

func (i *invocation) produceFile(ctx context.Context, p *producing, common zbus.Message, name string, several bool, to sink, t *tally) error {
	in, at := i.in, source{}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fail(ErrNoInput, "%v", err)
		}
		defer f.Close()
		in = f
		if several {
			at.file = name
		}
	}
	if p.whole {
		body, err := readAll(ctx, in)
		if err != nil {
			return err
		}
		common.Body = body
		return to.publish(ctx, common, at)
	}
	for line, err := range readLines(ctx, in) {
		at.line++
		m := common
		if err == nil && p.ndjson {
			var empty bool
			if empty, err = readJSONLine(line, at.line, &m); empty {
				continue
			}
		} else {
			m.Body = line
		}
		if err != nil {
			if errors.Is(err, context.Canceled) {
				return ErrInterrupted
			}
			return &failure{at.String() + err.Error(), err}
		}
		if err := to.publish(ctx, m, at); err != nil || t.failed() {
			return err
		}
	}
	return nil
}

// summary says what became of everything.
func (i *invocation) summary(p *producing, t *tally, stopped error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := time.Since(t.start)
	if i.json {
		if err := i.printJSON(map[string]any{"topic": i.args[0], "stored": t.stored, "notStored": t.lost, "unknown": t.unknown, "known": t.known, "seconds": took.Seconds()}); err != nil {
			return err
		}
	} else if !p.quiet {
		each := ""
		if t.stored >= 1000 && took > 0 {
			each = fmt.Sprintf(" in %s, %s/s", millis(took.Milliseconds()), rate(float64(t.stored)/took.Seconds()))
		}
		if t.known > 0 {
			each += ", " + count(format(t.known)) + " known already"
		}
		i.say("%s stored in %s%s", counted(format(t.stored), "message", "messages"), i.args[0], each)
	}
	if t.first == nil {
		return stopped
	}
	return t.failure()
}

// ready makes sure of the topic, so that no messages are typed for one that does not
// exist, and asks how large a body may be; 0: the broker does not say.
func (i *invocation) ready(ctx context.Context, create bool) (most int64, err error) {
	c, err := i.api()
	if err != nil {
		return 0, err
	}
	topic := i.args[0]
	t, err := do[apimodel.Topic](ctx, c, "GET /topics/{topic}", nil, topic)
	switch {
	case err == nil:
		err = carriesMessages(&t.value)
	case errors.Is(err, zbus.ErrNotFound) && !create:
		err = hint(err, "add --create, or create it with zbus topic create %s", topic)
	case errors.Is(err, zbus.ErrNotFound):
		if _, err = c.answer(c.send(ctx, "POST /topics", apimodel.NewTopic{Name: topic})); errors.Is(err, zbus.ErrExists) {
			err = nil // created by another client since
		}
	}
	if err != nil {
		return 0, err
	}
	server, err := do[apimodel.ServerStatus](ctx, c, "GET /server", nil)
	if err != nil || server.value.MaxBody == nil {
		return 0, err
	}
	return *server.value.MaxBody, nil
}
