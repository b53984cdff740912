package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// deadSuffix makes the name of the topic that takes a topic's dead letters. The dead
// letters of that topic's own groups go to a topic with the suffix twice, and so on
// until a name is too long: no message ever comes back to a topic that it died in.
const deadSuffix = ".dead"

// How dead letters are stored: a few in one commit, then a rest for as long as that took,
// since the acks of other groups wait for the same commits; and again after a failure,
// later each time.
const (
	letterRows     = 64
	letterBytes    = 1 << 20
	letterPause    = 1000          // milliseconds
	maxLetterPause = 5 * 60 * 1000 // milliseconds
)

// maxDead is how many dead messages a group holds whose letters can't be stored.
// With so many it delivers nothing more.
const maxDead = maxAckWindow

// deadLetters is the condition that letters can't be stored.
const deadLetters = "dead-letters"

// deadRetry is how a group's dead letters fare. Guarded by Group.mu.
type deadRetry struct {
	due   int64  // on Broker.clock; not tried earlier
	pause int64  // milliseconds before due; 0 unless the last attempt failed
	cause string // why it failed
}

// DeadLetters says how a group's dead letters fare.
type DeadLetters struct {
	Waiting int    // messages that were delivered too often and whose letters are not stored
	Cause   string // why not, if storing failed
	Retry   int64  // then: milliseconds until the next attempt
}

// dies reports whether messages of a group can be delivered too often.
func dies(t *Topic, def *storage.Group) bool {
	return def.MaxDeliver > 0 && def.Settle == storage.SettleExplicit && !t.Calls()
}

// diesOf is dies of a number of deliveries. Called with g.mu held.
func (g *Group) diesOf(count int64) bool { return dies(g.t, &g.def) && count >= g.def.MaxDeliver }

// over reports whether a message is not to be delivered again: it was too often, or a consumer
// has given it up. Called with g.mu held.
func (g *Group) over(f *flight) bool { return g.diesOf(f.count) || f.condemned && dies(g.t, &g.def) }

// checkDeadLetters refuses a definition with dead letters that could never be stored.
// Called with Topic.changes held.
func (b *Broker) checkDeadLetters(t *Topic, def *storage.Group) error {
	if !dies(t, def) {
		return nil
	}
	name := t.name + deadSuffix
	if err := CheckName("dead-letter topic", name); err != nil {
		return errorf(Invalid, "a group of topic %q can't have a limit of deliveries: %w", t.name, err)
	}
	if d, err := b.findTopic(name); err == nil && d.Memory() {
		return errorf(Conflict, "a group of topic %q can't have a limit of deliveries: %w", t.name, deadInMemory(name))
	}
	return nil
}

func deadInMemory(name string) error {
	return fmt.Errorf("its dead letters go to topic %q, which keeps no messages on disk: remove that topic first", name)
}

// diesInto is the topic whose dead letters go to a topic of this name, or nil.
func (b *Broker) diesInto(name string) *Topic {
	base, ok := strings.CutSuffix(fold(name), deadSuffix)
	if !ok {
		return nil
	}
	t, err := b.findTopic(base)
	if err != nil {
		return nil
	}
	return t
}

// checkTakesLetters refuses a new topic that could not take the topic's dead letters.
// Called with t.changes held.
func (t *Topic) checkTakesLetters(def *storage.Topic) error {
	if def.Kind.Stored() {
		return nil
	}
	for _, g := range t.Groups() {
		if info := g.Info(); dies(t, &info.Group) {
			return errorf(Conflict, "topic %q takes the dead letters of group %q of topic %q: it has to keep messages on disk", def.Name, g.name, t.name)
		}
	}
	return nil
}

// storeDead moves some of a group's dead messages to the dead-letter topic and settles them, both
// in one commit: a crash leaves either the message or its letter. It reports whether there
// may be more.
func (b *Broker) storeDead(ctx context.Context, g *Group) (more bool) {
	if ctx.Err() != nil {
		return false
	}
	g.mu.Lock()
	now, epoch := b.clock(), g.def.Epoch
	dead := slices.Clone(g.dead[:min(len(g.dead), letterRows)])
	if len(dead) > 0 && now < g.deadRetry.due {
		b.timers.at(g, g.deadRetry.due)
		g.mu.Unlock()
		return false
	}
	over := len(dead) == 0 && g.deadRetry.pause > 0
	if over {
		g.deadRetry = deadRetry{}
	}
	for _, f := range dead {
		f.storing = true
	}
	g.mu.Unlock()
	if over {
		b.opts.Conditions.Clear(deadLetters, g.t.name+"/"+g.name)
	}
	if len(dead) == 0 {
		return false
	}
	began := time.Now()
	err := b.storeLetters(ctx, g, epoch, dead)
	g.lettersStored(dead, err)
	if err != nil {
		return false
	}
	rest(ctx, time.Since(began))
	return true
}

// rest waits for some time, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lettersStored notes the outcome of an attempt to store letters of dead.
func (g *Group) lettersStored(dead []*flight, err error) {
	b := g.b
	g.mu.Lock()
	for _, f := range dead {
		f.storing = false
	}
	before := g.deadRetry.pause
	if g.deadRetry = (deadRetry{}); err != nil {
		pause := min(max(2*before, letterPause), maxLetterPause)
		g.deadRetry = deadRetry{due: b.after(pause), pause: pause, cause: err.Error()}
		b.timers.at(g, g.deadRetry.due)
	}
	g.revive() // the limit may have been raised in the meantime
	waiting, gone := len(g.dead), g.gone
	g.mu.Unlock()
	g.toSave(true) // acks may wait for it
	g.wakeUp()
	switch {
	case err != nil && !gone:
		b.opts.Conditions.Raise(condition.Condition{
			Kind: deadLetters, Subject: g.t.name + "/" + g.name, Severity: condition.Warning,
			Text: fmt.Sprintf("%d dead letters can't be stored and wait in their group: %v", waiting, err),
		})
	case err == nil && before > 0:
		b.opts.Conditions.Clear(deadLetters, g.t.name+"/"+g.name)
	}
}

// revive gives dead messages back that the group's limit lets live, but for those whose
// letters are just being stored. Called with g.mu held.
func (g *Group) revive() {
	g.dead = slices.DeleteFunc(g.dead, func(f *flight) bool {
		lives := !f.storing && !g.over(f)
		if lives {
			g.returned.put(f)
		}
		return lives
	})
}

// storeLetters stores letters of dead messages, as many as fit one commit, and settles
// these and those of which there is nothing left to store. An error says why others stay.
func (b *Broker) storeLetters(ctx context.Context, g *Group, epoch int64, dead []*flight) error {
	ctx = context.WithoutCancel(ctx)
	t, err := b.findTopic(g.t.name + deadSuffix)
	if err != nil {
		t, _, err = b.declareTopic(ctx, TopicSpec{
			Name: g.t.name + deadSuffix, Actor: itself(), letters: true, account: g.t.Definition().Owner,
		})
	}
	if err == nil && t.Memory() {
		err = deadInMemory(t.name)
	}
	if err != nil {
		return err
	}
	stored := make(chan struct{})
	p := b.NewPublishing(func() { close(stored) })
	p.atomic, p.own = true, true
	p.shareOf(g.t.shard) // also when there is nothing to store but that messages are settled
	var over []*flight
	var failed error
	for size := int64(0); len(dead) > 0 && size < letterBytes; dead = dead[1:] {
		f := dead[0]
		rec, err := g.t.Message(ctx, f.offset)
		switch {
		case CodeOf(err) == NotFound && err != nil, err == nil && g.damaged(rec):
			over = append(over, f) // dropped in the meantime, or nothing that could be read
			continue
		case err != nil:
			failed = fmt.Errorf("message at offset %d: %w", f.offset, err)
			continue
		}
		letter := *rec
		letter.Headers = withOrigin(rec.Headers, g, f)
		p.Add(Message{Topic: t, Record: letter})
		over = append(over, f)
		size += rec.Size()
	}
	if len(over) == 0 {
		return failed
	}
	if err := g.settleWith(p, stored, epoch, over); err != nil {
		return err
	}
	return failed
}

// settleWith publishes letters and settles what is over in one commit, which is a save of
// the group: until it is done there is no other, as that could go before or after it.
// Deliveries continue. Without a commit nothing is changed, nor if the group has left its
// position.
func (g *Group) settleWith(letters *Publishing, stored <-chan struct{}, epoch int64, over []*flight) error {
	g.t.changes.Lock() // no relocation, removal or transaction until the commit
	defer g.t.changes.Unlock()
	op, acks, ok := g.prepareLetters(epoch, over)
	if !ok {
		return nil
	}
	if op != nil {
		letters.extra = []storage.Op{op}
	}
	_ = letters.Publish(context.Background()) // there is nothing to wait for, and no limit
	<-stored
	g.mu.Lock()
	g.storingLetters = false
	if letters.err != nil {
		g.acks = append(acks, g.acks...) // the next save answers them
		g.mu.Unlock()
		return letters.err
	}
	for _, f := range over {
		g.settle(f.offset, f.offset+1)
	}
	g.dead = slices.DeleteFunc(g.dead, func(f *flight) bool { return f.offset < g.cursor || g.settled.Has(f.offset) })
	if op != nil {
		g.saved(op)
	}
	g.mu.Unlock()
	g.counters.dead.Add(int64(letters.Len()))
	for _, done := range acks {
		done(nil)
	}
	return nil
}

// prepareLetters takes the group's unsaved state, with what is over settled. There is no op
// for a topic in memory.
func (g *Group) prepareLetters(epoch int64, over []*flight) (op *storage.SaveProgress, acks []func(error), ok bool) {
	turn := &g.t.shard.saver.turn
	turn.Lock() // a save that has looked at positions from before goes first
	defer turn.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone || g.def.Epoch != epoch {
		return nil, nil, false
	}
	op = g.saveOp(g.progressWith(over))
	acks, g.acks = g.acks, nil
	g.storingLetters = true
	return op, acks, true
}

// withOrigin adds to a message's headers where it died and why. Headers are a
// JSON object of strings, so the additions go before its closing brace. A letter that
// dies again says where it did last: that leads to where it did before.
func withOrigin(headers string, g *Group, f *flight) string {
	members, err := json.Marshal(map[string]string{ // in the order of their names
		"dead-cause":  f.cause,
		"dead-count":  strconv.FormatInt(f.count, 10),
		"dead-group":  g.name,
		"dead-offset": strconv.FormatInt(f.offset, 10),
		"dead-topic":  g.t.name,
	})
	if err != nil { // strings always can be written
		return headers
	}
	origin := string(members)
	if at := letterAt(headers); at >= 0 {
		headers = strings.TrimSuffix(headers[:at], ",") + "}"
	}
	if headers == "" || headers == "{}" {
		return origin
	}
	return strings.TrimSuffix(headers, "}") + "," + origin[1:]
}

// letterMark begins what withOrigin adds.
const letterMark = `"dead-cause":`

// letterAt is where the headers of a dead letter have what withOrigin added, or -1 if
// they are another message's.
func letterAt(headers string) int {
	at := strings.LastIndex(headers, letterMark)
	if at < 0 {
		return -1
	}
	var origin map[string]string
	if err := json.Unmarshal([]byte("{"+headers[at:]), &origin); err != nil || len(origin) != 5 || origin["dead-topic"] == "" {
		return -1
	}
	return at
}
