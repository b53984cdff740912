package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) serverConfirmClock() *cobra.Command {
	return &cobra.Command{
		Use: "confirm-clock", Short: "Confirm that a broker's clock is right", Args: wants(),
		Long: "Confirm that the clock of a broker's machine is right. When it has jumped by more than\n" +
			"5 minutes, messages are not deleted by age until it has not jumped for an hour\n" +
			"(--clock-hold of zbus serve) or this command is run.",
		Example: "  zbus server confirm-clock",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			d, err := do[struct{ Suspended bool }](ctx, c, "POST /server:confirm-clock", nil)
			if err != nil {
				return err
			}
			switch {
			case i.json:
				return i.printJSON(d.raw)
			case d.value.Suspended:
				_, err = fmt.Fprintln(i.out, "confirmed: messages are deleted by age again")
			default:
				_, err = fmt.Fprintln(i.out, "the clock was not in doubt")
			}
			return err
		}),
	}
}
