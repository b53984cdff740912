package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/zbus"
)

// serving is what zbus serve-rpc is to do.
type serving struct {
	command string
	echo    bool
	methods []string
	most    int
	timeout duration
	output  string
	limit   int64 // what output says
	quiet   bool
}

// serveRPCCommand is the verb that answers calls.
func (a *app) serveRPCCommand() *cobra.Command {
	o := serving{timeout: duration{30 * time.Second}, output: "16MiB"}
	cmd := &cobra.Command{
		Use: "serve-rpc TOPIC", Short: "Answer calls by running a command for each", Args: wants("TOPIC"),
		ValidArgsFunction: a.completeTopic,
		Long: "Answer the calls of a topic, which is created if it does not exist, until Ctrl-C; calls that\n" +
			"were taken are answered before it ends.\n\n" +
			"--exec runs a shell command for each call. The method is in ZBUS_METHOD, the topic in\n" +
			"ZBUS_TOPIC, the call's id in ZBUS_CALL_ID; the parameters are a JSON array on standard\n" +
			"input. What it prints is the result: JSON if it can be read as that, else a text. When\n" +
			"it fails, the caller is told just that (500), and what it wrote to standard error is\n" +
			"listed here; but if it printed a JSON object with an error, and perhaps status, code\n" +
			"and data, the caller gets that. One that prints more than --max-output, or runs longer\n" +
			"than --timeout, is killed with all that it has started.\n\n" +
			"--echo answers with the method and the parameters.",
		Example: "  zbus serve-rpc shop --echo\n" +
			"  zbus serve-rpc shop --exec 'jq \"add\"' --method sum\n" +
			"  zbus serve-rpc shop --exec './answer \"$ZBUS_METHOD\"' --concurrency 8 --timeout 10s",
		RunE: a.run(func(ctx context.Context, i *invocation) error { return i.serveRPC(ctx, &o) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.command, "exec", "", "run this `COMMAND` for each call")
	f.BoolVar(&o.echo, "echo", false, "answer with what was asked, for trying things")
	f.StringArrayVar(&o.methods, "method", nil, "answer only this `METHOD` (repeatable); otherwise all")
	f.IntVar(&o.most, "concurrency", 4, "what `NUMBER` of calls runs at a time")
	f.Var(&o.timeout, "timeout", "how long a command may run before it is killed; 0 is forever")
	f.StringVar(&o.output, "max-output", o.output, "the most that a command may print, as `SIZE`; what a message may have is up to the broker (--max-body)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not list the calls")
	return a.connected(cmd)
}

func (i *invocation) serveRPC(ctx context.Context, o *serving) error {
	switch {
	case (o.command == "") == !o.echo:
		return usage("serve-rpc: say how to answer: --exec COMMAND, or --echo")
	case o.most < 1 || o.most > 10_000:
		return usage("--concurrency %d: must be 1 to 10000", o.most)
	}
	size, err := parseSize("max-output", o.output)
	if err != nil {
		return err
	}
	if o.limit, _ = strconv.ParseInt(size, 10, 64); o.limit == 0 {
		return usage("--max-output %q: must be a size such as 64MiB", o.output)
	}
	c, err := i.dial(ctx, zbus.Options{ReconnectTimeout: endTime})
	if err != nil {
		return err
	}
	defer c.Close()
	topic := i.args[0]
	s := zbus.NewService(c, topic, zbus.ServiceOptions{Concurrency: o.most})
	s.Use(i.logged(o))
	method := o.run
	if o.echo {
		method = echo
	}
	for _, name := range o.methods {
		s.HandleRaw(name, method)
	}
	if len(o.methods) == 0 {
		s.HandleFallback(method)
	}
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: topic, RPC: true}); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	i.awaitConsumer(ctx, c, topic, ended)
	i.say("answering calls of topic %s, %d at a time; Ctrl-C ends gracefully", topic, o.most)
	return <-ended
}

// awaitConsumer returns when the topic has a consumer, which is us unless others are
// there, or the service has ended.
func (i *invocation) awaitConsumer(ctx context.Context, c *zbus.Client, topic string, ended chan error) {
	for {
		info, err := c.QueryTopic(ctx, topic)
		if err != nil && !errors.Is(err, zbus.ErrNotFound) || err == nil && info.Consumers > 0 {
			return
		}
		select {
		case err := <-ended:
			ended <- err // for the goroutine that waits for it
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// logged lists calls as they are answered.
func (i *invocation) logged(o *serving) zbus.MethodMiddleware {
	lines := make(chan struct{}, 1) // the goroutine that has its element writes
	return func(next zbus.Method) zbus.Method {
		return func(ctx context.Context, params json.RawMessage) (any, error) {
			start := time.Now()
			result, err := next(ctx, params)
			if o.quiet {
				return result, err
			}
			call, _ := zbus.CallOf(ctx)
			outcome := "ok"
			if err != nil {
				outcome = "failed: " + oneLine(err.Error(), 200)
			}
			lines <- struct{}{}
			i.say("%s  %s  %s", oneLine(call.Method, 64), millis(time.Since(start).Milliseconds()), outcome)
			<-lines
			return result, err
		}
	}
}

// echo answers with what was asked.
func echo(ctx context.Context, params json.RawMessage) (any, error) {
	call, _ := zbus.CallOf(ctx)
	if len(params) == 0 {
		params = json.RawMessage("[]")
	}
	return struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}{call.Method, params}, nil
}
