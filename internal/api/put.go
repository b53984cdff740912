package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// wantedTopic is a definition with nothing left out, and what makes a topic so. Groups are not part of it.
func wantedTopic(d *TopicDefinition) (want TopicDefinition, spec broker.TopicSpec, err error) {
	kind := apiconv.Or(d.Kind, "log")
	carries, err := parseKind(kind)
	switch {
	case err != nil:
		return want, spec, problem.Invalid("topic %s: %s", broker.Excerpt(d.Name), broker.TextOf(err))
	case strings.HasPrefix(d.Name, broker.Ephemeral):
		return want, spec, problem.Invalid("topic name %q: must not begin with %s", broker.Excerpt(d.Name), broker.Ephemeral)
	}
	if err := broker.CheckName("topic", d.Name); err != nil {
		return want, spec, err
	}
	named, err := limits(d.Retention)
	if err != nil {
		return want, spec, err
	}
	retention := named.Of(storage.Retention{})
	paused := apiconv.Or(d.Paused, false)
	want = TopicDefinition{Name: d.Name, Kind: &kind, Retention: new(retentionOf(retention)), Paused: &paused}
	return want, broker.TopicSpec{Name: d.Name, Kind: carries, Retention: broker.LimitsOf(retention), Paused: &paused}, nil
}

// otherKind is why a topic can't be of a kind.
func otherKind(t *broker.Topic, kind TopicKind) string {
	return fmt.Sprintf("topic %s is of kind %s and can't become %s: delete it first", t.Name(), apiconv.TopicKind(t), kind)
}

// wantedGroup is wantedTopic for a group.
func wantedGroup(topic string, d *GroupDefinition) (want GroupDefinition, spec broker.GroupSpec, err error) {
	if err := broker.CheckName("group", d.Name); err != nil {
		return want, spec, err
	}
	pattern, settle := apiconv.Or(d.Filter, ""), apiconv.Or(d.Settle, "auto")
	if _, err := filter.Parse(pattern); err != nil {
		return want, spec, err
	}
	timeout, window, most := apiconv.Or(d.AckTimeout, broker.DefaultAckTimeout), apiconv.Or(d.AckWindow, broker.DefaultAckWindow), apiconv.Or(d.MaxDeliver, 0)
	exclusive, paused := apiconv.Or(d.Exclusive, false), apiconv.Or(d.Paused, false)
	if err := checkLimits(&timeout, &window, &most); err != nil {
		return want, spec, err
	}
	way, err := parseSettle(&settle)
	if err != nil {
		return want, spec, err
	}
	want = GroupDefinition{
		Name: d.Name, Filter: &pattern, Settle: &settle, AckTimeout: &timeout, AckWindow: &window, MaxDeliver: &most,
		Exclusive: &exclusive, Paused: &paused,
	}
	return want, broker.GroupSpec{
		Topic: topic, Name: d.Name, Filter: &pattern, Settle: way, Exclusive: &exclusive, Paused: &paused, AckTimeout: &timeout, AckWindow: &window,
		MaxDeliver: &most,
	}, nil
}

// attempts is how often a put looks again while others change the same thing.
const attempts = 10

// putting is what a put makes so.
type putting struct {
	name  string
	match *IfMatch
	want  any // its definition
	// now is the definition that there is, with its version. NotFound: there is none.
	now func() (is any, version string, err error)
	// declare creates it, or changes the one that has a version.
	declare func(create bool, version string) error
}

// put makes something so, and says what that has changed.
func (p *putting) put() (PutOutcome, []Difference, error) {
	for attempt := 1; ; attempt++ {
		is, version, err := p.now()
		create := broker.CodeOf(err) == broker.NotFound && err != nil
		switch {
		case create && p.match != nil:
			return "", nil, &broker.Error{Code: broker.Stale, Text: "nothing is created with If-Match: " + broker.TextOf(err)}
		case err != nil && (!create || namedLikeAction(p.name)): // such a name may be meant as an action
			return "", nil, err
		}
		seen, err := ifMatch(p.match, version)
		if err != nil {
			return "", nil, err
		}
		if create {
			is = struct{}{}
		}
		made := differences(is, p.want)
		if !create && len(made) == 0 && (seen == anyVersion || seen == version) {
			return Unchanged, made, nil
		}
		if seen != anyVersion {
			version = seen
		}
		err = p.declare(create, version)
		switch code := broker.CodeOf(err); {
		case err == nil:
			if create {
				return Created, made, nil
			}
			return Changed, made, nil
		case attempt == attempts || code != broker.Exists && code != broker.NotFound && (code != broker.Stale || seen != anyVersion):
			return "", nil, err
		}
	}
}

// PutTopic creates a topic, or makes it so.
func (h *handler) PutTopic(ctx context.Context, r PutTopicRequestObject) (PutTopicResponseObject, error) {
	want, spec, err := wantedTopic(&TopicDefinition{Name: r.Topic, Kind: r.Body.Kind, Retention: r.Body.Retention, Paused: r.Body.Paused})
	if err != nil {
		return nil, err
	}
	if err := h.view(ctx).CheckElsewhere(r.Topic, "", false); err != nil {
		return nil, err // whether or not there is such a topic
	}
	var t *broker.Topic
	p := putting{name: r.Topic, match: r.Params.IfMatch, want: want}
	p.now = func() (any, string, error) {
		there, err := h.view(ctx).Topic(r.Topic)
		if err != nil {
			return nil, "", err
		}
		t = there
		version, is := there.Version(), definitionOf(there) // what changes in between has another version
		if *is.Kind != *want.Kind {
			return nil, "", &broker.Error{Code: broker.Conflict, Text: otherKind(there, *want.Kind)}
		}
		return is, version, nil
	}
	p.declare = func(create bool, version string) (err error) {
		spec.New, spec.Version = create, version
		t, _, err = h.view(ctx).DeclareTopic(context.WithoutCancel(ctx), spec)
		return err
	}
	outcome, made, err := p.put()
	if err != nil {
		return nil, err
	}
	tag := etag(t.Version())
	d, err := h.topicOf(ctx, t, oneLag)
	return putDone{outcome, tag, &TopicOutcome{Outcome: outcome, Differences: made, Topic: d}}, err
}

// PutGroup creates a group, or makes it so.
func (h *handler) PutGroup(ctx context.Context, r PutGroupRequestObject) (PutGroupResponseObject, error) {
	if strings.HasPrefix(r.Group, broker.Ephemeral) {
		return nil, problem.Invalid("group name %q: must not begin with %s", broker.Excerpt(r.Group), broker.Ephemeral)
	}
	t, err := h.view(ctx).For(access.See).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	if !h.view(ctx).MayDeclare(t, r.Group) {
		return nil, h.view(ctx).Check(access.Manage, t, r.Group)
	}
	b := r.Body
	want, spec, err := wantedGroup(t.Name(), &GroupDefinition{
		Name: r.Group, Filter: b.Filter, Settle: b.Settle, AckTimeout: b.AckTimeout, AckWindow: b.AckWindow,
		MaxDeliver: b.MaxDeliver, Exclusive: b.Exclusive, Paused: b.Paused,
	})
	if err != nil {
		return nil, err
	}
	if b.Start != nil {
		if spec.Start, err = apiconv.ParsePosition("start", *b.Start); err != nil {
			return nil, err
		}
	}
	if spec.Reason, err = apiconv.ParseReason(b.Reason); err != nil {
		return nil, err
	}
	var g *broker.Group
	p := putting{name: r.Group, match: r.Params.IfMatch, want: want}
	p.now = func() (any, string, error) {
		there, err := h.view(ctx).For(access.See).GroupOf(t, r.Group)
		if err != nil {
			return nil, "", err
		}
		g = there
		version := there.Version() // what changes in between has another one
		return groupDefinitionOf(there), version, nil
	}
	p.declare = func(create bool, version string) (err error) {
		spec.New, spec.Version = create, version
		g, _, err = h.view(ctx).DeclareGroup(context.WithoutCancel(ctx), spec)
		return err
	}
	outcome, made, err := p.put()
	if err != nil {
		return nil, err
	}
	tag := etag(g.Version())
	d, err := h.groupOf(ctx, g, oneLag)
	return putDone{outcome, tag, &GroupOutcome{Outcome: outcome, Differences: made, Group: d}}, err
}

// putDone is the answer to a put, of a topic or a group.
type putDone struct {
	outcome PutOutcome
	tag     string
	body    any
}

// VisitPutTopicResponse writes the answer.
func (p putDone) VisitPutTopicResponse(w http.ResponseWriter) error {
	status := http.StatusOK
	if p.outcome == Created {
		status = http.StatusCreated
	}
	w.Header().Set("ETag", p.tag)
	return writeJSON(w, status, "application/json", p.body)
}

// VisitPutGroupResponse writes the answer.
func (p putDone) VisitPutGroupResponse(w http.ResponseWriter) error {
	return p.VisitPutTopicResponse(w)
}
