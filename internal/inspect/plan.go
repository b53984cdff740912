package inspect

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How long and how many plans are kept, and how much is looked at for one.
const (
	planLife     = 10 * time.Minute
	maxPlans     = 1024
	planRows     = 2_000_000 // messages looked at to count those that match
	exampleRows  = 20_000    // messages looked at for examples
	minTolerance = 1000
)

// Plan says what a relocation would do. It changed nothing. Its fields are set
// when it is made.
type Plan struct {
	ID       string
	Group    *broker.Group
	Position broker.Position // as asked for
	From     storage.Progress
	To       int64

	Again    int64 // settled messages that pass again
	Skipped  int64 // messages not settled that are passed over
	Matching int64 // of both, those that the filter lets through
	Bytes    int64 // of these
	Exact    bool  // false: Matching and Bytes are scaled up from what was looked at
	InFlight int
	Pending  int64 // about how many there would be to deliver
	First    []storage.Record
	Last     []storage.Record

	Consumers int
	Version   string
	Tolerance int64
	Examples  int
	Created   int64 // Unix milliseconds, as Expires
	Expires   int64

	filter *filter.Filter
	until  time.Time // when it expires
	spent  bool      // applied or refused: what is left of it says so to a client that applies it again
}

// PlanOptions say how a plan is made.
type PlanOptions struct {
	Tolerance int64   // how far the cursor may move until the plan is applied; negative: as is usual
	Rate      float64 // deliveries of the group a second, for the usual tolerance
	Examples  int     // most messages in Plan.First and Plan.Last; fewer when they are large
}

// Make works out what moving a group would do. Its cost grows with the messages
// between the present position and the new one, up to a limit.
func (ps *Plans) Make(ctx context.Context, v broker.View, g *broker.Group, position broker.Position, opts PlanOptions) (*Plan, error) {
	to, err := v.Resolve(ctx, g.Topic(), g, position)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		ID: "p-" + rand.Text(), Group: g, Position: position, To: to, until: time.Now().Add(planLife),
		Tolerance: opts.Tolerance, Examples: opts.Examples, Created: ps.b.Wall(),
	}
	p.Expires = p.Created + planLife.Milliseconds()
	now := g.Snapshot()
	if g.Removed() {
		return nil, &broker.Error{Code: broker.NotFound, Text: fmt.Sprintf("ConsumeGroup(%s) not found", g.Name())}
	}
	p.From, p.filter, p.Version = now.Position, now.Filter, now.Version
	p.InFlight, p.Consumers = len(now.InFlight), now.Consumers
	if p.Tolerance < 0 {
		way := max(p.To-p.From.Cursor, p.From.Cursor-p.To)
		p.Tolerance = max(minTolerance, way/10, int64(10*opts.Rate))
	}
	if err := p.count(ctx); err != nil {
		return nil, err
	}
	if err := p.examples(ctx); err != nil {
		return nil, err
	}
	ps.keep(p)
	return p, nil
}

// count finds what passes again and what is skipped, and how much of it matches.
// Numbers of messages come from the positions alone; the filter needs the messages.
func (p *Plan) count(ctx context.Context) error {
	settled := p.From.Settled
	lo, hi := min(p.From.Cursor, p.To), max(p.From.Cursor, p.To)
	if n := len(settled); n > 0 {
		hi = max(hi, settled[n-1].Hi)
	}
	p.Again = max(0, p.From.Cursor-p.To)
	p.Skipped = max(0, p.To-p.From.Cursor)
	for _, r := range settled {
		p.Again += max(0, r.Hi-max(r.Lo, p.To))
		p.Skipped -= max(0, min(r.Hi, p.To)-r.Lo)
	}
	affected, looked := p.Again+p.Skipped, int64(0)
	t := p.Group.Topic()
	_, _, err := t.Scan(ctx, broker.Scan{From: lo, To: hi, Brief: true, Rows: planRows}, func(r *storage.Record) bool {
		if p.From.Done(r.Offset) != (r.Offset >= p.To) {
			return true // it is neither delivered again nor skipped
		}
		n := r.End() - r.Offset
		looked += n
		if r.Damaged() || p.filter.Match(r.Tag) {
			p.Matching += n
			p.Bytes += r.Size()
		}
		return true
	})
	p.Exact = looked == affected
	if looked > 0 && looked < affected {
		p.Matching = estimate(p.Matching, looked, affected)
		p.Bytes = estimate(p.Bytes, looked, affected)
	}
	return err
}

// examples finds the first and the last messages of what would come next, and how
// much of it there is about.
func (p *Plan) examples(ctx context.Context) error {
	t := p.Group.Topic()
	next := t.Next()
	if p.Pending = next - p.To; !p.filter.All() {
		matched := int64(0)
		scanned, _, err := t.Scan(ctx, broker.Scan{From: p.To, To: next, Brief: true, Rows: exampleRows}, func(r *storage.Record) bool {
			if r.Damaged() || p.filter.Match(r.Tag) {
				matched += r.End() - r.Offset
			}
			return true
		})
		if err != nil {
			return err
		}
		p.Pending = estimate(matched, scanned, p.Pending)
	}
	if p.Examples <= 0 {
		return nil
	}
	collect := func(list *[]storage.Record) func(r *storage.Record) bool {
		room := int64(exampleBytes / 2)
		return func(r *storage.Record) bool {
			if !p.filter.Match(r.Tag) || r.Damaged() {
				return true
			}
			e := preview(r)
			if room -= exampleCost(&e); room < 0 {
				return false
			}
			*list = append(*list, e)
			return len(*list) < p.Examples
		}
	}
	_, _, err := t.Scan(ctx, broker.Scan{From: p.To, To: next, Rows: exampleRows, Bytes: exampleScan}, collect(&p.First))
	if err != nil {
		return err
	}
	_, _, err = t.Scan(ctx, broker.Scan{From: next - 1, To: p.To - 1, Back: true, Rows: exampleRows, Bytes: exampleScan}, collect(&p.Last))
	slices.Reverse(p.Last)
	return err
}

const (
	exampleScan  = 64 << 20  // looked at for examples
	exampleBytes = 256 << 10 // that the examples of one plan cost, half of it for each list
	previewBytes = 1 << 10   // of a body in an example
)

// preview is a copy of a message with the beginning of its body. It shares no memory
// with the message, which was read with a block of others.
func preview(r *storage.Record) storage.Record {
	c := *r
	c.ID, c.Tag, c.Headers = strings.Clone(c.ID), strings.Clone(c.Tag), strings.Clone(c.Headers)
	shown := min(len(c.Body), previewBytes)
	c.Omitted += len(c.Body) - shown
	c.Body = slices.Clone(c.Body[:shown])
	return c
}

// exampleCost is what a message that preview made costs in memory.
func exampleCost(r *storage.Record) int64 {
	const overhead = 128
	return r.Size() - int64(r.Omitted) + overhead
}

// still refuses a plan that the group has outgrown, which has this version now and its cursor
// here.
func (p *Plan) still(version string, cursor int64) error {
	g := p.Group
	moved := cursor - p.From.Cursor
	switch {
	case p.spent:
		return conflict("the plan was applied or refused before")
	case version != p.Version:
		return conflict("ConsumeGroup(%s) was moved or changed since the plan was made: its version is %s, not %s", g.Name(), version, p.Version)
	case moved > p.Tolerance || -moved > p.Tolerance:
		return conflict("the cursor of ConsumeGroup(%s) has moved by %d messages since the plan was made, more than its tolerance of %d", g.Name(), moved, p.Tolerance)
	case p.To < g.Topic().First():
		return conflict("retention has dropped offset %d since the plan was made", p.To)
	}
	return nil
}

func conflict(format string, args ...any) error {
	return &broker.Error{Code: broker.Conflict, Text: fmt.Sprintf(format, args...)}
}
