package daemon

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
)

// database describes the brokers that share a database, and its servers, for the API. It is nil with SQLite.
func (e *engine) database() func(context.Context) (apimodel.ClusterStatus, error) {
	if e.server == nil {
		return nil
	}
	return e.status
}

func (e *engine) status(ctx context.Context) (apimodel.ClusterStatus, error) {
	st, err := e.server.Status(ctx)
	if err != nil {
		return apimodel.ClusterStatus{}, &broker.Error{Code: broker.Unavailable, Err: err, Text: "the database does not answer"}
	}
	d := apimodel.ClusterStatus{
		Database:  &apimodel.ClusterDatabase{Primary: st.Primary, Standbys: []apimodel.DatabaseStandby{}, Synchronous: e.server.Replicated()},
		Takeovers: []apimodel.Takeover{},
	}
	for _, n := range st.Nodes {
		state := apimodel.Active
		if n.Waiting {
			state = apimodel.Waiting
		}
		d.Nodes = append(d.Nodes, apimodel.ClusterNode{Name: n.Name, Address: n.Address, State: state})
	}
	for _, s := range st.Standbys {
		one := apimodel.DatabaseStandby{Name: s.Name, Address: apiconv.Optional(s.Address), State: apiconv.Optional(s.State), Synchronous: s.Synchronous}
		if s.Lag >= 0 {
			one.Lag = new(apiconv.Count(s.Lag))
		}
		d.Database.Standbys = append(d.Database.Standbys, one)
	}
	for _, t := range st.Takeovers {
		d.Takeovers = append(d.Takeovers, apimodel.Takeover{
			Time: t.Time.UTC().Truncate(time.Millisecond), Node: t.Node, Previous: apiconv.Optional(t.Previous), Reason: apimodel.TakeoverReason(t.Reason),
		})
	}
	return d, nil
}
