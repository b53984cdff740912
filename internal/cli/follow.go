package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/zbus"
)

// following are the flags of commands that can keep showing.
type following struct {
	on    bool
	every duration
}

func (f *following) register(cmd *cobra.Command, what string) {
	f.every.Duration = time.Second
	cmd.Flags().BoolVarP(&f.on, "follow", "f", false, "keep showing "+what+" until Ctrl-C")
	cmd.Flags().Var(&f.every, "every", "with --follow: how often")
}

const clearScreen = "\x1b[H\x1b[2J\x1b[3J"

// showing runs a command that shows what the API has, once or with --follow.
func (a *app) showing(f *following, show func(ctx context.Context, i *invocation, c *api) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, i *invocation) error {
		c, err := i.api()
		if err != nil {
			return err
		}
		return i.follow(ctx, f, func(ctx context.Context, i *invocation) error { return show(ctx, i, c) })
	})
}

// follow shows something once, or with --follow again and again: on a terminal in the
// same place. A broker that can't be reached for a while does not end it.
func (i *invocation) follow(ctx context.Context, f *following, show func(ctx context.Context, i *invocation) error) error {
	if !f.on {
		return show(ctx, i)
	}
	tick := time.NewTicker(max(f.every.Duration, 50*time.Millisecond))
	defer tick.Stop()
	for shown := false; ; {
		var screen bytes.Buffer
		frame := *i
		frame.out = &output{w: &screen}
		err := show(ctx, &frame)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !(shown && errors.Is(err, zbus.ErrUnavailable)):
			return err
		case err != nil:
			i.say("%v", err)
		}
		if isTerminal(i.out.w) && err == nil {
			i.out.steer(clearScreen)
		} else if shown && !i.json {
			fmt.Fprintln(i.out)
		}
		if _, err := i.out.Write(screen.Bytes()); err != nil {
			return err
		}
		shown = true
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
