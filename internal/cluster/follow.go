package cluster

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// follow keeps the table of the tracker, which has servers that this one is not told of by
// themselves. When the tracker is lost, its last table counts: its servers may be up.
func (l *link) follow(ctx context.Context) {
	for n := 0; ; n++ {
		if !l.c.await(ctx, func() bool { return l.joined || l.self }) {
			return
		}
		l.c.mu.Lock()
		self := l.self
		l.c.mu.Unlock()
		if self {
			return
		}
		got, err := l.read(ctx)
		if got {
			n = 0
		}
		if ctx.Err() != nil {
			return
		}
		l.c.opts.Log.Debug("the table of a tracker is not read", "tracker", l.at.Key(), "err", err)
		d := retries[min(n, len(retries)-1)]
		if no := (*refused)(nil); errors.As(err, &no) && no.status != http.StatusServiceUnavailable {
			d = refusedPause
		}
		if !pause(ctx, d, nil) {
			return
		}
	}
}

// read takes the tables that the tracker pushes until the connection is lost.
func (l *link) read(ctx context.Context) (got bool, err error) {
	token, err := readToken(l.c.opts.TokenFile, l.at)
	if err != nil {
		return false, err
	}
	limits := replyLimits
	limits.Body = max(limits.Body, 2*l.c.opts.TableBytes)
	conn, err := dial(ctx, l.at, l.c.opts.Secrets, true, limits)
	if err != nil {
		return false, err
	}
	defer conn.close()
	fields := append(command(wire.CmdTrackSub), wire.Field{Name: wire.HeaderScope, Value: "all"})
	if token != "" {
		fields = append(fields, wire.Field{Name: wire.HeaderToken, Value: token})
	}
	m, err := conn.ask(ctx, answerTime+settleTime, fields)
	if err != nil {
		return false, err
	}
	return l.keep(ctx, conn, m)
}

// followShare is how much longer than reading a table took the next one waits, so that tables
// that change all the time take a twentieth of a processor. Of those that come until then the
// newest counts.
const followShare = 20

// keep takes each table in turn, beginning with m, and heartbeats in between. got says that one
// was understood.
func (l *link) keep(ctx context.Context, conn *conn, m *wire.Message) (got bool, err error) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for resting := true; ; {
		if m != nil && !resting {
			began := time.Now()
			if err := l.table(m); err != nil {
				return got, err
			}
			m, got, resting = nil, true, true
			rest.Reset(followShare * time.Since(began))
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case newer, ok := <-conn.answers:
			if !ok {
				return got, conn.err
			}
			m = newer
		case <-rest.C:
			resting = false
		case <-tick.C:
			if _, err := conn.send(ctx, command(wire.CmdHeartbeat)); err != nil {
				return got, err
			}
		}
	}
}

// table takes the table of a push.
func (l *link) table(m *wire.Message) error {
	l.c.mu.Lock()
	before := l.lists
	l.c.mu.Unlock()
	l.c.reading <- struct{}{}
	servers, err := decodeTable(m.Body, int(l.c.opts.TableBytes), before)
	<-l.c.reading
	if err != nil {
		return err
	}
	l.c.mu.Lock()
	l.lists, l.listed = servers, time.Now()
	l.c.merge()
	l.c.mu.Unlock()
	return nil
}
