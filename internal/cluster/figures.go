package cluster

import "time"

// figuresTime is how long figures are told again as they are: counting is a walk over all topics, and every
// server that is known asks every [beat].
const figuresTime = time.Second

// Figures are what a server has and does. Servers ask each other for them with the heartbeats
// that they exchange anyway: in a table they would be news all the time.
type Figures struct {
	Uptime      int64   `json:"uptime"` // ms
	Groups      int     `json:"groups"`
	Connections int     `json:"connections"`
	Messages    int64   `json:"messages"`
	Bytes       int64   `json:"bytes"` // of these
	Database    int64   `json:"database"`
	Memory      int64   `json:"memory"`
	DiskFree    int64   `json:"diskFree"` // negative: not known
	Room        int64   `json:"room"`     // this and what follows is of the disk, as the API says it
	Unused      int64   `json:"unused"`
	Floor       int64   `json:"floor"`
	Reserve     int64   `json:"reserve"`
	Stopped     bool    `json:"stopped"` // nothing more is published for want of room
	In          float64 `json:"in"`      // messages a second
	Out         float64 `json:"out"`
}

// told is what a server has told, and when.
type told struct {
	*Figures
	at time.Time
}

// figuresOf is what a tracker tells of another server.
type figuresOf struct {
	Address Address  `json:"address"`
	Age     int64    `json:"age"` // ms
	Figures *Figures `json:"figures"`
}

// sound are the figures, or nil if no server has such ones.
func (f *Figures) sound() *Figures {
	if f == nil || f.In < 0 || f.Out < 0 || f.In > maxRevision || f.Out > maxRevision {
		return nil
	}
	for _, n := range [...]int64{f.Uptime, int64(f.Groups), int64(f.Connections), f.Messages, f.Bytes, f.Database, f.Memory, max(f.DiskFree, 0), f.Room, f.Unused, f.Floor, f.Reserve} {
		if n < 0 || n > maxRevision {
			return nil
		}
	}
	return f
}

// figures are those of this server, or nil if it has none.
func (c *Cluster) figures() *Figures {
	if c.opts.Figures == nil {
		return nil
	}
	c.counting.Lock()
	defer c.counting.Unlock()
	if c.counted.Figures == nil || time.Since(c.counted.at) >= figuresTime {
		f := c.opts.Figures()
		c.counted = told{&f, time.Now()}
	}
	return c.counted.Figures
}

// relayed are the figures of those that have joined, for servers that can't ask them.
func (c *Cluster) relayed() (all []figuresOf) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.up && m.figures.Figures != nil {
			all = append(all, figuresOf{m.address, time.Since(m.figures.at).Milliseconds(), m.figures.Figures})
		}
	}
	return all
}

// heardOf takes what a tracker tells of itself and of servers that only it knows.
func (l *link) heardOf(answer *probed) {
	now, relayed := time.Now(), make(map[Address]told)
	for _, f := range answer.Others[:min(len(answer.Others), maxMembers)] {
		if f.Address.check() == nil && f.Age >= 0 && f.Age < memberTime.Milliseconds() {
			relayed[f.Address] = told{f.Figures.sound(), now.Add(-time.Duration(f.Age) * time.Millisecond)}
		}
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.figures, l.heard, l.relayed = told{answer.Figures.sound(), now}, now, relayed
}

// hears reports whether there are servers that only this tracker knows.
func (l *link) hears() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for i := range l.c.hearsay {
		if l.c.hearsay[i].link == l {
			return true
		}
	}
	return false
}
