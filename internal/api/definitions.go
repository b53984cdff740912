package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// definitionOf describes a topic without its messages.
func definitionOf(t *broker.Topic) TopicDefinition {
	def := t.Definition()
	kind, retention := apiconv.TopicKind(t), retentionOf(def.Retention)
	d := TopicDefinition{Name: def.Name, Kind: &kind, Retention: &retention, Paused: &def.Paused}
	groups := []GroupDefinition{}
	for _, g := range t.Groups() {
		if !strings.HasPrefix(g.Name(), broker.Ephemeral) {
			groups = append(groups, groupDefinitionOf(g))
		}
	}
	d.Groups = &groups
	return d
}

func groupDefinitionOf(g *broker.Group) GroupDefinition {
	info := g.Info()
	settle := SettleMode(info.Settle.String())
	timeout, window := g.AckTimeout(), g.AckWindow()
	return GroupDefinition{
		Name: info.Name, Filter: &info.Filter, Settle: &settle, AckTimeout: &timeout, AckWindow: &window,
		MaxDeliver: &info.MaxDeliver, Exclusive: &info.Exclusive, Paused: &info.Paused,
	}
}

// ExportDefinitions lists all topics and groups.
func (h *handler) ExportDefinitions(ctx context.Context, _ ExportDefinitionsRequestObject) (ExportDefinitionsResponseObject, error) {
	return exported{h, ctx}, nil
}

// exported is the answer with all definitions, which is never in memory as a whole.
type exported struct {
	h   *handler
	ctx context.Context
}

// VisitExportDefinitionsResponse writes the answer.
func (e exported) VisitExportDefinitionsResponse(w http.ResponseWriter) error {
	version, err := json.Marshal(e.h.Server().Version)
	if err != nil {
		return err
	}
	return writeList(w, fmt.Sprintf(`{"version":%s,"topics":[`, version), func(yield func(any) bool) {
		for _, t := range e.h.view(e.ctx).Topics() {
			if !yield(definitionOf(t)) {
				return
			}
		}
	})
}

// writeList answers with an object whose last member is a list: head is what stands before
// the elements, which are encoded one at a time.
func writeList(w http.ResponseWriter, head string, elements iter.Seq[any]) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(w, 32<<10)
	_, _ = out.WriteString(head) // a failed write fails the last one
	first := true
	for v := range elements {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if !first {
			_ = out.WriteByte(',')
		}
		first = false
		if _, err := out.Write(text); err != nil {
			return nil // the client is gone
		}
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
	return nil
}

// change is one step of an import.
type change struct {
	Change
	apply func(context.Context) error
}

// imports collects the steps. What is checked while they are collected is checked
// for a dry run, too.
type imports struct {
	*handler
	ctx       context.Context
	steps     []change
	unchanged int
}

// ImportDefinitions makes topics and groups as described.
func (h *handler) ImportDefinitions(ctx context.Context, r ImportDefinitionsRequestObject) (ImportDefinitionsResponseObject, error) {
	if !h.imports.TryLock() {
		return nil, &broker.Error{Code: broker.Unavailable, Text: "other definitions are being imported: try again later"}
	}
	defer h.imports.Unlock()
	if most := h.MaxTopics; most > 0 && len(r.Body.Topics) > most {
		return nil, &broker.Error{Code: broker.Quota, Text: fmt.Sprintf("there are %d topics, and this server holds at most %d: see --max-topics", len(r.Body.Topics), most)}
	}
	im := &imports{handler: h, ctx: ctx}
	for i := range r.Body.Topics {
		if err := im.topic(&r.Body.Topics[i]); err != nil {
			return nil, err
		}
	}
	if apiconv.Or(r.Params.Prune, false) {
		im.prune(r.Body)
	}
	answer := ImportDefinitions200JSONResponse{
		DryRun: apiconv.Or(r.Params.DryRun, false), Unchanged: im.unchanged, Changes: []Change{},
	}
	for i, s := range im.steps {
		if !answer.DryRun {
			if err := s.apply(context.WithoutCancel(ctx)); err != nil {
				return nil, partly(i, len(im.steps), err)
			}
		}
		answer.Changes = append(answer.Changes, s.Change)
	}
	return answer, nil
}

// partly is why only the first of some changes were made. To call that not done would
// not be true.
func partly(made, changes int, err error) error {
	if made == 0 {
		return err
	}
	code := broker.CodeOf(err)
	if code == broker.Unavailable {
		code = broker.Unknown
	}
	text := fmt.Sprintf("%d of %d changes were made, the next one was not: %s", made, changes, broker.TextOf(err))
	return &broker.Error{Code: code, Text: text, Err: err}
}

// topic adds what it takes to have a topic and its groups as described.
func (im *imports) topic(d *TopicDefinition) error {
	want, spec, err := wantedTopic(d)
	if err != nil {
		return err
	}
	t, err := im.view(im.ctx).Topic(d.Name)
	if err == nil {
		now := definitionOf(t)
		if *now.Kind != *want.Kind {
			return problem.Invalid("%s", otherKind(t, *want.Kind))
		}
		now.Groups, now.Name = nil, d.Name
		im.add("update", t.Name(), now, want, im.declare(spec))
	} else {
		t = nil
		im.add("create", d.Name, TopicDefinition{}, want, im.declare(spec))
	}
	for _, g := range apiconv.Or(d.Groups, nil) {
		if err := im.group(t, d.Name, &g); err != nil {
			return err
		}
	}
	return nil
}

func (im *imports) declare(spec broker.TopicSpec) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := im.view(im.ctx).DeclareTopic(ctx, spec)
		return err
	}
}

// group adds what it takes to have a group as described. t is nil when its topic is
// about to be made.
func (im *imports) group(t *broker.Topic, topic string, d *GroupDefinition) error {
	want, spec, err := wantedGroup(topic, d)
	if err != nil {
		return err
	}
	spec.Reason = "definitions imported"
	apply := func(ctx context.Context) error {
		_, _, err := im.view(im.ctx).DeclareGroup(ctx, spec)
		return err
	}
	if t != nil {
		if g, err := im.view(im.ctx).For(access.See).GroupOf(t, d.Name); err == nil {
			now := groupDefinitionOf(g)
			now.Name = d.Name
			im.add("update", t.Name()+"/"+g.Name(), now, want, apply)
			return nil
		}
	}
	im.add("create", topic+"/"+d.Name, GroupDefinition{}, want, apply)
	return nil
}

// add notes a step, or that none is needed.
func (im *imports) add(action ChangeAction, target string, from, to any, apply func(context.Context) error) {
	d := differences(from, to)
	if action == "update" && len(d) == 0 {
		im.unchanged++
		return
	}
	im.steps = append(im.steps, change{Change{Action: action, Target: target, Differences: d}, apply})
}

// prune adds the deletion of what is not mentioned.
func (im *imports) prune(d *Definitions) {
	for _, t := range im.view(im.ctx).Topics() {
		i := slices.IndexFunc(d.Topics, func(x TopicDefinition) bool { return strings.EqualFold(x.Name, t.Name()) })
		if i < 0 {
			messages := apiconv.Count(t.Next() - t.First())
			im.steps = append(im.steps, change{
				Change{Action: "delete", Target: t.Name(), Differences: []Difference{}, Messages: &messages},
				func(ctx context.Context) error { return im.view(im.ctx).RemoveTopic(ctx, t.Name(), "") },
			})
			continue
		}
		for _, g := range t.Groups() {
			mentioned := slices.ContainsFunc(apiconv.Or(d.Topics[i].Groups, nil), func(x GroupDefinition) bool { return strings.EqualFold(x.Name, g.Name()) })
			if mentioned || strings.HasPrefix(g.Name(), broker.Ephemeral) {
				continue
			}
			im.steps = append(im.steps, change{
				Change{Action: "delete", Target: t.Name() + "/" + g.Name(), Differences: []Difference{}},
				func(ctx context.Context) error {
					return im.view(im.ctx).RemoveGroup(ctx, t.Name(), g.Name(), "")
				},
			})
		}
	}
}

// differences compares two definitions member by member, as JSON.
func differences(from, to any) []Difference {
	a, b := members(from), members(to)
	list := []Difference{}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if was := a[name]; string(was) != string(b[name]) && name != "name" {
			list = append(list, Difference{Member: name, From: string(was), To: string(b[name])})
		}
	}
	return list
}

// members takes a definition apart. Definitions are plain data, which can always be
// encoded.
func members(v any) (m map[string]json.RawMessage) {
	raw, err := json.Marshal(v)
	if err != nil || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}
