package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go"
)

// serving is what zbus serve-rpc is to do.
type serving struct {
	command string
	echo    bool
	methods []string
	most    int
	timeout duration
	quiet   bool
}

// serveRPCCommand is the verb that answers calls.
func (a *app) serveRPCCommand() *cobra.Command {
	o := serving{timeout: duration{30 * time.Second}}
	cmd := &cobra.Command{
		Use: "serve-rpc TOPIC", Short: "Answer calls by running a command for each", Args: wants("TOPIC"),
		ValidArgsFunction: a.completeTopic,
		Long: "Answer the calls of a topic, which is made if it is not there, until Ctrl-C; calls that\n" +
			"were taken are answered before it ends.\n\n" +
			"--exec runs a shell command for each call. The method is in ZBUS_METHOD, the topic in\n" +
			"ZBUS_TOPIC, the call's id in ZBUS_CALL_ID; the parameters are a JSON array on standard\n" +
			"input. What it prints is the result: JSON if it can be read as that, else a text. When\n" +
			"it fails, the caller gets an error with what it wrote to standard error.\n\n" +
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
	f.Var(&o.timeout, "timeout", "how long a command may run before it is killed; 0 is for ever")
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
	c, err := i.dial(ctx, zbus.Options{MaxWait: endTime})
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
		s.HandleOthers(method)
	}
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: topic, RPC: true}); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	i.awaitConsumer(ctx, c, topic, ended)
	i.say("answering calls of topic %s, %d at a time; Ctrl-C ends in order", topic, o.most)
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
			ended <- err // for whoever waits for that
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// logged lists calls as they are answered.
func (i *invocation) logged(o *serving) zbus.Middleware {
	lines := make(chan struct{}, 1) // whoever has its element writes
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

// run answers a call with what the command prints.
func (o *serving) run(ctx context.Context, params json.RawMessage) (any, error) {
	if o.timeout.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout.Duration)
		defer cancel()
	}
	call, _ := zbus.CallOf(ctx)
	if len(params) == 0 {
		params = json.RawMessage("[]")
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.command)
	cmd.Env = append(os.Environ(), "ZBUS_METHOD="+call.Method, "ZBUS_TOPIC="+call.Topic, "ZBUS_CALL_ID="+call.ID)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(params), &out, &problems
	// A group of its own: Ctrl-C is for us, who wait for it, and a kill is for all of it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch words := strings.TrimSpace(problems.String()); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("killed after %s", o.timeout.Duration)
	case err != nil && words != "":
		return nil, errors.New(words)
	case err != nil:
		return nil, err
	}
	if text := bytes.TrimSpace(out.Bytes()); json.Valid(text) {
		return json.RawMessage(text), nil
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
