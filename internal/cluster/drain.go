package cluster

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// Phase is how far a server is with being drained, as servers and clients are told.
type Phase string

// The phases of a server. Only one that is not drained is chosen by clients. They consume what
// is left on one that is being emptied, and have nothing more to do on one that is empty.
const (
	Serving  Phase = ""
	Emptying Phase = "emptying"
	Emptied  Phase = "emptied"
)

// UnmarshalText reads a phase. One that is not known here is not one to be chosen.
func (p *Phase) UnmarshalText(text []byte) error {
	switch *p = Phase(text); *p {
	case Serving, Emptying, Emptied:
	default:
		*p = Emptying
	}
	return nil
}

// Enter says which phase this server is in. What it says of itself has to be told again.
func (c *Cluster) Enter(p Phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.entered, c.urgent = p, time.Now(), true
	c.changes.Add(1)
}

// Phase is which phase this server is in, and since when.
func (c *Cluster) Phase() (Phase, time.Time) {
	if c == nil {
		return Serving, time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase, c.entered
}

// Elsewhere are the servers that are up, are not being drained and have a topic, but for this
// one. With served it has to be consumed there: calls need a provider.
func (c *Cluster) Elsewhere(topic string, served bool) (all []Address) {
	for _, m := range c.Others() {
		if m.takes(topic, served) {
			all = append(all, m.Address)
		}
	}
	return all
}

// takes reports whether clients may choose the server for a topic.
func (i *Info) takes(topic string, served bool) bool {
	t, ok := i.Topic(topic)
	return ok && i.Phase == Serving && (t.Consumers > 0 || !served)
}

// Topic is what a server has said of a topic, whose name is found without regard to case.
func (i *Info) Topic(name string) (t Topic, ok bool) {
	name = strings.ToLower(name)
	n := sort.Search(len(i.topics), func(n int) bool { return i.topics[n].lower >= name })
	if n == len(i.topics) || i.topics[n].lower != name {
		return t, false
	}
	return i.topics[n].Topic, true
}

// Hidden reports whether clients are not to choose a server for one of its topics, because it
// is being drained and another one has the topic. here says so of this server.
func Hidden(i *Info, all []*Info, topic string, here func(topic string, served bool) bool) bool {
	if i.Phase == Serving {
		return false
	}
	t, _ := i.Topic(topic)
	if here(topic, t.Calls()) {
		return true
	}
	return slices.ContainsFunc(all, func(other *Info) bool { return other != i && other.takes(topic, t.Calls()) })
}

// state is how a server in this phase is known, while it is reached.
func (p Phase) state() State {
	if p == Serving {
		return Up
	}
	return Draining
}

// Shown is what is to be seen of the server's topics: those that are visible (nil: all) and
// not hidden. left is how many are not hidden.
func (i *Info) Shown(visible, hidden func(topic string) bool) (shown func(topic string) bool, left int) {
	away := make(map[string]bool)
	for _, t := range i.topics {
		if hidden(t.Name) {
			away[t.Name] = true
		} else {
			left++
		}
	}
	return func(topic string) bool { return !away[topic] && (visible == nil || visible(topic)) }, left
}
