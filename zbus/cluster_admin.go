package zbus

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/wire"
)

// ask has each connected server do something: a declare is for all of them, the rest for those that have
// what it is about, which has to be one.
func (cl *cluster) ask(op, target, cmd string, do func(*Client) error) error {
	clients := cl.up()
	var missing error
	var errs []error
	done := false
	for _, c := range clients {
		err := do(c)
		switch {
		case err == nil:
			done = true
		case cmd != wire.CmdDeclare && errors.Is(err, ErrNotFound):
			missing = err
		case len(clients) > 1:
			errs = append(errs, fmt.Errorf("server %s: %w", c.addrs[0].text, err))
		default:
			errs = append(errs, err)
		}
	}
	switch err := errors.Join(errs...); {
	case len(clients) == 0:
		return noServer(op, target)
	case err == nil && !done:
		return missing
	case errors.Is(err, ErrUnavailable) && cmd != wire.CmdQuery && (done || errors.Is(err, ErrUnknownOutcome)):
		return partly(errs).error(op, target)
	default:
		return err
	}
}

// partly is the outcome of a change that some servers have made, or may have, and others certainly have
// not: ErrUnavailable says that nothing was done, which holds for these alone.
func partly(errs []error) *failure {
	f := &failure{text: "other servers have done it, or may have: " + errors.Join(errs...).Error(), kinds: []error{ErrUnknownOutcome}}
	for _, err := range errs {
		if !errors.Is(err, ErrUnavailable) {
			f.kinds = append(f.kinds, err)
		}
	}
	return f
}

// command has servers do something.
func (cl *cluster) command(ctx context.Context, op, target, cmd string, fields []field) error {
	return cl.ask(op, target, cmd, func(c *Client) error { return c.command(ctx, op, target, cmd, fields) })
}

// topic makes one description of those that the servers give.
func (cl *cluster) topic(ctx context.Context, op, topic, cmd string, fields []field) (TopicInfo, error) {
	var found []TopicInfo
	err := cl.ask(op, topic, cmd, func(c *Client) error {
		t, err := c.topic(ctx, op, topic, cmd, fields...)
		if err == nil {
			found = append(found, t)
		}
		return err
	})
	if err != nil {
		return TopicInfo{}, err
	}
	t := found[0]
	if len(found) == 1 {
		return t, nil
	}
	t.Server, t.Groups = "", nil
	groups := make(map[string][]GroupInfo)
	for i := range found {
		o := &found[i]
		for _, g := range o.Groups {
			groups[strings.ToLower(g.Name)] = append(groups[strings.ToLower(g.Name)], g)
		}
		if o.Created.Before(t.Created) {
			t.Created = o.Created
		}
		if o.Updated.After(t.Updated) {
			t.Updated = o.Updated
		}
		if i > 0 {
			t.Messages += o.Messages
			t.Consumers += o.Consumers
		}
	}
	for _, some := range groups {
		t.Groups = append(t.Groups, groupOf(some))
	}
	sort.Slice(t.Groups, func(i, j int) bool { return t.Groups[i].Name < t.Groups[j].Name })
	return t, nil
}

// group makes one description of those that the servers give.
func (cl *cluster) group(ctx context.Context, l loss, op, target, cmd string, fields []field) (GroupInfo, error) {
	for _, f := range fields {
		if cmd == wire.CmdRelocate && (f.Name == wire.HeaderOffset || f.Name == moveToMessage) && len(cl.servers()) > 1 {
			return GroupInfo{}, invalid(op, target, "the place is one of a single server; move the group there, by Client.Server")
		}
	}
	var found []GroupInfo
	err := cl.ask(op, target, cmd, func(c *Client) error {
		g, err := c.group(ctx, l, op, target, cmd, fields...)
		if err == nil {
			found = append(found, g)
		}
		return err
	})
	if err != nil {
		return GroupInfo{}, err
	}
	return groupOf(found), nil
}

// groupOf is what a group is on several servers together: their sums.
func groupOf(found []GroupInfo) GroupInfo {
	g := found[0]
	for i := range found[1:] {
		o := &found[1+i]
		g.Lag += o.Lag
		g.InFlight += o.InFlight
		g.Estimated, g.Paused, g.Cursor = g.Estimated || o.Estimated, g.Paused && o.Paused, 0
		g.Consumers = append(g.Consumers[:len(g.Consumers):len(g.Consumers)], o.Consumers...)
		if o.Created.Before(g.Created) {
			g.Created = o.Created
		}
		if o.Updated.After(g.Updated) {
			g.Updated = o.Updated
		}
	}
	return g
}
