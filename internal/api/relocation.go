package api

import (
	"context"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/storage"
)

// planOf describes a plan.
func (h *handler) planOf(ctx context.Context, p *inspect.Plan) Plan {
	g := p.Group
	d := Plan{
		Id: p.ID, Topic: g.Topic().Name(), Group: g.Name(), From: apiconv.Count(p.From.Cursor), To: apiconv.Count(p.To),
		Again: apiconv.Count(p.Again), Skipped: apiconv.Count(p.Skipped), Matching: apiconv.Count(p.Matching), Exact: p.Exact, Bytes: apiconv.Count(p.Bytes),
		InFlight: apiconv.Count(p.InFlight), Consumers: p.Consumers, First: apiconv.Messages(p.First), Last: apiconv.Messages(p.Last),
		Pending: apiconv.Optional(apiconv.Count(p.Pending)), Drain: apiconv.Drain(p.Pending, h.stats.Flow(g)),
		Version: p.Version, Tolerance: apiconv.Count(p.Tolerance), Created: apiconv.Time(p.Created), Expires: apiconv.Time(p.Expires),
	}
	if ms, err := g.Topic().TimeAt(ctx, p.To); err == nil && ms > 0 {
		when := apiconv.Time(ms)
		d.ToTime = &when
	}
	return d
}

// PlanRelocation says what a relocation would do.
func (h *handler) PlanRelocation(ctx context.Context, r PlanRelocationRequestObject) (PlanRelocationResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	position, err := apiconv.ParsePosition("to", r.Body.To)
	if err != nil {
		return nil, err
	}
	opts := inspect.PlanOptions{Tolerance: -1, Rate: h.stats.Group(g), Examples: apiconv.Or(r.Body.Examples, 20)}
	if opts.Examples < 0 || opts.Examples > 100 {
		return nil, problem.Invalid("examples %d: must be 0 to 100", opts.Examples)
	}
	if r.Body.Tolerance != nil {
		if opts.Tolerance, err = apiconv.ParseCount("tolerance", *r.Body.Tolerance); err != nil {
			return nil, err
		}
	}
	if !h.view(ctx).Allows(access.Browse, r.Topic, "") {
		opts.Examples = 0 // they are messages
	}
	p, err := h.plans.Make(ctx, h.view(ctx), g, position, opts)
	if err != nil {
		return nil, err
	}
	return PlanRelocation201JSONResponse(h.planOf(ctx, p)), nil
}

// GetPlan shows a plan again.
func (h *handler) GetPlan(ctx context.Context, r GetPlanRequestObject) (GetPlanResponseObject, error) {
	p, err := h.plans.Find(h.view(ctx), r.Plan)
	if err != nil {
		return nil, err
	}
	return GetPlan200JSONResponse(h.planOf(ctx, p)), nil
}

// ApplyPlan does what a plan says.
func (h *handler) ApplyPlan(ctx context.Context, r ApplyPlanRequestObject) (ApplyPlanResponseObject, error) {
	reason, err := because(r.Body)
	if err != nil {
		return nil, err
	}
	p, err := h.plans.ToApply(h.view(ctx), r.Plan)
	if err != nil {
		return nil, err
	}
	move, fresh, err := h.plans.Apply(ctx, h.view(ctx), p, reason)
	if fresh != nil {
		again := h.planOf(ctx, fresh)
		return nil, &problem.Detailed{Err: err, Plan: &again}
	}
	if err != nil {
		return nil, err
	}
	d, err := h.groupOf(ctx, p.Group, oneLag)
	return ApplyPlan200JSONResponse{Group: d, Entry: EntryOf(move.Entry, retained(p.Group, move.Entry))}, err
}

// because is the reason that a body may give, if there is one.
func because(body *Because) (string, error) {
	if body == nil {
		return "", nil
	}
	return apiconv.ParseReason(body.Reason)
}

// EntryOf describes a journal entry.
func EntryOf(e storage.JournalEntry, retained bool) JournalEntry {
	d := JournalEntry{
		Id: strconv.FormatInt(e.ID, 10), Time: apiconv.Time(e.Time), Kind: JournalKind(e.Kind), Actor: e.Actor.Name, Address: apiconv.Optional(e.Actor.Address), Token: apiconv.Optional(e.Actor.Token), Reason: e.Reason,
		From: apiconv.Count(e.From.Cursor), To: apiconv.Count(e.To), Retained: &retained,
	}
	if e.FilterFrom != e.FilterTo {
		d.FilterFrom, d.FilterTo = &e.FilterFrom, &e.FilterTo
	}
	return d
}

// retained reports whether all is there that the cursor had before it.
func retained(g *broker.Group, e storage.JournalEntry) bool {
	return e.From.Cursor >= g.Topic().First()
}

// ListJournal lists what happened to a group.
func (h *handler) ListJournal(ctx context.Context, r ListJournalRequestObject) (ListJournalResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	before, limit, err := backwards(r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	kind, actor := apiconv.Or(r.Params.Kind, ""), apiconv.Or(r.Params.Actor, "")
	if r.Params.Kind != nil && !kind.Valid() {
		return nil, problem.Invalid("kind %q: must be create, relocate, filter, empty or revert", broker.Excerpt(string(kind)))
	}
	step := limit + 1 // one more, to know whether a page follows
	if kind != "" || actor != "" {
		step = 1000
	}
	answer := ListJournal200JSONResponse{Entries: []JournalEntry{}}
	for scanned := 0; scanned < auditScan; scanned += step {
		entries, err := g.Journal(ctx, before, step)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if kind != "" && e.Kind != string(kind) || !strings.HasPrefix(e.Actor.Name, actor) {
				continue
			}
			if len(answer.Entries) == limit {
				answer.Next = apiconv.Optional(answer.Entries[limit-1].Id)
				return answer, nil
			}
			answer.Entries = append(answer.Entries, EntryOf(e, retained(g, e)))
		}
		if len(entries) < step {
			return answer, nil
		}
		before = entries[len(entries)-1].ID
	}
	answer.Next = apiconv.Optional(strconv.FormatInt(before, 10))
	return answer, nil
}

// backwards reads where a list of numbered entries, newest first, continues.
func backwards(after *After, limit *Limit) (before int64, n int, err error) {
	if after != nil {
		if before, err = strconv.ParseInt(*after, 10, 64); err != nil || before < 1 {
			return 0, 0, problem.Invalid("after %q: must be what the page before gave as next", broker.Excerpt(*after))
		}
	}
	n, err = pageSize(limit)
	return before, n, err
}

// Revert undoes a journal entry.
func (h *handler) Revert(ctx context.Context, r RevertRequestObject) (RevertResponseObject, error) {
	id, err := strconv.ParseInt(r.Entry, 10, 64)
	if err != nil {
		return nil, problem.Invalid("%q is not the id of a journal entry", broker.Excerpt(r.Entry))
	}
	reason, err := because(r.Body)
	if err != nil {
		return nil, err
	}
	g, entry, err := h.view(ctx).Revert(context.WithoutCancel(ctx), id, reason)
	if err != nil {
		return nil, err
	}
	d, err := h.groupOf(ctx, g, oneLag)
	return Revert200JSONResponse{Group: d, Entry: EntryOf(entry, retained(g, entry))}, err
}
