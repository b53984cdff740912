package cluster

import (
	"cmp"
	"crypto/subtle"
	"slices"
)

// list makes the table anew, which has changed. Called with mu held.
func (c *Cluster) list() {
	c.enlist()
	c.changes.Add(1)
}

// enlist makes the table anew. Called with mu held.
func (c *Cluster) enlist() {
	var all []*Info
	for _, m := range c.members {
		if m.up {
			all = append(all, m.info)
		}
	}
	slices.SortFunc(all, func(x, y *Info) int { return cmp.Compare(x.Address.Address, y.Address.Address) })
	c.listed = all
	c.merge()
}

// Members are the servers that are up, but this one, and how often that has changed.
func (c *Cluster) Members() (all []*Info, changes int64) {
	if c == nil {
		return nil, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listed, c.changes.Load()
}

// Changes counts the changes of the table of members.
func (c *Cluster) Changes() int64 {
	if c == nil {
		return 0
	}
	return c.changes.Load()
}

// Identity is the answer to a track_probe, for JSON: who this server is, whether a proof is
// its own, and for clients that may join the servers that it lists, with others also their figures. A tracker
// that knows the proof gets the figures of this server.
func (c *Cluster) Identity(proof string, join, others bool) any {
	answer := probed{
		ServerAddress: c.opts.Self, Servers: []Address{},
		Proved: subtle.ConstantTimeCompare([]byte(proof), []byte(c.proof)) == 1,
	}
	select {
	case <-c.settled:
	default:
		answer.Fresh = true
	}
	if join || answer.Proved {
		answer.Figures = c.figures()
	}
	if !join {
		return answer
	}
	if others {
		answer.Others = c.relayed()
	}
	if !c.opts.TrackerOnly {
		answer.Servers = append(answer.Servers, c.opts.Self)
	}
	listed, _ := c.Members()
	for _, i := range listed {
		answer.Servers = append(answer.Servers, i.Address)
	}
	return answer
}

// TrackerOnly reports whether this server is not in its own table.
func (c *Cluster) TrackerOnly() bool { return c != nil && c.opts.TrackerOnly }

// Trackers are the servers that this one joins.
func (c *Cluster) Trackers() []Address {
	if c == nil {
		return []Address{}
	}
	return append([]Address{}, c.opts.Trackers...)
}

// CertificateOf is the certificate by which a member is verified, in PEM, if it is known.
func (c *Cluster) CertificateOf(address string) (text string) {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.up && m.address.Address == address {
			text = m.certificate
		}
	}
	return text
}
