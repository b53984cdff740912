package broker

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
)

// deadSuffix makes the name of the topic that takes a topic's dead letters.
const deadSuffix = ".dead"

// bury moves a group's dead messages to the dead-letter topic and settles them.
// The copy is committed before the original is settled: a crash in between
// leaves a second copy, never none. Runs on the saver's goroutine.
func (s *saver) bury(g *Group) {
	g.mu.Lock()
	dead, epoch := g.dead, g.def.Epoch
	g.dead = nil
	g.mu.Unlock()
	for _, f := range dead {
		err := s.buryOne(g, f)
		g.mu.Lock()
		switch {
		case g.def.Epoch != epoch || g.gone:
		case err == nil:
			g.settle(f.offset, f.offset+1)
		default:
			f.due = s.b.clock() + 1000
			g.returned.put(f)
		}
		g.mu.Unlock()
		if err != nil {
			s.b.log.Error("dead letter not stored, the message stays in its group",
				"topic", g.t.name, "group", g.name, "offset", f.offset, "err", err)
			g.wakeUp()
		}
	}
}

func (s *saver) buryOne(g *Group, f *flight) error {
	ctx := context.WithoutCancel(s.b.run)
	rec, err := g.t.Message(ctx, f.offset)
	if CodeOf(err) == NotFound && err != nil {
		return nil // dropped by retention meanwhile
	}
	if err != nil {
		return err
	}
	t, _, err := s.b.DeclareTopic(ctx, TopicSpec{Name: g.t.name + deadSuffix, Actor: "broker"})
	if err != nil {
		return err
	}
	letter := *rec
	if letter.Headers, err = withOrigin(rec.Headers, g, f); err != nil {
		return err
	}
	done := make(chan struct{})
	p := s.b.NewPublishing(func() { close(done) })
	p.Add(t, letter, false, 0)
	p.Publish()
	<-done
	_, _, err = p.Result(0)
	return err
}

// withOrigin adds to a message's headers where it died and why. Headers are a
// JSON object of strings, so the additions go before its closing brace.
func withOrigin(headers string, g *Group, f *flight) (string, error) {
	origin, err := json.Marshal(map[string]string{
		"dead-topic":  g.t.name,
		"dead-group":  g.name,
		"dead-offset": strconv.FormatInt(f.offset, 10),
		"dead-count":  strconv.FormatInt(f.count, 10),
		"dead-cause":  f.cause,
	})
	if err != nil || headers == "" {
		return string(origin), err
	}
	return strings.TrimSuffix(headers, "}") + "," + string(origin[1:]), nil
}
