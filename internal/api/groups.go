package api

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
)

// groupOf describes a group.
func (h *handler) groupOf(ctx context.Context, g *broker.Group, lagBudget int) (Group, error) {
	return GroupOf(ctx, g, h.stats.Group(g), h.stats.Flow(g), lagBudget)
}

// GroupOf describes a group. rate is how many messages a second are delivered to
// it, flow what comes to it and goes out. To count the lag of a filtered group at
// most lagBudget messages are looked at.
func GroupOf(ctx context.Context, g *broker.Group, rate float64, flow stats.Flow, lagBudget int) (Group, error) {
	info := g.Info()
	lag, exact := inspect.Lag(ctx, g, lagBudget)
	d := Group{
		Topic: g.Topic().Name(), Name: info.Name, Filter: info.Filter, Settle: SettleMode(info.Settle.String()),
		Paused: info.Paused, Exclusive: info.Exclusive, Ephemeral: info.Ephemeral,
		Cursor: apiconv.Count(info.Cursor), Lag: apiconv.Count(lag), LagExact: exact,
		InFlight: apiconv.Count(info.InFlight), Returned: apiconv.Count(info.Returned), Consumers: info.Consumers,
		AckTimeout: g.AckTimeout(), AckWindow: g.AckWindow(), MaxDeliver: info.MaxDeliver,
		Version: g.Version(), Rate: rate, In: flow.In, Out: flow.Out,
		Created: apiconv.Time(info.Created), Updated: apiconv.Time(info.Updated), Creator: info.Creator,
	}
	if dead := info.DeadLetters; dead.Waiting > 0 {
		d.DeadLetters = &DeadLetters{Waiting: apiconv.Count(dead.Waiting)}
		if dead.Cause != "" {
			d.DeadLetters.Cause, d.DeadLetters.RetryIn = &dead.Cause, &dead.Retry
		}
	}
	bytes, err := inspect.LagBytes(ctx, g)
	if err != nil {
		return d, err
	}
	d.LagBytes = apiconv.Optional(apiconv.Count(bytes))
	seconds, since := 0.0, int64(0)
	if lag > 0 {
		if since, err = inspect.OldestPending(ctx, g); err != nil {
			return d, err
		}
	}
	if since > 0 {
		seconds = max(0, float64(time.Now().UnixMilli()-since)/1000)
	}
	d.LagSeconds = &seconds
	d.Drain = apiconv.Drain(lag, flow)
	return d, nil
}

// parseSettle is the way to settle that a request names; nil is none.
func parseSettle(text *SettleMode) (*storage.Settle, error) {
	if text == nil {
		return nil, nil
	}
	settle, ok := storage.ParseSettle(string(*text))
	if !ok {
		return nil, problem.Invalid("settle %q: must be auto or explicit", broker.Excerpt(string(*text)))
	}
	return &settle, nil
}

func (h *handler) ListGroups(ctx context.Context, r ListGroupsRequestObject) (ListGroupsResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(t.Groups(), func(g *broker.Group) bool { return !contains(g.Name(), r.Params.Name) })
	some, next, err := page(all, (*broker.Group).Name, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	answer := ListGroups200JSONResponse{Groups: make([]Group, 0, len(some)), Total: len(all), Next: next}
	for _, g := range some {
		d, err := h.groupOf(ctx, g, listLag)
		if err != nil {
			return nil, err
		}
		answer.Groups = append(answer.Groups, d)
	}
	return answer, nil
}

func (h *handler) CreateGroup(ctx context.Context, r CreateGroupRequestObject) (CreateGroupResponseObject, error) {
	b := r.Body
	if b.Name == "" || strings.HasPrefix(b.Name, broker.Ephemeral) {
		return nil, problem.Invalid("group name %q: must not be empty nor begin with %s", broker.Excerpt(b.Name), broker.Ephemeral)
	}
	spec := broker.GroupSpec{
		Topic: r.Topic, Name: b.Name, Filter: b.Filter, AckTimeout: b.AckTimeout, AckWindow: b.AckWindow,
		MaxDeliver: b.MaxDeliver, Exclusive: b.Exclusive, Paused: b.Paused, New: true,
	}
	var err error
	if spec.Settle, err = parseSettle(b.Settle); err != nil {
		return nil, err
	}
	if err := checkLimits(b.AckTimeout, b.AckWindow, b.MaxDeliver); err != nil {
		return nil, err
	}
	if b.Start != nil {
		if spec.Start, err = apiconv.ParsePosition("start", *b.Start); err != nil {
			return nil, err
		}
	}
	g, _, err := h.view(ctx).DeclareGroup(context.WithoutCancel(ctx), spec)
	if err != nil {
		return nil, err
	}
	d, err := h.groupOf(ctx, g, oneLag)
	return CreateGroup201JSONResponse{Body: d, Headers: CreateGroup201ResponseHeaders{
		ETag:     etag(g.Version()),
		Location: "groups/" + url.PathEscape(g.Name()), // a proxy may have put something in front
	}}, err
}

// checkLimits refuses what the contract does not allow. Further inside some of it
// has a meaning of its own: 0 is the default there.
func checkLimits(ackTimeout, ackWindow, maxDeliver *int64) error {
	for _, l := range []struct {
		name     string
		v        *int64
		min, max int64
	}{{"ackTimeout", ackTimeout, 1, 86_400_000}, {"ackWindow", ackWindow, 1, 10_000}, {"maxDeliver", maxDeliver, 0, 1_048_576}} {
		if l.v != nil && (*l.v < l.min || *l.v > l.max) {
			return problem.Invalid("%s %d: must be %d to %d", l.name, *l.v, l.min, l.max)
		}
	}
	return nil
}

func (h *handler) GetGroup(ctx context.Context, r GetGroupRequestObject) (GetGroupResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	tag := etag(g.Version())
	d, err := h.groupOf(ctx, g, oneLag)
	return GetGroup200JSONResponse{Body: d, Headers: GetGroup200ResponseHeaders{ETag: tag}}, err
}

func (h *handler) UpdateGroup(ctx context.Context, r UpdateGroupRequestObject) (UpdateGroupResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	b := r.Body
	spec := broker.GroupSpec{
		Topic: g.Topic().Name(), Name: g.Name(), Filter: b.Filter, AckTimeout: b.AckTimeout, AckWindow: b.AckWindow,
		MaxDeliver: b.MaxDeliver, Exclusive: b.Exclusive, Paused: b.Paused,
	}
	if spec.Version, err = ifMatch(r.Params.IfMatch, g.Version()); err != nil {
		return nil, err
	}
	if spec.Reason, err = apiconv.ParseReason(b.Reason); err != nil {
		return nil, err
	}
	if spec.Settle, err = parseSettle(b.Settle); err != nil {
		return nil, err
	}
	if err := checkLimits(b.AckTimeout, b.AckWindow, b.MaxDeliver); err != nil {
		return nil, err
	}
	if g, _, err = h.view(ctx).DeclareGroup(context.WithoutCancel(ctx), spec); err != nil {
		return nil, err
	}
	tag := etag(g.Version())
	d, err := h.groupOf(ctx, g, oneLag)
	return UpdateGroup200JSONResponse{Body: d, Headers: UpdateGroup200ResponseHeaders{ETag: tag}}, err
}

func (h *handler) DeleteGroup(ctx context.Context, r DeleteGroupRequestObject) (DeleteGroupResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	version, err := ifMatch(r.Params.IfMatch, g.Version())
	if err != nil {
		return nil, err
	}
	err = h.view(ctx).RemoveGroup(context.WithoutCancel(ctx), r.Topic, r.Group, version)
	return DeleteGroup204Response{}, err
}
