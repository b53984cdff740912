package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/wire"
)

// How long another server may take for what is passed on to it, and how long its answer may be.
const (
	hopTime   = 10 * time.Second
	hopAnswer = 1 << 20
)

// DrainServer drains this server, or has another one do so.
func (h *handler) DrainServer(ctx context.Context, r DrainServerRequestObject) (DrainServerResponseObject, error) {
	s, err := h.drained(ctx, r.Address, "drain")
	return DrainServer200JSONResponse(s), err
}

// UndrainServer ends that.
func (h *handler) UndrainServer(ctx context.Context, r UndrainServerRequestObject) (UndrainServerResponseObject, error) {
	s, err := h.drained(ctx, r.Address, "undrain")
	return UndrainServer200JSONResponse(s), err
}

// drained drains a server, or ends that, and describes it then.
func (h *handler) drained(ctx context.Context, address, action string) (KnownServer, error) {
	if address != h.Server().Address {
		return h.passOn(ctx, address, action)
	}
	if err := h.view(ctx).Note(ctx, "server."+action, address, ""); err != nil {
		return KnownServer{}, err
	}
	h.Drain(action == "drain")
	return h.thisServer(), nil
}

// passOn has another server do something to itself, with the credential of the request.
func (h *handler) passOn(ctx context.Context, address, action string) (s KnownServer, err error) {
	x, _ := ctx.Value(exchangeKey{}).(exchange)
	if x.req == nil || x.req.Header.Get(wire.HeaderHop) != "" {
		return s, &broker.Error{Code: broker.Conflict, Text: fmt.Sprintf("this is not the server %s: its address is %s", broker.Excerpt(address), h.Server().Address)}
	}
	ctx, cancel := context.WithTimeout(ctx, hopTime)
	defer cancel()
	web, base, err := h.Cluster.Web(address)
	if errors.Is(err, cluster.ErrUnknown) {
		return s, &broker.Error{Code: broker.NotFound, Text: "no server with the address " + broker.Excerpt(address) + " is known here, see GET /servers"}
	}
	if err != nil {
		return s, &broker.Error{Code: broker.Unavailable, Text: address + " can't be reached from here: " + err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+apimodel.Base+"/servers/"+url.PathEscape(address)+":"+action, nil)
	if err != nil {
		return s, err
	}
	req.Header.Set(wire.HeaderHop, h.Server().Address)
	for _, name := range []string{"Authorization", "Token"} {
		if v := x.req.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	if err := h.view(ctx).Note(ctx, "server."+action, address, "passed on"); err != nil {
		return s, err
	}
	resp, err := web.RoundTrip(req)
	if err != nil {
		return s, &broker.Error{Code: broker.Unknown, Text: address + " did not answer, it may be done or not: " + err.Error()}
	}
	defer resp.Body.Close()
	return passedOn(resp, address)
}

// passedOn reads what another server has answered.
func passedOn(resp *http.Response, address string) (s KnownServer, err error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, hopAnswer))
	if err == nil && resp.StatusCode == http.StatusOK {
		if err = json.Unmarshal(body, &s); err == nil {
			s.This = false
			return s, nil
		}
	}
	var p Problem
	if err == nil && json.Unmarshal(body, &p) == nil && p.Code != "" {
		return s, &problem.Error{Code: p.Code, Status: p.Status, Text: address + ": " + apiconv.Or(p.Detail, p.Title)}
	}
	return s, &broker.Error{Code: broker.Unknown, Text: address + " answered " + resp.Status + ", and not as a server of this kind does"}
}
