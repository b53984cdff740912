package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// RedriveGroup is the group of a dead-letter topic that says which letters are done with:
// what is settled in it went back to where it died, or was dropped. It is created with the
// first of these.
const RedriveGroup = "redrive"

// How many letters are settled in one commit, and how far apart: a group's position is stored
// with each of its gaps.
const (
	RedriveRows  = 256
	redriveBytes = 1 << 20
	maxGaps      = 10_000
)

// Origin is where a dead letter died, and why.
type Origin struct {
	Topic, Group  string
	Offset, Count int64
	Cause         string
}

// LetterOf reads the origin of a dead letter from its headers, and what the headers were
// before it died. ok is false of a message that is no dead letter.
func LetterOf(headers string) (from Origin, before string, ok bool) {
	at := letterAt(headers)
	if at < 0 {
		return from, headers, false
	}
	var h map[string]string
	if err := json.Unmarshal([]byte("{"+headers[at:]), &h); err != nil {
		return from, headers, false
	}
	from = Origin{Topic: h["dead-topic"], Group: h["dead-group"], Cause: h["dead-cause"]}
	from.Offset, _ = strconv.ParseInt(h["dead-offset"], 10, 64)
	from.Count, _ = strconv.ParseInt(h["dead-count"], 10, 64)
	if before = strings.TrimSuffix(headers[:at], ","); before != "{" {
		return from, before + "}", true
	}
	return from, "", true
}

// DiedIn is the name of the topic whose dead letters a topic takes, or "" if it takes none.
func (t *Topic) DiedIn() string {
	base, ok := strings.CutSuffix(fold(t.name), deadSuffix)
	if !ok || base == "" || t.Calls() || t.Memory() {
		return ""
	}
	return t.name[:len(base)]
}

// Redrives reports whether the group is the one of [RedriveGroup].
func (g *Group) Redrives() bool { return fold(g.name) == RedriveGroup && g.t.DiedIn() != "" }

// Letters is a picture of which messages of a dead-letter topic wait: see [Letters.Waiting].
type Letters struct {
	Origin string // the topic that they died in
	Count  int64  // that wait, messages that are no letters included
	done   storage.Progress
}

// Letters takes the picture of a dead-letter topic.
func (t *Topic) Letters() (Letters, error) {
	l := Letters{Origin: t.DiedIn(), Count: t.Next() - t.First()}
	if l.Origin == "" {
		return l, errorf(Invalid, "topic %q takes no dead letters: their topics are named like the topic that they died in, with %s", t.name, deadSuffix)
	}
	if g, err := t.group(RedriveGroup); err == nil {
		l.done, _ = g.Position()
		l.Count = max(0, t.Next()-l.done.Cursor-l.done.Settled.Count())
	}
	return l, nil
}

// Waiting reads the origin of a letter that is not done with, and its headers from before.
func (l *Letters) Waiting(rec *storage.Record) (from Origin, before string, ok bool) {
	if rec.Damaged() || l.done.Done(rec.Offset) {
		return from, "", false
	}
	from, before, ok = LetterOf(rec.Headers)
	// Anyone who may publish to the topic can write such headers. They choose no other topic.
	return from, before, ok && fold(from.Topic) == fold(l.Origin)
}

// Reached are the groups of a topic that get a message with a tag.
func (t *Topic) Reached(tag string) (names []string) {
	for _, g := range t.Groups() {
		g.mu.Lock()
		passes := g.filter.Match(tag)
		g.mu.Unlock()
		if passes {
			names = append(names, g.name)
		}
	}
	return names
}

// Redrive is dead letters that are done with.
type Redrive struct {
	Letters []storage.Record // whole, of the dead-letter topic
	Drop    bool             // they do not go back
	// Edit, unless nil, replaces the tag, the headers and the body of the only letter.
	Edit *storage.Record
}

// Redrive publishes letters to the topic that they died in and settles them in [RedriveGroup], in
// one commit: a crash leaves either, and a letter goes back once no matter how often and by how
// many it is asked for. Letters that are done with, or that a consumer of the group holds, are left
// out. It returns how many went. Letters at the beginning of the log that every group is done with are
// deleted afterwards. The topic was found with the verb for it; to publish takes its own.
func (v View) Redrive(ctx context.Context, t *Topic, r Redrive) (n int, err error) {
	letters, err := t.Letters()
	if err != nil {
		return 0, err
	}
	var origin *Topic
	if !r.Drop {
		if origin, err = v.For(access.Publish).Topic(letters.Origin); err != nil {
			return 0, err
		}
		if origin.Calls() || origin.Memory() {
			return 0, errorf(Conflict, "topic %q keeps no messages on disk: its dead letters can't go back", origin.name)
		}
		if origin.shard != t.shard {
			return 0, errorf(Conflict, "topics %q and %q are in different storages: the letters can't change places in one commit", t.name, origin.name)
		}
	}
	g, err := v.b.redriveGroup(ctx, t, v.who.Actor())
	if err != nil {
		return 0, err
	}
	for rest := r.Letters; len(rest) > 0; {
		size, rows := int64(0), 0
		for rows < min(len(rest), RedriveRows) && size < redriveBytes {
			size += rest[rows].Size()
			rows++
		}
		part := r
		part.Letters, rest = rest[:rows], rest[rows:]
		done, err := v.settleLetters(ctx, g, origin, &part)
		if n += done; err != nil {
			return n, err
		}
	}
	return n, t.deleteDone(ctx)
}

// redriveGroup finds the group, or creates it.
func (b *Broker) redriveGroup(ctx context.Context, t *Topic, who storage.Actor) (*Group, error) {
	g, err := t.group(RedriveGroup)
	if err != nil {
		explicit := storage.SettleExplicit
		g, _, err = b.declareGroup(ctx, GroupSpec{Topic: t.name, Name: RedriveGroup, Settle: &explicit, Start: Position{At: AtEarliest}, Actor: who})
	}
	if err != nil {
		return nil, err
	}
	if info := g.Info(); info.Settle != storage.SettleExplicit || info.Filter != "" {
		return nil, errorf(Conflict, "group %q of topic %q says which letters are done with: it has to have explicit acks and no filter", g.name, t.name)
	}
	return g, nil
}

// settleLetters does one commit of a redrive.
func (v View) settleLetters(ctx context.Context, g *Group, origin *Topic, r *Redrive) (int, error) {
	t := g.t
	t.changes.Lock() // no relocation, removal or other redrive until the commit
	defer t.changes.Unlock()
	saver := &t.shard.saver.turn
	saver.Lock() // a save that has looked at positions from before goes first
	op, letters, err := g.takeLetters(r.Letters)
	saver.Unlock()
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	var messages []Message
	where := "dropped"
	if origin != nil {
		where = "to " + origin.name
		messages = lettersBack(origin, letters, r.Edit)
		err = v.charge(ctx, messages)
	}
	if err == nil {
		audit := v.b.audit(v.who.Actor(), "topic.redrive", t.name, fmt.Sprintf("%d letters %s", len(letters), where))
		_, err = t.shard.publishAndWait(context.WithoutCancel(ctx), messages, []storage.Op{op, audit})
	}
	g.mu.Lock()
	g.moving = false
	if err == nil {
		for i := range letters {
			at := letters[i].Offset
			if f := g.returned.get(at); f != nil {
				g.returned.remove(f)
			}
			g.settle(at, at+1)
			g.seen = max(g.seen, at+1)
		}
		g.next = max(g.next, g.cursor)
		g.saved(op)
	}
	g.mu.Unlock()
	g.wakeUp()
	g.toSave(true)
	v.who.Quota().Cool(ctx, err)
	if err != nil {
		return 0, err
	}
	return len(letters), nil
}

// takeLetters chooses the letters that wait, and says what has to be stored to settle them. The group
// delivers nothing until its moving is taken back, which is for the caller unless there is an error or
// no letter.
func (g *Group) takeLetters(all []storage.Record) (op *storage.SaveProgress, letters []storage.Record, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil, nil, groupNotFound(g.name)
	}
	at := g.standing()
	for i := range all {
		offset := all[i].Offset
		if at.Done(offset) || offset >= g.t.Next() || g.flying.get(offset) != nil {
			continue
		}
		at.Settled.Add(offset, offset+1)
		at.Read = max(at.Read, offset+1)
		letters = append(letters, all[i])
	}
	at.Cursor = at.Settled.Advance(at.Cursor)
	if len(at.Settled) > maxGaps {
		return nil, nil, errorf(Quota, "letters wait in %d places between others that are done with, which is the most: begin with the oldest", maxGaps)
	}
	if len(letters) > 0 {
		op = g.saveOp(at)
		g.moving = true
	}
	return op, letters, nil
}

// lettersBack are letters as the messages that they were, with their ids.
func lettersBack(origin *Topic, letters []storage.Record, edit *storage.Record) []Message {
	messages := make([]Message, len(letters))
	for i := range letters {
		rec := letters[i]
		_, rec.Headers, _ = LetterOf(rec.Headers)
		if edit != nil {
			rec.Tag, rec.Headers, rec.Body = edit.Tag, edit.Headers, edit.Body
		}
		messages[i] = Message{Topic: origin, Record: rec}
	}
	return messages
}

// deleteDone deletes what every group of a dead-letter topic is done with at the beginning of its log.
func (t *Topic) deleteDone(ctx context.Context) error {
	first := t.Next()
	for _, g := range t.Groups() {
		first = min(first, g.Cursor())
	}
	if first <= t.First() {
		return nil
	}
	return t.trim(context.WithoutCancel(ctx), first)
}
