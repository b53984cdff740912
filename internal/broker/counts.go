package broker

// mayAddTopic refuses one more topic than there may be, or than its owner may have; "" is nobody.
// Called with names held. Topics of dead letters are made all the same: their messages have nowhere
// else to go.
func (b *Broker) mayAddTopic(account string) error {
	b.mu.RLock()
	n := len(b.topics)
	b.mu.RUnlock()
	if most := b.opts.MaxTopics; most > 0 && n >= most {
		return errorf(Quota, "there are %d topics, which is the most: remove some, or start the broker with a larger --max-topics", n)
	}
	return b.mayOwn(account)
}

// addGroup counts a group that is about to be created, or refuses it.
func (b *Broker) addGroup() error {
	n := b.groups.Add(1)
	if most := int64(b.opts.MaxGroups); most > 0 && n > most {
		b.groups.Add(-1)
		return errorf(Quota, "there are %d groups, which is the most: remove some, or start the broker with a larger --max-groups", most)
	}
	return nil
}

// forget has a removed topic found no more.
func (b *Broker) forget(t *Topic) {
	t.mu.Lock()
	if !t.gone.Swap(true) { // from now on its groups are not counted
		b.groups.Add(-int64(len(t.groups)))
	}
	t.mu.Unlock()
	b.own(t, nil)
	b.mu.Lock()
	delete(b.topics, fold(t.name))
	b.mu.Unlock()
}

// forget has a removed group found no more.
func (g *Group) forget() {
	t := g.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.groups[fold(g.name)]; there && !t.gone.Load() {
		t.b.groups.Add(-1)
	}
	delete(t.groups, fold(g.name))
}
