package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// waitingMost is how many connections of a broker that waits are answered at a time. More wait.
const waitingMost = 64

// Waiting answers for a broker that waits until another one stops: it is alive, and everything else is
// refused with the address of the one to ask. Each connection gets one answer.
type Waiting struct {
	// Owner is the broker to ask: its name, and its address if that is known.
	Owner func() (name, address string)
	TLS   *tls.Config // nil without TLS
	Log   *slog.Logger
}

// Serve answers until ctx ends, and leaves the listeners open for the one that takes over.
func (w *Waiting) Serve(ctx context.Context, listeners []net.Listener) {
	var accepting, answering sync.WaitGroup
	slots := make(chan struct{}, waitingMost)
	var bounded []interface{ SetDeadline(time.Time) error }
	for _, ln := range listeners {
		l, ok := ln.(interface{ SetDeadline(time.Time) error })
		if !ok {
			continue // it could not be told to stop
		}
		bounded = append(bounded, l)
		accepting.Go(func() {
			for ctx.Err() == nil {
				conn, err := ln.Accept()
				if err != nil {
					if ctx.Err() == nil {
						w.Log.Debug("accept failed", "err", err)
						time.Sleep(10 * time.Millisecond)
					}
					continue
				}
				end := context.AfterFunc(ctx, func() { _ = conn.Close() })
				select {
				case slots <- struct{}{}:
				case <-ctx.Done(): // the connection is closed
					continue
				}
				answering.Go(func() {
					defer func() { <-slots }()
					defer end()
					w.answer(conn)
				})
			}
		})
	}
	<-ctx.Done()
	for _, l := range bounded {
		_ = l.SetDeadline(time.Unix(1, 0))
	}
	accepting.Wait()
	for _, l := range bounded {
		_ = l.SetDeadline(time.Time{})
	}
	answering.Wait()
}

// answer gives a connection its answer.
func (w *Waiting) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(socket.HeadTimeout))
	first := &prefixConn{Conn: conn, prefix: make([]byte, 1)}
	if _, err := io.ReadFull(conn, first.prefix); err != nil {
		return
	}
	conn = first
	if first.prefix[0] == 0x16 {
		if w.TLS == nil {
			return
		}
		conn = tls.Server(first, w.TLS)
	}
	r := wire.NewReader(conn, wire.Limits{})
	defer r.Release()
	for {
		if _, ok := r.Peek(); ok {
			break
		}
		if r.Fill() != nil {
			return
		}
	}
	if cmd, _ := r.PeekField(wire.HeaderCmd); string(cmd) == wire.CmdConsume {
		return // an answer would end a subscription, which goes on elsewhere
	}
	_ = conn.SetDeadline(time.Now().Add(lastWordsTime))
	if _, err := conn.Write(w.words(r)); err == nil {
		lingerClose(conn)
	}
}

// words is the answer to the request that a reader holds.
func (w *Waiting) words(r *wire.Reader) []byte {
	name, address := w.Owner()
	text := "this broker waits: " + name + " has the database"
	if address != "" {
		text += ", ask " + address
	}
	status, kind, body := http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte(text+"\n")
	path, _, _ := strings.Cut(string(r.PeekURL()), "?")
	switch {
	case path == "/healthz":
		status = http.StatusOK
	case strings.HasPrefix(path, "/api/"):
		kind = "application/problem+json"
		body, _ = json.Marshal(map[string]any{"status": status, "title": "Service Unavailable", "code": "waiting", "detail": text, "owner": name, "address": address})
	}
	dst := wire.AppendStatus(nil, status)
	if id, ok := r.PeekField(wire.HeaderID); ok {
		dst = wire.AppendField(dst, wire.HeaderID, string(id))
	}
	dst = wire.AppendField(dst, "content-type", kind)
	dst = append(dst, "retry-after: 1\r\nconnection: close\r\n"...)
	return wire.AppendBody(dst, body)
}
