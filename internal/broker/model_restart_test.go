package broker

import "maps"

// reload takes over what a restarted broker knows, after checking that it
// forgot no more than it may: nothing after an orderly stop.
func (g *modelGroup) reload(orderly bool) {
	m, err := g.m, error(nil)
	if g.g, err = m.b.System().Group(m.topicName(), g.name()); err != nil {
		m.Fatal(err)
	}
	info := g.g.Info()
	maps.DeleteFunc(g.fates, func(o int64, _ *fate) bool { return o < m.first })
	for o := m.first; o < int64(len(m.recs)); o++ {
		g.reloadOne(o, isSettled(&info.Progress, o), orderly)
	}
	g.head, g.seen, g.clients, g.away = g.g.cursor, g.g.seen, nil, nil
}

func (g *modelGroup) reloadOne(o int64, done, orderly bool) {
	m, f, r := g.m, g.fate(o), g.g.returned.get(o)
	kept := orderly || f.sure || nowMS()-f.at > unsaved
	least, most := g.remembered(f, kept)
	known := int64(0)
	switch {
	case r != nil:
		known = r.count
	case o < g.g.seen:
		known = 1
	}
	dead := g.explicit() && *g.spec.MaxDeliver > 0 && most >= *g.spec.MaxDeliver
	switch {
	case done && f.state < dying && dead && f.state != returned:
		m.dying[letter{g.name(), o}]++
		m.dead[letter{g.name(), o}] = true
	case done && f.state < dying:
		m.Fatalf("%s: the restart settled offset %d (state %d)", g.name(), o, f.state)
	case done:
	case f.state == settled && kept:
		m.Fatalf("%s: the restart forgot that offset %d is settled", g.name(), o)
	case f.state == dying && kept:
		m.Fatalf("%s: the restart forgot that offset %d was delivered too often", g.name(), o)
	case g.explicit() && (known < least || known > most):
		m.Fatalf("%s: the restart knows of %d deliveries of offset %d, want %d to %d (state %d)", g.name(), known, o, least, most, f.state)
	case f.state == flying && kept && o >= g.g.seen:
		m.Fatalf("%s: the restart forgot that offset %d was delivered", g.name(), o)
	case f.state == returned && f.count > 0 && kept && (r == nil || r.count != f.count || max(r.due, nowMS()) != max(f.due, nowMS())):
		m.Fatalf("%s: the restart forgot that offset %d was given back (%+v): %+v", g.name(), o, f, r)
	}
	n := g.set(o, waiting)
	n.count = 0
	switch {
	case done:
		n.state, n.sure = settled, true
	case r != nil:
		n.state, n.count, n.due, n.sure = returned, r.count, r.due, true
	}
}

// remembered is how many deliveries of a message a restarted broker may know of.
func (g *modelGroup) remembered(f *fate, kept bool) (least, most int64) {
	switch f.state {
	case waiting:
		if f.offset < g.seen {
			return 1, 1
		}
		return 0, 0
	case flying:
		if least, most = f.count, f.count; f.sent {
			break
		}
		// What never left the broker does not count, but for a first delivery.
		if least--; least > 0 {
			most = least
		}
	default:
		least, most = f.count, f.count
	}
	if !kept {
		least, most = 0, max(most, 1)
	}
	return least, most
}
