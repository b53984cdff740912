package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How many messages are looked at to count the lag of a filtered group.
const (
	oneLag  = 20_000 // when one group or topic is asked for
	listLag = 512    // in lists
)

// parseKind is the kind of a new topic.
func parseKind(text TopicKind) (storage.Kind, error) {
	kind, ok := storage.ParseKind(string(text))
	if !ok {
		return 0, problem.Invalid("kind %q: must be log, memory, rpc or proxy", broker.Excerpt(string(text)))
	}
	return kind, nil
}

// topicOf describes a topic.
func (h *handler) topicOf(ctx context.Context, t *broker.Topic, lagBudget int) (Topic, error) {
	def := t.Definition()
	rates := h.stats.Topic(t)
	d := Topic{
		Name: def.Name, Kind: apiconv.TopicKind(t), Paused: def.Paused, Damage: apiconv.Optional(def.Damage), Retention: retentionOf(def.Retention),
		Depth: apiconv.Count(def.Next - def.First), FirstOffset: apiconv.Count(def.First), NextOffset: apiconv.Count(def.Next), Bytes: apiconv.Count(def.Bytes),
		Created: apiconv.Time(def.Created), Updated: apiconv.Time(def.Updated), Creator: def.Creator, Owner: apiconv.Optional(def.Owner),
		Consumers: t.Subscriptions(), Rates: Rates{In: rates.In, Out: rates.Out}, Groups: []Group{},
	}
	if def.LastTime > 0 {
		last := apiconv.Time(def.LastTime)
		d.LastTime = &last
	}
	if first, err := t.TimeAt(ctx, def.First); err == nil && first > 0 {
		oldest := apiconv.Time(first)
		d.FirstTime = &oldest
	}
	for _, g := range t.Groups() {
		group, err := h.groupOf(ctx, g, lagBudget)
		if err != nil {
			return d, err
		}
		d.Groups = append(d.Groups, group)
	}
	return d, nil
}

func retentionOf(r storage.Retention) Retention {
	var d Retention
	d.MaxAge = apiconv.Optional(r.MaxAge)
	if r.MaxCount > 0 {
		d.MaxCount = apiconv.Optional(apiconv.Count(r.MaxCount))
	}
	if r.MaxBytes > 0 {
		d.MaxBytes = apiconv.Optional(apiconv.Count(r.MaxBytes))
	}
	return d
}

// limits are what a request says of a topic's retention.
func limits(d *Retention) (l broker.Limits, err error) {
	if d == nil {
		return l, nil
	}
	if l.MaxAge = d.MaxAge; apiconv.Or(l.MaxAge, 0) < 0 || apiconv.Or(l.MaxAge, 0) > 1<<53-1 {
		return l, problem.Invalid("retention.maxAge must be milliseconds from 0 to %d", int64(1<<53-1))
	}
	for _, m := range []struct {
		name string
		from *Count
		to   **int64
	}{{"retention.maxCount", d.MaxCount, &l.MaxCount}, {"retention.maxBytes", d.MaxBytes, &l.MaxBytes}} {
		if m.from == nil {
			continue
		}
		n, err := apiconv.ParseCount(m.name, *m.from)
		if err != nil {
			return l, err
		}
		*m.to = &n
	}
	return l, nil
}

// page cuts one page out of a sorted list of names. after is the last name of the
// page before. It returns the page and the name to continue after.
func page[T any](all []T, name func(T) string, after *string, limit *int) ([]T, *Next, error) {
	n, err := pageSize(limit)
	if err != nil {
		return nil, nil, err
	}
	if after != nil {
		i := slices.IndexFunc(all, func(x T) bool { return name(x) > *after })
		if i < 0 {
			return nil, nil, nil
		}
		all = all[i:]
	}
	if len(all) <= n {
		return all, nil, nil
	}
	next := name(all[n-1])
	return all[:n], &next, nil
}

// pageSize is how much of a list a request asks for.
func pageSize(limit *int) (int, error) {
	n := apiconv.Or(limit, 100)
	if n < 1 || n > 1000 {
		return 0, problem.Invalid("limit %d: must be 1 to 1000", n)
	}
	return n, nil
}

// contains compares without regard to case.
func contains(name string, part *string) bool {
	return part == nil || strings.Contains(strings.ToLower(name), strings.ToLower(*part))
}

func (h *handler) ListTopics(ctx context.Context, r ListTopicsRequestObject) (ListTopicsResponseObject, error) {
	if k := r.Params.Kind; k != nil {
		if _, err := parseKind(*k); err != nil {
			return nil, err
		}
	}
	if s := r.Params.Scope; s != nil && *s == Cluster {
		return h.listClusterTopics(ctx, &r.Params)
	}
	all := slices.DeleteFunc(h.view(ctx).Topics(), func(t *broker.Topic) bool {
		return !contains(t.Name(), r.Params.Name) || r.Params.Kind != nil && apiconv.TopicKind(t) != *r.Params.Kind
	})
	some, next, err := page(all, (*broker.Topic).Name, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	answer := ListTopics200JSONResponse{Topics: make([]Topic, 0, len(some)), Total: len(all), Next: next}
	for _, t := range some {
		d, err := h.topicOf(ctx, t, listLag)
		if err != nil {
			return nil, err
		}
		answer.Topics = append(answer.Topics, d)
	}
	return answer, nil
}

func (h *handler) CreateTopic(ctx context.Context, r CreateTopicRequestObject) (CreateTopicResponseObject, error) {
	if strings.HasPrefix(r.Body.Name, broker.Ephemeral) {
		return nil, problem.Invalid("topic name %q: must not begin with %s", broker.Excerpt(r.Body.Name), broker.Ephemeral)
	}
	kind, err := parseKind(apiconv.Or(r.Body.Kind, "log"))
	if err != nil {
		return nil, err
	}
	retention, err := limits(r.Body.Retention)
	if err != nil {
		return nil, err
	}
	t, _, err := h.view(ctx).DeclareTopic(context.WithoutCancel(ctx), broker.TopicSpec{
		Name: r.Body.Name, Kind: kind, Retention: retention, New: true,
	})
	if err != nil {
		return nil, err
	}
	d, err := h.topicOf(ctx, t, oneLag)
	return CreateTopic201JSONResponse{Body: d, Headers: CreateTopic201ResponseHeaders{
		ETag: etag(t.Version()), Location: "topics/" + url.PathEscape(t.Name()), // a proxy may have put something in front
	}}, err
}

func (h *handler) GetTopic(ctx context.Context, r GetTopicRequestObject) (GetTopicResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	tag := etag(t.Version())
	d, err := h.topicOf(ctx, t, oneLag)
	return GetTopic200JSONResponse{Body: d, Headers: GetTopic200ResponseHeaders{ETag: tag}}, err
}

func (h *handler) UpdateTopic(ctx context.Context, r UpdateTopicRequestObject) (UpdateTopicResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	retention, err := limits(r.Body.Retention)
	if err != nil {
		return nil, err
	}
	owner, err := h.ownerOf(ctx, r.Body.Owner)
	if err != nil {
		return nil, err
	}
	now, err := h.alterTopic(ctx, broker.TopicSpec{Name: t.Name(), Retention: retention, Owner: owner}, r.Params.IfMatch)
	return UpdateTopic200JSONResponse{Body: now.Body, Headers: UpdateTopic200ResponseHeaders(now.Headers)}, err
}

// ownerOf checks the owner that a request names: an existing account, or none. A caller that may not
// set owners does not learn which accounts exist.
func (h *handler) ownerOf(ctx context.Context, name *string) (*string, error) {
	if name == nil {
		return nil, nil
	}
	if err := access.From(ctx).Check(access.Admin, "", ""); err != nil || *name == "" {
		return name, err
	}
	a, err := h.Access.AccountOf(*name)
	if err != nil {
		return nil, problem.Invalid("owner %q: there is no such account", broker.Excerpt(*name))
	}
	return &a.Name, nil
}

// topicFor finds a topic that is to be changed, and the version that it must have then.
func (h *handler) topicFor(ctx context.Context, name string, match *IfMatch) (t *broker.Topic, version string, err error) {
	if t, err = h.view(ctx).Topic(name); err != nil {
		return nil, "", err
	}
	version, err = ifMatch(match, t.Version())
	return t, version, err
}

// alterTopic changes a topic that exists.
func (h *handler) alterTopic(ctx context.Context, spec broker.TopicSpec, match *IfMatch) (now TopicNowJSONResponse, err error) {
	_, version, err := h.topicFor(ctx, spec.Name, match)
	if err != nil {
		return now, err
	}
	spec.Version = version
	t, _, err := h.view(ctx).DeclareTopic(context.WithoutCancel(ctx), spec)
	if err != nil {
		return now, err
	}
	return h.topicNow(ctx, t)
}

func (h *handler) topicNow(ctx context.Context, t *broker.Topic) (TopicNowJSONResponse, error) {
	tag := etag(t.Version())
	d, err := h.topicOf(ctx, t, oneLag)
	return TopicNowJSONResponse{Body: d, Headers: TopicNowResponseHeaders{ETag: tag}}, err
}

func (h *handler) DeleteTopic(ctx context.Context, r DeleteTopicRequestObject) (DeleteTopicResponseObject, error) {
	_, version, err := h.topicFor(ctx, r.Topic, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	err = h.view(ctx).RemoveTopic(context.WithoutCancel(ctx), r.Topic, version)
	return DeleteTopic204Response{}, err
}

func (h *handler) EmptyTopic(ctx context.Context, r EmptyTopicRequestObject) (EmptyTopicResponseObject, error) {
	t, version, err := h.topicFor(ctx, r.Topic, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := h.view(ctx).EmptyTopic(context.WithoutCancel(ctx), r.Topic, version); err != nil {
		return nil, err
	}
	now, err := h.topicNow(ctx, t)
	return EmptyTopic200JSONResponse{now}, err
}

func (h *handler) PauseTopic(ctx context.Context, r PauseTopicRequestObject) (PauseTopicResponseObject, error) {
	on := true
	now, err := h.alterTopic(ctx, broker.TopicSpec{Name: r.Topic, Paused: &on}, r.Params.IfMatch)
	return PauseTopic200JSONResponse{now}, err
}

// AcceptTopic has a damaged topic be served as it is.
func (h *handler) AcceptTopic(ctx context.Context, r AcceptTopicRequestObject) (AcceptTopicResponseObject, error) {
	t, err := h.view(ctx).Accept(context.WithoutCancel(ctx), r.Topic)
	if err != nil {
		return nil, err
	}
	now, err := h.topicNow(ctx, t)
	return AcceptTopic200JSONResponse{now}, err
}

func (h *handler) ResumeTopic(ctx context.Context, r ResumeTopicRequestObject) (ResumeTopicResponseObject, error) {
	off := false
	now, err := h.alterTopic(ctx, broker.TopicSpec{Name: r.Topic, Paused: &off}, r.Params.IfMatch)
	return ResumeTopic200JSONResponse{now}, err
}
