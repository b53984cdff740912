package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

func (a *app) serverExport() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Print all topics and groups as JSON, without messages and places", Args: wants(),
		Long:    "Print all topics and groups as JSON, without messages and places, for zbus server import\nhere or at another broker.",
		Example: "  zbus server export > definitions.json\n  zbus server export | zbus server import - --context staging --dry-run",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			c, err := i.api()
			if err != nil {
				return err
			}
			raw, err := c.answer(c.send(ctx, "GET /definitions", nil))
			if err != nil {
				return err
			}
			if i.json {
				return i.printJSON(raw)
			}
			var text bytes.Buffer // of more than one line, for versions to be compared
			if err := json.Indent(&text, bytes.TrimSpace(raw), "", "  "); err != nil {
				return err
			}
			text.WriteByte('\n')
			_, err = i.out.Write(text.Bytes())
			return err
		}),
	}
}

func (a *app) serverImport() *cobra.Command {
	var dryRun, prune bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make topics and groups as a file of definitions says", Args: wants("FILE"),
		Long: "Make topics and groups as a file of zbus server export says; - is standard input. What is\n" +
			"missing is created, what differs is changed, and with --prune what is not mentioned is\n" +
			"deleted, messages and all. The changes are listed before anything is done.",
		Example: "  zbus server import definitions.json --dry-run\n  zbus server import definitions.json --prune --yes",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			text, err := i.readFile(ctx, i.args[0])
			if err != nil {
				return err
			}
			if !json.Valid(text) {
				return fail(ErrData, "%s: is not JSON; zbus server export writes what is wanted", i.args[0])
			}
			if !dryRun && !i.yes && !isTerminal(i.in) {
				return usage("server import: add --dry-run to see the changes, or --yes to make them where no user can be asked")
			}
			c, err := i.api()
			if err != nil {
				return err
			}
			return i.importDefinitions(ctx, c, text, dryRun, prune)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "list the changes and make none")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete topics and groups that are not mentioned")
	return a.asks(cmd)
}

// readFile reads a whole file, or standard input for -.
func (i *invocation) readFile(ctx context.Context, path string) ([]byte, error) {
	if path == "-" {
		return readAll(ctx, i.in)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(ErrNoInput, "%v", err)
	}
	return text, nil
}

func (i *invocation) importDefinitions(ctx context.Context, c *api, text []byte, dryRun, prune bool) error {
	send := func(dry bool) (decoded[apimodel.ImportReport], error) {
		return do[apimodel.ImportReport](ctx, c, "POST /definitions?dryRun={dry}&prune={prune}", json.RawMessage(text), strconv.FormatBool(dry), strconv.FormatBool(prune))
	}
	d, err := send(true)
	if err != nil {
		return err
	}
	if dryRun && i.json {
		return i.printJSON(d.raw)
	}
	if !i.json {
		i.printChanges(&d.value)
	}
	if dryRun || len(d.value.Changes) == 0 && !i.json {
		return nil
	}
	if err := i.confirm(ctx, "", "Make "+counted(format(int64(len(d.value.Changes))), "change", "changes")+"?"); err != nil {
		return err
	}
	if d, err = send(false); err != nil {
		return fmt.Errorf("%w; changes before that are made, and importing again continues from there", err)
	}
	if i.json {
		return i.printJSON(d.raw)
	}
	fmt.Fprintf(i.out, "%s made\n", counted(format(int64(len(d.value.Changes))), "change", "changes"))
	return nil
}

func (i *invocation) printChanges(r *apimodel.ImportReport) {
	for _, c := range r.Changes {
		fmt.Fprintf(i.out, "%s %s", c.Action, c.Target)
		if c.Messages != nil {
			fmt.Fprintf(i.out, ", with %s", counted(*c.Messages, "message", "messages"))
		}
		fmt.Fprintln(i.out)
		for _, d := range c.Differences {
			if c.Action == "update" {
				fmt.Fprintf(i.out, "    %s: %s to %s\n", d.Member, d.From, d.To)
			}
		}
	}
	fmt.Fprintf(i.out, "%s, %d as they are\n", counted(format(int64(len(r.Changes))), "change", "changes"), r.Unchanged)
}
