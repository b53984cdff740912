package cli

import (
	"context"
	"net/http"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// listClusterTopics lists the topics of all brokers that are known, each with a line for its
// sums and one for each broker that has it.
func (i *invocation) listClusterTopics(ctx context.Context, c *api, kind *apimodel.TopicKind) error {
	p := apimodel.ListTopicsParams{Scope: ptr(apimodel.Cluster), Kind: kind, Limit: ptr(pageSize)}
	if len(i.args) > 0 {
		p.Name = &i.args[0]
	}
	t := newTable("TOPIC", "KIND", "SERVER", "STATE", ">MESSAGES", ">LAG", ">CONSUMERS")
	all := list[apimodel.ClusterTopic](c, "topics", func(after *string) (*http.Response, error) {
		p.After = after
		return c.send(ctx, "GET /topics", &p)
	})
	return printPages(i, all, t, "no topics; create one with zbus topic create TOPIC", func(v *apimodel.ClusterTopic) {
		if len(v.Servers) > 1 {
			t.add(v.Name, string(v.Kind), number(len(v.Servers))+" servers", "", count(v.Depth), count(v.Lag), number(v.Consumers))
		}
		for _, s := range v.Servers {
			t.add(v.Name, string(v.Kind), s.Address, string(s.State), count(s.Depth), count(s.Lag), number(s.Consumers))
		}
	})
}
