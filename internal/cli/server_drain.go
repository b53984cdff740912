package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

func (a *app) serverDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain [ADDRESS]", Short: "Have clients go from a broker to the others, before it stops", Args: wants("[ADDRESS]"),
		Long: "Have clients go from a broker to the others that have its topics: the one that is asked,\n" +
			"or the one with an ADDRESS of zbus server list, to which the request is passed on with the\n" +
			"same token. Consumers get what is left there first, for as long as its --drain says (30s).\n" +
			"It lasts until undrain, or until the broker is started again.",
		Example: "  zbus server drain\n  zbus server drain 10.0.0.2:15555 --yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			return i.drain(ctx, "POST /servers/{address}:drain", func(address string) error {
				return i.confirm(ctx, "this has the clients of "+address+" go to other brokers", "Drain it?")
			})
		}),
	}
	return a.asks(cmd)
}

func (a *app) serverUndrain() *cobra.Command {
	return &cobra.Command{
		Use: "undrain [ADDRESS]", Short: "Have clients use a broker again", Args: wants("[ADDRESS]"),
		Example: "  zbus server undrain 10.0.0.2:15555",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			return i.drain(ctx, "POST /servers/{address}:undrain", func(string) error { return nil })
		}),
	}
}

// drain drains a broker, or ends that, if confirm says so.
func (i *invocation) drain(ctx context.Context, operation string, confirm func(address string) error) error {
	c, err := i.api()
	if err != nil {
		return err
	}
	address := ""
	if len(i.args) > 0 {
		address = i.args[0]
	} else if address, err = i.thisServer(ctx, c); err != nil {
		return err
	}
	if err := confirm(address); err != nil {
		return err
	}
	d, err := do[apimodel.KnownServer](ctx, c, operation, nil, address)
	if err != nil {
		return err
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	_, err = fmt.Fprintf(i.out, "%s: %s\n", d.value.Address, d.value.State)
	return err
}

// thisServer is the address of the broker that is asked, as it calls itself.
func (i *invocation) thisServer(ctx context.Context, c *api) (string, error) {
	for d, err := range list[apimodel.KnownServer](c, "servers", func(*string) (*http.Response, error) { return c.send(ctx, "GET /servers", nil) }) {
		if err != nil {
			return "", err
		}
		if d.value.This {
			return d.value.Address, nil
		}
	}
	return "", fail(zbus.ErrInternal, "the broker is not among the servers that it lists")
}
