package zbus

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/wire"
)

// everywhere does something on each server that is connected.
func (cl *cluster) everywhere(op, target string, do func(*Client) error) error {
	clients := cl.up()
	if len(clients) == 0 {
		return noServer(op, target)
	}
	var errs []error
	for _, c := range clients {
		err := do(c)
		if err != nil && len(clients) > 1 {
			err = fmt.Errorf("server %s: %w", c.addrs[0].text, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// somewhere is everywhere for what need not be on all servers, but has to be on one.
func (cl *cluster) somewhere(op, target string, do func(*Client) error) error {
	var missing error
	there := false
	err := cl.everywhere(op, target, func(c *Client) error {
		err := do(c)
		if errors.Is(err, ErrNotFound) {
			missing = err
			return nil
		}
		there = there || err == nil
		return err
	})
	if err == nil && !there {
		return missing
	}
	return err
}

// ask has each connected server do something: a declare is for all of them, the rest for those that have
// what it is about.
func (cl *cluster) ask(op, target, cmd string, do func(*Client) error) error {
	if cmd == wire.CmdDeclare {
		return cl.everywhere(op, target, do)
	}
	return cl.somewhere(op, target, do)
}

// command has servers do something.
func (cl *cluster) command(ctx context.Context, op, target, cmd string, fields []field) error {
	return cl.somewhere(op, target, func(c *Client) error { return c.command(ctx, op, target, cmd, fields) })
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
	if err != nil || len(found) == 1 {
		return first(found), err
	}
	t := found[0]
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
		return first(found), err
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

// first is the first of what was found, or nothing.
func first[T any](found []T) (none T) {
	if len(found) == 0 {
		return none
	}
	return found[0]
}
