package live

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How the ends of logs are followed.
const (
	tailTick  = 100 * time.Millisecond
	tailRows  = 2000    // of one log that are looked at in one tick, where not all are shown
	tailBytes = 4 << 20 // about, of these
	tailRing  = 1 << 20 // bytes of messages that wait for a viewer
)

// tailed is the end of a log that a client follows.
type tailed struct {
	viewers map[*watch]struct{} // guarded by Hub.mu
	at      int64               // owned by followTails once it is in Hub.tails: all below was looked at
}

func (h *Hub) watchTail(w *watch) {
	h.mu.Lock()
	t := h.tails[w.topic]
	if t == nil {
		t = &tailed{viewers: map[*watch]struct{}{}, at: w.from}
		h.tails[w.topic] = t
	}
	t.viewers[w] = struct{}{}
	h.mu.Unlock()
	signal(h.tailing)
}

// followTails shows what comes to the ends of logs. It sleeps while no client tails one.
func (h *Hub) followTails(ctx context.Context) {
	tick := time.NewTicker(tailTick)
	defer tick.Stop()
	for n := int64(1); ctx.Err() == nil; n++ {
		news, any := h.grown()
		for _, x := range news {
			x.look(ctx, h, n)
		}
		if any {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			continue
		}
		tick.Stop()
		select {
		case <-h.tailing:
		case <-ctx.Done():
		}
		tick.Reset(tailTick)
	}
}

// growth is a log that has grown, and who follows it.
type growth struct {
	topic   *broker.Topic
	tailed  *tailed
	viewers []*watch
}

// grown lists the logs that have grown. any says whether there are any that somebody
// follows.
func (h *Hub) grown() (news []growth, any bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, x := range h.tails {
		if t.Next() == x.at && !t.Removed() {
			continue
		}
		g := growth{topic: t, tailed: x}
		for w := range x.viewers {
			g.viewers = append(g.viewers, w)
		}
		news = append(news, g)
	}
	return news, len(h.tails) > 0
}

// picked is what one viewer is shown of a look.
type picked struct {
	*watch
	lo   int64 // the first offset that may be new to the viewer
	room int   // so many may be shown
	seen int64 // messages that were not missed
	recs []*storage.Record
}

// look reads what is new in a log, as much of it as may be shown, and shows it. Where
// there is more, the newest messages are shown.
func (g *growth) look(ctx context.Context, h *Hub, tick int64) {
	if g.topic.Removed() {
		for _, w := range g.viewers {
			w.topicGone(g.topic)
		}
		return
	}
	begin, end := g.tailed.at, g.topic.Next()
	g.tailed.at = end
	rows := 0
	picks := make([]picked, len(g.viewers))
	for i, w := range g.viewers {
		picks[i] = picked{watch: w, lo: max(begin, w.from)}
		if w.tick == 0 { // what was looked at before it came is missed
			picks[i].lo = w.from
		}
		picks[i].room = w.allowance(tick)
		rows = max(rows, picks[i].rows())
	}
	if rows > 0 {
		scan := broker.Scan{From: max(begin, end-int64(rows)), To: end, Rows: int64(rows), Bytes: tailBytes}
		_, _, err := g.topic.Scan(ctx, scan, func(r *storage.Record) bool {
			for i := range picks {
				picks[i].see(r)
			}
			return true
		})
		if err != nil && ctx.Err() == nil {
			h.opts.Log.Warn("the end of a log can't be read", "topic", g.topic.Name(), "err", err)
		}
	}
	encoded := map[int64][]byte{}
	for i := range picks {
		p := &picks[i]
		missed := max(0, end-p.lo) - p.seen
		p.socket.out.offerTail(p.watch, p.encode(encoded), missed)
	}
}

// allowance is how many messages may be shown now: as many a second as the viewer
// wants, those of one second at most at a time.
func (w *watch) allowance(tick int64) int {
	perTick := float64(w.limit) * tailTick.Seconds()
	if w.tick == 0 {
		w.tokens = float64(w.limit)
	} else {
		w.tokens = min(float64(w.limit), w.tokens+perTick*float64(tick-w.tick))
	}
	w.tick = tick
	return int(w.tokens)
}

// rows is how many messages are worth looking at.
func (p *picked) rows() int {
	if p.matcher == nil || p.room == 0 {
		return p.room
	}
	return tailRows
}

// see takes a message, if it is to be shown. The newest ones win.
func (p *picked) see(r *storage.Record) {
	if r.Offset < p.from {
		return
	}
	if p.matcher != nil && !p.matcher.Match(r) {
		p.seen++
		return
	}
	if p.room == 0 {
		return
	}
	if p.recs = append(p.recs, r); len(p.recs) > p.room {
		p.recs = p.recs[1:]
		return
	}
	p.seen++
}

// encode encodes what is shown, each message once for all viewers.
func (p *picked) encode(encoded map[int64][]byte) [][]byte {
	p.tokens -= float64(len(p.recs))
	list := make([][]byte, 0, len(p.recs))
	for _, r := range p.recs {
		data, ok := encoded[r.Offset]
		if !ok {
			var err error
			if data, err = json.Marshal(apiconv.Message(r, apiconv.ListBody)); err != nil {
				continue
			}
			encoded[r.Offset] = data
		}
		list = append(list, data)
	}
	return list
}
