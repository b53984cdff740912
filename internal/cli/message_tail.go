package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/apirequest"
	"github.com/rushmore/zbus-go/zbus"
)

// tail shows the newest messages, oldest of them first, and continues if it is to
// follow.
func (i *invocation) tail(ctx context.Context, c *api, most int, follow bool, filter string) error {
	p := &apimodel.BrowseMessagesParams{Dir: ptr(apimodel.BrowseMessagesParamsDir("prev"))}
	if filter != "" {
		p.Tag = &filter
	}
	var found []decoded[apimodel.Message]
	next, err := i.look(ctx, c, i.args[0], p, max(most, 1), func(d decoded[apimodel.Message]) error {
		found = append(found, d)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(found)
	for _, d := range found[:min(len(found), max(most, 0))] {
		if err := i.printTail(d); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	var last *string // nil: there was no message yet, and none is to be passed over
	if n := value(next); n > 0 {
		last = ptr(format(n - 1))
	}
	for ctx.Err() == nil {
		err := i.events(ctx, c, &apimodel.StreamEventsParams{Filter: p.Tag, LastEventID: last}, func(d decoded[apimodel.Message]) error {
			last = &d.value.Offset
			return i.printTail(d)
		})
		switch {
		case ctx.Err() != nil || i.out.err != nil:
			return i.out.err
		case err != nil && !errors.Is(err, zbus.ErrUnavailable) && !errors.Is(err, zbus.ErrUnknownOutcome):
			return hint(err, "see zbus topic list")
		}
		select { // the broker went away: it may come back
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

// events calls each for the messages that come, until ctx ends or the broker does.
func (i *invocation) events(ctx context.Context, c *api, p *apimodel.StreamEventsParams, each func(decoded[apimodel.Message]) error) error {
	req, err := c.request(ctx, "GET /topics/{topic}/events", &apimodel.StreamEventsParams{Filter: p.Filter}, i.args[0])
	if err != nil {
		return err
	}
	if p.LastEventID != nil {
		req.Header.Set("Last-Event-ID", *p.LastEventID)
	}
	resp, err := apirequest.Send(c.web, req)
	if err != nil || resp.StatusCode != http.StatusOK {
		_, err := c.answer(resp, err)
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return c.noAnswer(err)
		}
		data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:")
		if !ok {
			continue
		}
		d, err := decode[apimodel.Message](json.RawMessage(strings.TrimSpace(data)), nil)
		if err != nil {
			return err
		}
		if err := each(d); err != nil {
			return err
		}
	}
}

// printTail prints one message on one line. It can't know the widths of what is still
// to come, so the columns have fixed ones.
func (i *invocation) printTail(d decoded[apimodel.Message]) error {
	if i.json {
		return i.printJSON(d.raw)
	}
	m := &d.value
	_, err := fmt.Fprintf(i.out, "%9s  %s  %-16s  %s\n", count(m.Offset), i.when(m.Time), oneLine(text(m.Tag), 30), oneLine(bodyText(m), 100))
	return err
}
