package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apirequest"
	"github.com/rushmore/zbus-go/zbus"
)

// pingPause is how long a ping that waits leaves the broker alone.
const pingPause = 100 * time.Millisecond

// pingReadLimit is how much of what a broker says of its health is read.
const pingReadLimit = 64 << 10

func (a *app) pingCommand() *cobra.Command {
	var wait duration
	cmd := &cobra.Command{
		Use: "ping", Aliases: []string{"health"}, Short: "Ask a broker whether it answers and is ready", Args: wants(),
		Long: "Ask a broker whether it answers and is ready to take work, over both of its protocols.\n" +
			"What is wrong is printed, a line for each condition. With --wait it is asked again until\n" +
			"it is ready: for scripts that have just started one.",
		Example: "  zbus ping\n  zbus serve & zbus ping --wait 10s && zbus topic create orders",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			for began := time.Now(); ; {
				h, err := i.ping(ctx)
				if err == nil && h.Ready || time.Since(began) >= wait.Duration || errors.Is(err, zbus.ErrUnauthorized) {
					return i.printHealth(h, err)
				}
				select {
				case <-time.After(pingPause):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}),
	}
	cmd.Flags().Var(&wait, "wait", "how long to wait for it to be ready")
	return a.connected(a.shows(cmd))
}

// health is how a broker answers.
type health struct {
	Server  string   `json:"server"`
	Ready   bool     `json:"ready"`
	Millis  float64  `json:"milliseconds"` // that a ping took
	Details []string `json:"details"`      // why it is not ready, and what else is wrong
}

// ping asks over the native protocol, and for the rest over HTTP.
func (i *invocation) ping(ctx context.Context) (h health, err error) {
	c, err := i.dial(ctx, zbus.Options{ReconnectTimeout: -1})
	if err != nil {
		return h, err
	}
	defer c.Close()
	began := time.Now()
	if err := c.Ping(ctx); err != nil {
		return h, err
	}
	h.Server, h.Millis = c.Address(), float64(time.Since(began).Microseconds())/1000
	a, err := i.api()
	if err != nil {
		return h, err
	}
	req, err := a.request(ctx, "GET /server", nil)
	if err != nil {
		return h, err
	}
	req.URL.Path = strings.TrimSuffix(req.URL.Path, "/api/v1/server") + "/readyz" // which is not of the API
	resp, err := apirequest.Send(a.web, req)
	if err != nil {
		return h, a.noAnswer(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, pingReadLimit))
	if err != nil {
		return h, a.noAnswer(err)
	}
	h.Ready, h.Details = resp.StatusCode == http.StatusOK, []string{}
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if n > 0 || !h.Ready {
			h.Details = append(h.Details, line)
		}
	}
	return h, nil
}

func (i *invocation) printHealth(h health, err error) error {
	if err != nil {
		return err
	}
	if i.json {
		if err := i.printJSON(h); err != nil {
			return err
		}
	} else {
		state := "ready"
		if !h.Ready {
			state = "not ready"
		}
		lines := append([]string{h.Server + " is " + state + ", a ping took " + rate(h.Millis) + " ms"}, h.Details...)
		if _, err := io.WriteString(i.out, strings.Join(lines, "\n")+"\n"); err != nil {
			return err
		}
	}
	if !h.Ready {
		return fail(zbus.ErrUnavailable, "the broker is not ready")
	}
	return nil
}
