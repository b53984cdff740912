package api

import (
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
)

// ListServices lists the services.
func (h *handler) ListServices(ctx context.Context, r ListServicesRequestObject) (ListServicesResponseObject, error) {
	h.Calls.Forget(func(topic string) bool { _, err := h.broker.System().Topic(topic); return err == nil })
	all := slices.DeleteFunc(h.view(ctx).Topics(), func(t *broker.Topic) bool {
		return !t.Calls() || !contains(t.Name(), r.Params.Name)
	})
	some, next, err := page(all, func(t *broker.Topic) string { return t.Name() }, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	drops := h.Calls.Drops()
	answer := ListServices200JSONResponse{
		Services: make([]Service, 0, len(some)), Total: len(all), Next: next,
		DroppedAnswers: DroppedAnswers{Late: apiconv.Count(drops.Late), Foreign: apiconv.Count(drops.Foreign), Orphaned: apiconv.Count(drops.Orphaned)},
	}
	for _, t := range some {
		answer.Services = append(answer.Services, apiconv.Service(h.Calls, t))
	}
	return answer, nil
}

// GetService describes one service.
func (h *handler) GetService(ctx context.Context, r GetServiceRequestObject) (GetServiceResponseObject, error) {
	t, err := h.view(ctx).Topic(r.Topic)
	if err != nil {
		return nil, err
	}
	if !t.Calls() {
		return nil, &broker.Error{Code: broker.NotFound, Text: "Topic(" + t.Name() + ") is not for calls: there is no service"}
	}
	return GetService200JSONResponse(apiconv.Service(h.Calls, t)), nil
}
