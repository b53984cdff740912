package cli

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/rushmore/zbus-go/zbus"
)

// topicApply makes topics as a file says.
func (a *app) topicApply() *cobra.Command {
	return a.apply(&cobra.Command{
		Use: "apply", Short: "Make topics, and their groups, as a file says", Args: wants(),
		Long: "Make topics as a file says, in YAML or JSON: a list of topics, each with its groups, as the\n" +
			"API's definitions have them (zbus server export prints some). What is missing is created,\n" +
			"what differs is changed, and what is not mentioned stays. The changes are listed before\n" +
			"anything is done; applying a file again changes nothing.",
		Example: "  zbus topic apply -f topics.yaml --dry-run\n  zbus topic apply -f - --yes < topics.yaml\n\n" +
			"  - name: orders\n    retention: {maxAge: 604800000}\n    groups:\n    - {name: billing, settle: explicit, maxDeliver: 5}",
	})
}

// groupApply makes groups of a topic as a file says.
func (a *app) groupApply() *cobra.Command {
	return a.apply(&cobra.Command{
		Use: "apply TOPIC", Short: "Make groups of a topic as a file says", Args: wants("TOPIC"), ValidArgsFunction: a.completeTopic,
		Long: "Make groups of a topic as a file says, in YAML or JSON: a list of groups, as the API's\n" +
			"definitions have them. The topic has to exist, and stays as it is, as do groups that are not\n" +
			"mentioned. The changes are listed before anything is done.",
		Example: "  zbus group apply orders -f groups.yaml --dry-run\n\n  - {name: billing, settle: explicit, maxDeliver: 5}\n  - {name: audit, filter: 'eu.#'}",
	})
}

// apply makes of a command one that makes what a file says.
func (a *app) apply(cmd *cobra.Command) *cobra.Command {
	var file string
	var dryRun bool
	cmd.RunE = a.run(func(ctx context.Context, i *invocation) error {
		switch {
		case file == "":
			return usage("apply: --file is missing: what is to be there, or - for standard input")
		case !dryRun && !i.yes && !isTerminal(i.in):
			return usage("apply: add --dry-run to see the changes, or --yes to make them where no user can be asked")
		}
		list, err := i.readDefinitions(ctx, file)
		if err != nil {
			return err
		}
		c, err := i.api()
		if err == nil && len(i.args) > 0 {
			list, err = i.withGroups(ctx, c, i.args[0], list)
		}
		if err != nil {
			return err
		}
		text, err := json.Marshal(map[string]any{"topics": list})
		if err != nil {
			return fail(ErrData, "%s: %v", file, err)
		}
		return i.importDefinitions(ctx, c, text, dryRun, false)
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&file, "file", "f", "", "read this `FILE`; - is standard input")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "list the changes and make none")
	return a.asks(cmd)
}

// readDefinitions reads a file in YAML, of which JSON is a part, and returns the list in it: it may also
// be one definition, or what zbus server export writes.
func (i *invocation) readDefinitions(ctx context.Context, file string) (list []any, err error) {
	text, err := i.readFile(ctx, file)
	if err != nil {
		return nil, err
	}
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return nil, fail(ErrData, "%s: %v", file, err)
	}
	if object, ok := value.(map[string]any); ok {
		if value = object["topics"]; value == nil {
			value = []any{object}
		}
	}
	if list, _ = value.([]any); len(list) == 0 {
		return nil, fail(ErrData, "%s: must be a list of definitions, or one", file)
	}
	return list, nil
}

// withGroups is the definition of a topic as it is, but for its groups.
func (i *invocation) withGroups(ctx context.Context, c *api, topic string, groups []any) ([]any, error) {
	raw, err := c.answer(c.send(ctx, "GET /definitions", nil))
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	topics, _ := all["topics"].([]any)
	for _, t := range topics {
		t, ok := t.(map[string]any)
		if name, _ := t["name"].(string); ok && strings.EqualFold(name, topic) { // as the broker compares names
			t["groups"] = groups
			return []any{t}, nil
		}
	}
	return nil, fail(zbus.ErrNotFound, "there is no topic %s; see zbus topic list", topic)
}
