package live

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	sockets "github.com/rushmore/zbus-go/internal/socket"
)

// ServeHTTP begins a socket, which lasts until the client or the broker ends it.
func (h *Hub) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := access.From(req.Context()).Check(access.See, "", ""); err != nil {
		problem.Write(w, problem.Of(err))
		return
	}
	leave, err := h.admit(req.Context())
	if err != nil {
		w.Header().Set("Retry-After", "1")
		problem.Write(w, problem.Of(err))
		return
	}
	taken := &takenConn{ResponseWriter: w}
	ws, err := websocket.Accept(taken, req, &websocket.AcceptOptions{
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // the API has judged which page asks
		Subprotocols:       offered(req),
	})
	if err != nil {
		h.opts.Log.Debug("websocket refused", "remote", req.RemoteAddr, "err", err)
		taken.refuse(err)
		leave()
		return
	}
	ws.SetReadLimit(h.opts.ReadLimit)
	s := newSocket(h, ws, taken.conn, req)
	// Not on the goroutine of net/http: its stack and all of its request would last as long as the socket.
	sockets.Go(h.opts.Log, taken.conn, func() {
		defer leave()
		s.serve()
	})
}

// admit counts a socket that is about to be accepted, until leave is called.
func (h *Hub) admit(ctx context.Context) (leave func(), err error) {
	quota := access.From(ctx).Quota()
	if err := quota.Connect(); err != nil {
		return nil, err
	}
	release, err := h.opts.Accounts.Socket(ctx)
	if err != nil {
		quota.Disconnect()
		return nil, err
	}
	if err := h.enter(h.opts.Accounts.Exempt(ctx)); err != nil {
		release()
		quota.Disconnect()
		return nil, err
	}
	return func() {
		h.leave()
		release()
		quota.Disconnect()
	}, nil
}

// enter counts a socket of all.
func (h *Hub) enter(exempt bool) error {
	most := h.opts.MaxSockets
	if !exempt {
		most -= min(most/16, mostKept)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return fail(broker.Unavailable, "the server is stopping")
	case h.count >= most:
		return fail(broker.Unavailable, "%d clients are connected, which is the most: try again later", h.count)
	}
	h.count++
	h.conns.Add(1)
	return nil
}

func (h *Hub) leave() {
	h.mu.Lock()
	h.count--
	h.mu.Unlock()
	h.conns.Done()
}
