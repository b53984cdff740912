package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/stats"
)

// The most that a channel has.
const (
	maxGroups   = 5000
	maxSessions = 1000
	maxAudit    = 100
)

// readTime is how long a round may read to see how far groups are behind.
const readTime = 150 * time.Millisecond

// maker makes the figures of a channel. same is what to compare with the last ones to
// see whether something happened; nil: data itself.
type maker func(f *figures, ctx context.Context, key channelKey) (data, same any, err error)

// figures makes figures. It is owned by the goroutine of Hub.Run.
type figures struct {
	hub  *Hub
	lags *stats.Lags

	newest  int64                 // id of the newest audit entry
	entries []apimodel.AuditEntry // nil before the first look
}

func newFigures(h *Hub) *figures { return &figures{hub: h, lags: stats.NewLags(readTime)} }

// round makes the figures of all channels after a sample, and gives those that differ
// from the last ones to their viewers. The others get a beat.
func (f *figures) round(ctx context.Context) {
	f.lags.Begin()
	for _, c := range f.hub.watched(false) {
		f.show(ctx, c)
	}
	f.lags.End()
	sockets := f.hub.all()
	if len(sockets) == 0 {
		return
	}
	beat, err := json.Marshal(beatFrame{"beat", now()})
	if err != nil {
		return
	}
	for _, s := range sockets {
		s.out.offerBeat(beat)
	}
}

// beatFrame says that what was shown is how it is.
type beatFrame struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// begin makes the first figures of channels that a client has just begun to watch.
func (f *figures) begin(ctx context.Context) {
	f.lags.Begin()
	for _, c := range f.hub.watched(true) {
		f.show(ctx, c)
	}
}

// watched lists the channels, or those without figures yet.
func (h *Hub) watched(fresh bool) []*channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*channel, 0, len(h.channels))
	for _, c := range h.channels {
		if !fresh || c.figure == nil {
			list = append(list, c)
		}
	}
	return list
}

// show makes the figures of a channel and gives them to its viewers.
func (f *figures) show(ctx context.Context, c *channel) {
	if t := c.key.topic; t != nil && t.Removed() {
		for _, w := range f.hub.viewers(c, nil) {
			w.topicGone(t)
		}
		return
	}
	data, same, err := channels[c.key.name].make(f, ctx, c.key)
	if err != nil {
		if ctx.Err() == nil {
			f.hub.opts.Log.Warn("figures can't be made", "channel", c.key.name, "err", err)
		}
		return
	}
	fig := c.encode(data, same)
	if fig == nil {
		return
	}
	f.hub.made.Add(1)
	for _, w := range f.hub.viewers(c, fig) {
		w.socket.out.offer(w, fig)
	}
}

// encode makes the frame that all viewers get, or nil when the figures are what they
// were. It is called by Run's goroutine, which alone sets c.figure.
func (c *channel) encode(data, same any) *figure {
	text, err := json.Marshal(data)
	if err != nil {
		return nil
	}
	compare := text
	if same != nil {
		if compare, err = json.Marshal(same); err != nil {
			return nil
		}
	}
	seq := int64(1)
	if c.figure != nil {
		if bytes.Equal(compare, c.same) {
			return nil
		}
		seq = c.figure.seq + 1
	}
	c.same = compare
	rest := make([]byte, 0, len(text)+120)
	rest = append(rest, `"channel":"`+c.key.name+`","seq":`...)
	rest = strconv.AppendInt(rest, seq, 10)
	rest = append(rest, `,"time":"`+now().Format(time.RFC3339Nano)+`","data":`...)
	rest = append(append(rest, text...), '}')
	return &figure{seq: seq, rest: rest}
}

// viewers lists who watches a channel, after setting its figures.
func (h *Hub) viewers(c *channel, fig *figure) []*watch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if fig != nil {
		c.figure = fig
	}
	list := make([]*watch, 0, len(c.viewers))
	for w := range c.viewers {
		list = append(list, w)
	}
	return list
}

// serverFigures are those of the server.
type serverFigures struct {
	apimodel.ServerStatus
	Calls    float64              `json:"calls"`
	Lag      apimodel.Count       `json:"lag"`
	LagExact bool                 `json:"lagExact"`
	Backlog  apimodel.Count       `json:"backlog"`
	Point    *apimodel.StatsPoint `json:"point,omitempty"`
}

func (f *figures) server(context.Context, channelKey) (data, same any, err error) {
	o := &f.hub.opts
	_, calls := o.Stats.Total()
	d := serverFigures{
		ServerStatus: apiconv.Server(o.Server(), o.Broker, o.Stats),
		Calls:        calls, Lag: decimal(0), LagExact: true, Backlog: decimal(o.Broker.Backlog()),
	}
	if p, ok := o.Stats.Newest(); ok {
		point := apiconv.StatsPoint(p)
		d.Lag, d.LagExact, d.Point = point.Lag, point.LagExact, &point
	}
	return d, nil, nil
}

// attention is what to look at first.
func (f *figures) attention(context.Context, channelKey) (data, same any, err error) {
	o := &f.hub.opts
	return apiconv.Attention(o.Server(), o.Broker, o.Stats, o.Calls), nil, nil
}

// sessionList are the figures of sessions.
type sessionList struct {
	Sessions []apimodel.Session `json:"sessions"`
	Total    int                `json:"total"`
}

// sessions makes them. That time passes is nothing new.
func (f *figures) sessions(context.Context, channelKey) (data, same any, err error) {
	all := slices.Clone(f.hub.opts.Sessions())
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	d := sessionList{Sessions: []apimodel.Session{}, Total: len(all)}
	for _, s := range all[:min(len(all), maxSessions)] {
		sort.Slice(s.Subscriptions, func(i, j int) bool {
			x, y := &s.Subscriptions[i], &s.Subscriptions[j]
			return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Group, y.Group)) < 0
		})
		d.Sessions = append(d.Sessions, apiconv.Session(s))
	}
	timeless := d
	timeless.Sessions = slices.Clone(d.Sessions)
	for i := range timeless.Sessions {
		timeless.Sessions[i].Idle = 0
	}
	return d, timeless, nil
}

// auditList are the figures of audit.
type auditList struct {
	Entries []apimodel.AuditEntry `json:"entries"`
}

// audit makes them. All entries are read only when there is a new one.
func (f *figures) audit(ctx context.Context, _ channelKey) (data, same any, err error) {
	b := f.hub.opts.Broker.System()
	last, err := b.Audit(ctx, 0, 1)
	if err != nil {
		return nil, nil, err
	}
	if f.entries == nil || len(last) > 0 && last[0].ID != f.newest {
		entries, err := b.Audit(ctx, 0, maxAudit)
		if err != nil {
			return nil, nil, err
		}
		f.entries, f.newest = make([]apimodel.AuditEntry, len(entries)), 0
		for i, e := range entries {
			f.entries[i] = apiconv.AuditEntry(e)
			f.newest = max(f.newest, e.ID)
		}
	}
	return auditList{f.entries}, nil, nil
}
