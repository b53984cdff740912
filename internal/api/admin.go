package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/stats"
)

// ConfirmClock says that the wall clock is right.
func (h *handler) ConfirmClock(ctx context.Context, _ ConfirmClockRequestObject) (ConfirmClockResponseObject, error) {
	suspended, err := h.view(ctx).ConfirmClock(ctx)
	return ConfirmClock200JSONResponse{Suspended: suspended}, err
}

// GetServer describes this server.
func (h *handler) GetServer(context.Context, GetServerRequestObject) (GetServerResponseObject, error) {
	return GetServer200JSONResponse(apiconv.Server(h.Server(), h.broker, h.stats)), nil
}

// GetStats gives the rates of the recent past.
func (h *handler) GetStats(_ context.Context, r GetStatsRequestObject) (GetStatsResponseObject, error) {
	answer := GetStats200JSONResponse{Range: StatsRange(apiconv.Or(r.Params.Range, "15m")), Points: []StatsPoint{}}
	points, step := h.stats.Fine(), stats.Interval
	switch answer.Range {
	case "15m":
	case "24h":
		points, step = h.stats.Rough(), stats.RoughInterval
	default:
		return nil, problem.Invalid("range %q: must be 15m or 24h", broker.Excerpt(string(answer.Range)))
	}
	answer.Step = step.Milliseconds()
	for _, p := range points {
		answer.Points = append(answer.Points, apiconv.StatsPoint(p))
	}
	return answer, nil
}

// GetTopicStats gives the rates of topics in the recent past.
func (h *handler) GetTopicStats(context.Context, GetTopicStatsRequestObject) (GetTopicStatsResponseObject, error) {
	return pasts{h}, nil
}

// pasts is the answer with the recent past of all topics, which is never in memory as a whole.
type pasts struct{ h *handler }

// VisitGetTopicStatsResponse writes the answer.
func (p pasts) VisitGetTopicStatsResponse(w http.ResponseWriter) error {
	list, mark, taken := p.h.stats.Lately()
	head, err := json.Marshal(taken.UTC().Truncate(time.Millisecond))
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(x, y *broker.Topic) int { return strings.Compare(x.Name(), y.Name()) })
	return writeList(w, fmt.Sprintf(`{"time":%s,"step":%d,"topics":[`, head, stats.LatelyInterval.Milliseconds()), func(yield func(any) bool) {
		for _, t := range list {
			in := p.h.stats.Past(t, mark)
			for i, rate := range in {
				in[i] = math.Round(rate*100) / 100
			}
			if len(in) > 0 && !yield(TopicPast{Name: t.Name(), In: in}) {
				return
			}
		}
	})
}

// sessions lists the connections that fulfil some conditions, by id.
func (h *handler) sessions(id, topic *string, protocol *Protocol) ([]apiconv.SessionInfo, error) {
	if protocol != nil && !protocol.Valid() {
		return nil, problem.Invalid("protocol %q: must be tcp, http, websocket or api", broker.Excerpt(string(*protocol)))
	}
	all := slices.DeleteFunc(h.Sessions(), func(s apiconv.SessionInfo) bool {
		return id != nil && s.ID != *id || protocol != nil && s.Protocol != string(*protocol) ||
			topic != nil && !slices.ContainsFunc(s.Subscriptions, func(x apiconv.SubscriptionInfo) bool { return strings.EqualFold(x.Topic, *topic) })
	})
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all, nil
}

// ListSessions lists connections.
func (h *handler) ListSessions(_ context.Context, r ListSessionsRequestObject) (ListSessionsResponseObject, error) {
	all, err := h.sessions(nil, r.Params.Topic, r.Params.Protocol)
	if err != nil {
		return nil, err
	}
	some, next, err := page(all, func(s apiconv.SessionInfo) string { return s.ID }, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	answer := ListSessions200JSONResponse{Sessions: make([]Session, 0, len(some)), Total: len(all), Next: next}
	for _, s := range some {
		answer.Sessions = append(answer.Sessions, apiconv.Session(s))
	}
	return answer, nil
}

// CloseSessions ends connections that fulfil some conditions.
func (h *handler) CloseSessions(ctx context.Context, r CloseSessionsRequestObject) (CloseSessionsResponseObject, error) {
	p := r.Params
	if p.Id == nil && p.Topic == nil && p.Protocol == nil {
		return nil, problem.Invalid("give at least one of id, topic and protocol: without any, every client would be disconnected")
	}
	reason, err := apiconv.ParseReason(p.Reason)
	if err != nil {
		return nil, err
	}
	all, err := h.sessions(p.Id, p.Topic, p.Protocol)
	if err != nil {
		return nil, err
	}
	var answer CloseSessions200JSONResponse
	for _, s := range all {
		if h.Disconnect(s.ID, reason) {
			answer.Closed++
			if err := h.noteClosed(ctx, s.ID, s.Remote, reason); err != nil {
				return nil, err
			}
		}
	}
	return answer, nil
}

// CloseSession ends one connection.
func (h *handler) CloseSession(ctx context.Context, r CloseSessionRequestObject) (CloseSessionResponseObject, error) {
	reason, err := apiconv.ParseReason(r.Params.Reason)
	if err != nil {
		return nil, err
	}
	remote := ""
	for _, s := range h.Sessions() {
		if s.ID == r.Session {
			remote = s.Remote
		}
	}
	if !h.Disconnect(r.Session, reason) {
		return nil, &broker.Error{Code: broker.NotFound, Text: "there is no session " + strconv.Quote(broker.Excerpt(r.Session))}
	}
	if err := h.noteClosed(ctx, r.Session, remote, reason); err != nil {
		return nil, err
	}
	return CloseSession204Response{}, nil
}

// noteClosed puts the end of a connection into the audit trail. It continues when the
// caller goes away: the connection is closed already.
func (h *handler) noteClosed(ctx context.Context, session, remote, reason string) error {
	detail := remote
	if reason != "" {
		detail += ": " + reason
	}
	return h.view(ctx).Note(context.WithoutCancel(ctx), "session.close", session, detail)
}

// auditScan is how many entries one call looks at to find those that are asked for.
const auditScan = 20_000

// ListAudit lists administrative actions.
func (h *handler) ListAudit(ctx context.Context, r ListAuditRequestObject) (ListAuditResponseObject, error) {
	before, limit, err := backwards(r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	action, target := apiconv.Or(r.Params.Action, ""), apiconv.Or(r.Params.Target, "")
	answer := ListAudit200JSONResponse{Entries: []AuditEntry{}}
	const step = 1000
	for scanned := 0; ; scanned += step {
		entries, err := h.view(ctx).Audit(ctx, before, step)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if len(answer.Entries) == limit {
				answer.Next = apiconv.Optional(strconv.FormatInt(before, 10))
				return answer, nil
			}
			before = e.ID
			if strings.HasPrefix(e.Action, action) && (target == "" || strings.EqualFold(e.Target, target)) {
				answer.Entries = append(answer.Entries, apiconv.AuditEntry(e))
			}
		}
		if len(entries) < step {
			return answer, nil
		}
		if scanned >= auditScan {
			answer.Next = apiconv.Optional(strconv.FormatInt(before, 10))
			return answer, nil
		}
	}
}
