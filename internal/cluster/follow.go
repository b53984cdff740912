package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
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
		if final(err) {
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
// that change all the time take a twentieth of a processor. What the tracker
// can't send in that time it sends as one.
const followShare = 20

// keep takes each table in turn, beginning with m, and heartbeats in between. got says that one
// was understood.
func (l *link) keep(ctx context.Context, conn *conn, m *wire.Message) (got bool, err error) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for answers := conn.answers; ; {
		if m != nil {
			began := time.Now()
			if err := l.table(m); err != nil {
				return got, err
			}
			m, got, answers = nil, true, nil
			rest.Reset(followShare * time.Since(began))
		}
		var ok bool
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case m, ok = <-answers:
			if !ok {
				return got, conn.err
			}
		case <-rest.C:
			answers = conn.answers
		case <-tick.C:
			if _, err := conn.send(ctx, command(wire.CmdHeartbeat)); err != nil {
				return got, err
			}
		}
	}
}

// table takes the table of a push.
func (l *link) table(m *wire.Message) error {
	l.c.reading <- struct{}{}
	l.c.mu.Lock()
	before, known := l.lists, l.c.editions()
	l.c.mu.Unlock()
	servers, err := decodeTable(m.Body, int(l.c.opts.TableBytes), before, known)
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

// edition is what a server has said of itself at one time.
type edition struct {
	Address
	revision int64
}

// editions are those that are at hand, also from others than this tracker: each is read and kept
// once. Called with mu held.
func (c *Cluster) editions() map[edition]*Info {
	all := make(map[edition]*Info)
	add := func(infos []*Info) {
		for _, i := range infos {
			all[edition{i.Address, i.Revision}] = i
		}
	}
	for _, l := range c.links {
		add(l.lists)
	}
	add(c.listed)
	return all
}

// tableDecoder reads what a tracker tells.
type tableDecoder struct {
	*decoder
	left    int // bytes that there is room for
	told    []*Info
	servers []*Info
}

// decodeTable reads what a tracker tells: the servers that it lists. They have at most limit
// bytes together. Of those that are as it has told before it names the keys alone.
func decodeTable(body []byte, limit int, told []*Info, known map[edition]*Info) ([]*Info, error) {
	d := &tableDecoder{left: limit, told: told, decoder: &decoder{
		Decoder: json.NewDecoder(bytes.NewReader(body)), known: known, shape: fnv.New64a(),
	}}
	err := d.object(func(name string) error {
		switch name {
		case "unchanged":
			return d.unchanged()
		case "serverTable":
			return d.object(d.entry)
		}
		return d.skip()
	})
	if err != nil {
		return nil, fmt.Errorf("its table can't be used: %w", err)
	}
	return d.servers, nil
}

// unchanged reads the keys of servers that are as they were told before.
func (d *tableDecoder) unchanged() error {
	var keys []string
	if err := d.Decode(&keys); err != nil {
		return err
	}
	for _, key := range keys {
		n := slices.IndexFunc(d.told, func(i *Info) bool { return i.Address.Key() == key })
		if n < 0 {
			return fmt.Errorf("%s: was not told before", excerpt(key))
		}
		if err := d.keep(d.told[n]); err != nil {
			return err
		}
	}
	return nil
}

// entry reads a server.
func (d *tableDecoder) entry(string) error {
	d.limit, d.out, d.marks, d.event, d.same = d.left, d.out[:0], d.marks[:0], event{}, nil
	if err := d.server(); err != nil {
		return err
	}
	if d.same != nil {
		return d.keep(d.same)
	}
	if err := d.finish(); err != nil {
		return err
	}
	info := d.event.info
	return d.keep(&info)
}

// keep takes a server into the table.
func (d *tableDecoder) keep(i *Info) error {
	if d.left -= int(sizeOf(i, "")); d.left < 0 || len(d.servers) == maxMembers {
		return errTooLarge
	}
	d.servers = append(d.servers, i)
	return nil
}
