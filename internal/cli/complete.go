package cli

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// completionTime is how long a shell waits for names when Tab is pressed. Without
// them in time there are none: completion never complains.
const completionTime = time.Second

// completeContexts offers the names of saved servers.
func (a *app) completeContexts(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
	all, err := loadContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, name := range all.names() {
		if strings.HasPrefix(name, begin) {
			names = append(names, name+"\t"+all.Contexts[name].Server)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTopic offers topics for the first argument, and nothing for others.
func (a *app) completeTopic(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(cmd, begin, "topics", func(ctx context.Context, c *api, after *string) (*http.Response, error) {
		return c.send(ctx, "GET /topics", &apimodel.ListTopicsParams{Name: &begin, After: after, Limit: ptr(pageSize)})
	})
}

// completeTopicGroup offers topics for the first argument and their groups for the
// second.
func (a *app) completeTopicGroup(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeTopic(cmd, args, begin)
	}
	return a.names(cmd, begin, "groups", func(ctx context.Context, c *api, after *string) (*http.Response, error) {
		return c.send(ctx, "GET /topics/{topic}/groups", &apimodel.ListGroupsParams{Name: &begin, After: after, Limit: ptr(pageSize)}, args[0])
	})
}

// completeGroupFlag offers the groups of the topic that is the first argument.
func (a *app) completeGroupFlag(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeTopicGroup(cmd, args[:1], begin)
}

// names asks the server for one page of names that begin so.
func (a *app) names(cmd *cobra.Command, begin, member string, fetch func(ctx context.Context, c *api, after *string) (*http.Response, error)) ([]string, cobra.ShellCompDirective) {
	s, err := a.servers.Find()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := s.api()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	var names []string
	for d, err := range list[struct{ Name string }](c, member, func(after *string) (*http.Response, error) { return fetch(ctx, c, after) }) {
		if err != nil || len(names) == pageSize {
			break
		}
		if strings.HasPrefix(strings.ToLower(d.value.Name), strings.ToLower(begin)) {
			names = append(names, d.value.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
