package cli

import (
	"context"
	"net/http"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// listClusterTopics lists the topics of all brokers that are known, each with a line for its
// sums and one for each broker that has it.
func (i *invocation) listClusterTopics(ctx context.Context, c *api, kind *apimodel.TopicKind) error {
	p := apimodel.ListTopicsParams{Scope: ptr(apimodel.ListTopicsParamsScopeCluster), Kind: kind, Limit: ptr(pageSize)}
	if len(i.args) > 0 {
		p.Name = &i.args[0]
	}
	t := newTable("TOPIC", "KIND", "SERVER", "STATE", ">MESSAGES", ">LAG", ">CONSUMERS")
	for d, err := range list[apimodel.ClusterTopic](c, "topics", func(after *string) (*http.Response, error) {
		p.After = after
		return c.send(ctx, "GET /topics", &p)
	}) {
		if err != nil {
			return err
		}
		if i.json {
			if err := i.printJSON(d.raw); err != nil {
				return err
			}
			continue
		}
		v := d.value
		if len(v.Servers) > 1 {
			t.add(v.Name, string(v.Kind), number(len(v.Servers))+" servers", "", count(v.Depth), count(v.Lag), number(v.Consumers))
		}
		for _, s := range v.Servers {
			t.add(v.Name, string(v.Kind), s.Address, string(s.State), count(s.Depth), count(s.Lag), number(s.Consumers))
		}
	}
	if i.json {
		return nil
	}
	return i.printTable(t, "no topics; create one with zbus topic create TOPIC")
}
