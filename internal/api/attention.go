package api

import (
	"context"

	"github.com/rushmore/zbus-go/internal/apiconv"
)

// GetAttention lists what to look at first.
func (h *handler) GetAttention(context.Context, GetAttentionRequestObject) (GetAttentionResponseObject, error) {
	return GetAttention200JSONResponse(apiconv.Attention(h.Server(), h.broker, h.stats, h.Calls)), nil
}
