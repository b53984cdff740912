package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/zbus"
)

// calling is what zbus call is to do.
type calling struct {
	params, body string
	hasBody      bool
	timeout      duration
	wait         duration
	began        time.Time // when waiting did
}

// waitPause is how long a call that waits for its service leaves the broker alone.
const waitPause = 50 * time.Millisecond

// callCommand is the verb that calls a method of a service.
func (a *app) callCommand() *cobra.Command {
	o := calling{timeout: duration{10 * time.Second}}
	cmd := &cobra.Command{
		Use: "call TOPIC [METHOD [PARAM...]]", Short: "Call a method of a service and print its result",
		Args: wants("TOPIC", "[METHOD]", "[PARAM]..."), ValidArgsFunction: a.completeTopic,
		Long: "Call a method of a service and print its result: a text as it is, all else as JSON. A\n" +
			"PARAM is JSON if it can be read as that, else a text; quote a number to send it as\n" +
			"text: '\"42\"'. Without METHOD the methods are asked for.\n\n" +
			"The exit code is 1 when the service answers with an error, 69 when no provider answers calls\n" +
			"of this topic, 75 when there is no answer in time, 76 when it is unknown whether it ran.",
		Example: "  zbus call shop price pizza 2\n" +
			"  zbus call shop order '{\"item\": \"pizza\", \"count\": 2}' --timeout 30s\n" +
			"  zbus serve-rpc shop --echo & zbus call shop price --wait 5s\n" +
			"  echo '[\"pizza\", 2]' | zbus call shop price --params -\n" +
			"  zbus call shop --body '{\"method\": \"price\", \"params\": [\"pizza\", 2]}'",
	}
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		o.hasBody = cmd.Flags().Changed("body")
		return i.call(ctx, &o)
	})
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.params, "params", "", "read the parameters, a JSON array or one value, from this `FILE`, or - for standard input")
	f.Var(&o.timeout, "timeout", "how long to wait for the answer")
	f.Var(&o.wait, "wait", "how long to wait before that for the topic and its first provider")
	f.StringVar(&o.body, "body", "", "send this `TEXT` as it is, and print the answer as it is; - is standard input")
	f.BoolVar(&a.json, "json", false, "print a text, too, as JSON")
	a.rawFlag(f)
	return a.connected(cmd)
}

func (i *invocation) call(ctx context.Context, o *calling) error {
	params, err := i.params(ctx, o)
	if err != nil {
		return err
	}
	if o.timeout.Duration <= 0 {
		return usage("call: --timeout must be more than nothing")
	}
	c, err := i.dial(ctx, zbus.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	topic, method := i.args[0], ""
	if len(i.args) > 1 {
		method = i.args[1]
	}
	o.began = time.Now()
	if err := o.served(ctx, func(ctx context.Context) error { return i.forCalls(ctx, c, topic) }); err != nil {
		return err
	}
	if o.hasBody {
		return i.request(ctx, c, topic, o)
	}
	var result json.RawMessage
	err = o.served(ctx, func(ctx context.Context) error { return c.Call(ctx, topic, method, &result, params...) })
	if err != nil {
		return callError(err, topic)
	}
	var words string
	if !i.json && json.Unmarshal(result, &words) == nil && string(result) != "null" {
		_, err := i.out.Write([]byte(words + "\n"))
		return err
	}
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	return i.printJSON(result)
}

// served tries, each time with the whole timeout, and tries again for as long as is to be
// waited, while there is no topic or nothing that takes calls. The call did not run then.
func (o *calling) served(ctx context.Context, try func(context.Context) error) error {
	for {
		within, cancel := context.WithTimeout(ctx, o.timeout.Duration)
		err := try(within)
		cancel()
		var answer *zbus.CallError
		early := !errors.As(err, &answer) && (errors.Is(err, zbus.ErrNotFound) || errors.Is(err, zbus.ErrUnavailable))
		if !early || time.Since(o.began) >= o.wait.Duration {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(waitPause):
		}
	}
}

// forCalls checks that a topic is one for calls: the broker would store the call as a
// message.
func (i *invocation) forCalls(ctx context.Context, c *zbus.Client, topic string) error {
	info, err := c.QueryTopic(ctx, topic)
	if err != nil {
		return hint(err, "see zbus topic list, or start a service with zbus serve-rpc %s", topic)
	}
	if !info.RPC {
		return usage("call: topic %s is not for calls: see zbus produce, or start a service with zbus serve-rpc under another name", topic)
	}
	return nil
}

// params reads the parameters of a call.
func (i *invocation) params(ctx context.Context, o *calling) (params []any, err error) {
	words := i.args[min(2, len(i.args)):]
	switch {
	case o.hasBody && (len(i.args) > 1 || o.params != ""):
		return nil, usage("call: --body is the whole call; it goes with neither METHOD nor parameters")
	case o.params != "" && len(words) > 0:
		return nil, usage("call: parameters are either arguments or in --params")
	case o.params != "":
		text, err := i.readFile(ctx, o.params)
		if err != nil {
			return nil, err
		}
		var list []json.RawMessage
		if json.Unmarshal(text, &list) != nil {
			if !json.Valid(text) {
				return nil, fail(ErrData, "%s: must be a JSON array of parameters, or one of them", o.params)
			}
			return []any{json.RawMessage(bytes.TrimSpace(text))}, nil
		}
		for _, p := range list {
			params = append(params, p)
		}
		return params, nil
	}
	for _, word := range words {
		if json.Valid([]byte(word)) {
			params = append(params, json.RawMessage(word))
		} else {
			params = append(params, word)
		}
	}
	return params, nil
}

// request sends a body as it is and prints the answer's.
func (i *invocation) request(ctx context.Context, c *zbus.Client, topic string, o *calling) error {
	content := []byte(o.body)
	if o.body == "-" {
		text, err := readAll(ctx, i.in)
		if err != nil {
			return err
		}
		content = text
	}
	var resp *zbus.Response
	err := o.served(ctx, func(ctx context.Context) (err error) {
		resp, err = c.Request(ctx, topic, zbus.Message{Body: content})
		return err
	})
	if err != nil {
		return callError(err, topic)
	}
	if _, err := i.out.Write(resp.Body); err != nil || bytes.HasSuffix(resp.Body, []byte("\n")) || !isTerminal(i.out.w) {
		return err
	}
	_, err = i.out.Write([]byte("\n"))
	return err
}

// callError says of a call that failed what may be done.
func callError(err error, topic string) error {
	var remote *zbus.CallError
	switch {
	case errors.As(err, &remote):
		return &failure{remote.Message, ErrAnswer} // not what its status stands for
	case errors.Is(err, zbus.ErrTimeout):
		return &failure{plain(err).Error() + "; it may have run: --timeout says how long to wait", errors.Join(ErrIncomplete, err)}
	case errors.Is(err, zbus.ErrUnavailable):
		return &failure{plain(err).Error() + "; start a service with zbus serve-rpc " + topic, err}
	}
	return hint(err, "see zbus topic list, or start a service with zbus serve-rpc %s", topic)
}
