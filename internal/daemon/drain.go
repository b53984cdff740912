package daemon

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/drain"
)

// drainPatience is how long consumers may stay on a server that is being drained, unless it is set.
const drainPatience = 30 * time.Second

// openDrain makes what empties this server. It is called before the server is made.
func (p *parts) openDrain() {
	p.drain = drain.New(drain.Options{
		Broker: p.broker, Cluster: p.cluster, Restate: func() { p.server.Restate() }, Log: p.log,
		Sessions:   p.consuming,
		Retire:     func(ctx context.Context, id, reason string) bool { return p.server.Retire(ctx, id, reason) },
		Disconnect: p.disconnect,
	})
}

// consuming lists the connections that consume.
func (p *parts) consuming() (all []drain.Session) {
	for _, s := range p.sessions() {
		if len(s.Subscriptions) == 0 {
			continue
		}
		d := drain.Session{ID: s.ID, Idle: true}
		for _, sub := range s.Subscriptions {
			d.Topics = append(d.Topics, sub.Topic)
			d.Idle = d.Idle && sub.InFlight == 0
		}
		all = append(all, d)
	}
	return all
}

// drained drains this server, or ends that.
func (p *parts) drained(cfg config.Config, on bool) {
	if !on {
		p.drain.End()
		return
	}
	patience := cfg.Drain
	if patience == 0 {
		patience = drainPatience
	}
	p.drain.Begin(patience)
}

// empty drains this server before it stops, for as long as that may take at most.
func (p *parts) empty(most time.Duration, served *part) {
	if most == 0 {
		return
	}
	limit := time.NewTimer(most)
	defer limit.Stop()
	done, _ := p.drain.Begin(most)
	select {
	case <-done:
	case <-limit.C:
	case <-p.broker.Done():
	case <-served.done:
	}
}
