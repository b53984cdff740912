package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxTail is how many messages may be missing from the end of a log. A topic or a group
// that says more is damaged itself.
const maxTail = 1 << 20

// writeTopics writes messages, topics and groups.
func (s *salvager) writeTopics(ctx context.Context) error {
	ids := map[storage.TopicID]bool{}
	for id := range s.topics {
		ids[id] = true
	}
	all, done := 0, 0
	for id, refs := range s.refs {
		all += len(refs)
		if id >= 1 && id <= maxTopic && s.mayExist(refs) {
			ids[id] = true
		}
	}
	names := map[string]bool{}
	list := slices.Collect(maps.Keys(ids))
	sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
	for _, id := range list {
		if err := s.writeTopic(ctx, id, names); err != nil {
			return err
		}
		if done += len(s.refs[id]); s.progress != nil && all > 0 {
			s.progress(float64(done) / float64(all))
		}
	}
	if err := s.writeGroups(ctx); err != nil {
		return err
	}
	s.report.Journal, s.report.Audit = s.tables["cursor_journal"].copied, s.tables["audit"].copied
	err := s.c.run(`DELETE FROM parked WHERE count < 1 OR NOT EXISTS (SELECT 1 FROM groups g JOIN topics t ON t.id = g.topic_id
		WHERE g.id = parked.group_id AND parked."offset" BETWEEN 0 AND t.next - 1)`)
	if err != nil {
		return translate(err)
	}
	err = s.c.run(`DELETE FROM history WHERE topic_id NOT IN (SELECT id FROM topics) OR group_id != 0 AND group_id NOT IN (SELECT id FROM groups)`)
	if err != nil {
		return translate(err)
	}
	// The rows are no longer what was summed. Those without sums get them at the next open.
	// What they are is taken from their masks where the text for it is damaged.
	return translate(s.c.run(`UPDATE topics SET definition_sum = NULL, place_sum = NULL;
		UPDATE groups SET definition_sum = NULL, place_sum = NULL; UPDATE parked SET sum = NULL;
		UPDATE topics SET kind = NULL WHERE kind NOT IN ('log', 'memory', 'rpc', 'proxy');
		UPDATE groups SET settle = NULL WHERE settle NOT IN ('auto', 'explicit')`))
}

// mayExist reports whether messages may be of a topic whose definition is lost. Those of a
// topic that was removed are noted as dropped until they are deleted, but for pieces.
func (s *salvager) mayExist(refs []blockRef) bool {
	if !s.tables["topics"].sound {
		return true
	}
	return slices.ContainsFunc(refs, func(r blockRef) bool {
		return r.piece < 0 && !r.orphan && !slices.ContainsFunc(s.dropped, func(d storage.Range) bool { return d.Lo <= r.key && r.key < d.Hi })
	})
}

// salvagedLog is the log of one topic as it is written.
type salvagedLog struct {
	id      storage.TopicID
	report  SalvagedTopic
	first   int64
	known   bool            // first is
	dropped []storage.Range // offsets that do not count
	next    int64           // behind the last message; first before there is one
	claimed int64           // where the log ends by what blocks say of themselves
	total   int64
	time    int64 // of the last message
}

// writeTopic writes a topic with its messages.
func (s *salvager) writeTopic(ctx context.Context, id storage.TopicID, names map[string]bool) error {
	t, refs := s.topics[id], s.refs[id]
	sort.SliceStable(refs, func(i, j int) bool { return refs[i].key < refs[j].key })
	l := &salvagedLog{id: id, report: SalvagedTopic{FirstLost: -1, LastLost: -1, Ranges: []storage.Range{}}}
	l.begin(s, t, refs)
	for len(refs) > 0 {
		// Those that overlap are one log twice, or damaged.
		n, end := 1, refs[0].end()
		for n < len(refs) && refs[n].key < end {
			end = max(end, refs[n].end())
			n++
		}
		if err := s.writeRefs(ctx, l, refs[:n]); err != nil {
			return err
		}
		refs = refs[n:]
	}
	if t == nil && l.report.Kept == 0 {
		return nil
	}
	if t == nil {
		t = &foundTopic{row: s.blankTopic(id), at: -1}
		s.note("the definition of topic %d is lost", id)
	}
	s.topics[id] = t
	l.report.Name = t.name
	if !usable(t.name) || names[storage.Fold(t.name)] {
		l.report.Name = fmt.Sprintf("recovered-%d", id)
	}
	names[storage.Fold(l.report.Name)] = true
	return s.finish(ctx, l, t)
}

func (r *blockRef) end() int64 { return r.key + min(max(r.n, 1), maxBlockRows) }

// begin finds out where the log begins.
func (l *salvagedLog) begin(s *salvager, t *foundTopic, refs []blockRef) {
	for _, d := range s.dropped {
		if lo, hi := max(d.Lo, keyOf(l.id, 0)), min(d.Hi, keyOf(l.id+1, 0)); lo < hi {
			l.dropped = append(l.dropped, storage.Range{Lo: lo - keyOf(l.id, 0), Hi: hi - keyOf(l.id, 0)})
		}
	}
	if t == nil {
		return
	}
	l.first = integer(t.row[s.tables["topics"].at("first")])
	l.known = 0 <= l.first && l.first <= storage.MaxOffset+1
	for i := range refs {
		r := &refs[i]
		// What is below the first offset is noted as dropped until it is deleted.
		if at := offsetOf(r.key); r.piece < 0 && !r.orphan && at+r.n <= l.first && !l.drops(at+r.n-1) && s.tables["dropped"].sound {
			l.known = false
		}
	}
	if !l.known {
		l.first = 0
		s.note("the first offset of topic %d is damaged", l.id)
	}
	l.next = l.first
}

func (l *salvagedLog) drops(offset int64) bool {
	return slices.ContainsFunc(l.dropped, func(r storage.Range) bool { return r.Lo <= offset && offset < r.Hi })
}

// writeRefs writes the messages of blocks and pieces that overlap.
func (s *salvager) writeRefs(ctx context.Context, l *salvagedLog, refs []blockRef) error {
	var found []storage.Record
	for i := range refs {
		r, before := &refs[i], len(found)
		if b, ok := s.read(r); ok {
			found = s.intact(&b, found)
		}
		if at := offsetOf(r.key); !r.orphan && (len(found) == before || found[before].Offset-at < maxBlockRows && found[before].Offset >= at) {
			l.claimed = max(l.claimed, offsetOf(r.end()-1)+1)
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Offset < found[j].Offset })
	found = slices.CompactFunc(found, func(x, y storage.Record) bool { return x.Offset == y.Offset })
	found = slices.DeleteFunc(found, func(r storage.Record) bool { return r.Offset < max(l.first, l.next) || l.drops(r.Offset) })
	var rows []row
	for i := range found {
		r := &found[i]
		if l.report.Kept == 0 && !l.known {
			l.first, l.next, l.known = r.Offset, r.Offset, true
		}
		l.report.lose(l.next, r.Offset)
		l.report.Kept++
		l.total += r.Size()
		l.next, l.time = r.Offset+1, max(l.time, r.Time)
		rows = append(rows, row{keyOf(l.id, r.Offset), l.total, r})
	}
	for len(rows) > 0 {
		rows = s.block.fill(rows)
		k := &s.block
		if _, err := s.c.exec(insertBlock, number(nil, []driver.Value{k.key, k.n, k.time, k.total, k.meta, k.body})); err != nil {
			return translate(err)
		}
		if err := s.commitSome(ctx, int64(len(k.meta)+len(k.body))); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the row of a topic.
func (s *salvager) finish(ctx context.Context, l *salvagedLog, t *foundTopic) error {
	table := s.tables["topics"]
	end := l.next
	for _, g := range s.groups {
		if r := s.groupOf(&g); r.topic == l.id {
			end = max(end, plausibleEnd(l.next, r.read))
		}
	}
	end = max(end, plausibleEnd(l.next, l.claimed))
	end = max(end, plausibleEnd(l.next, integer(t.row[table.at("next")])))
	l.report.lose(l.next, end)
	l.report.First, l.report.Next = l.first, end
	values := map[string]driver.Value{
		"id": int64(l.id), "name": l.report.Name, "first": l.first, "next": end, "dropped": int64(0), "total": l.total,
		"last_time": max(l.time, 0),
	}
	if l.report.Kept == 0 {
		delete(values, "last_time")
	}
	for name, v := range values {
		t.row[table.at(name)] = v
	}
	if _, err := s.put(ctx, table, t.row); err != nil {
		return fmt.Errorf("topic %d: %w", l.id, err)
	}
	s.report.Kept += l.report.Kept
	s.report.Lost += l.report.Lost
	s.report.Topics = append(s.report.Topics, l.report)
	t.at = len(s.report.Topics) - 1
	t.first, t.next = l.first, end
	return nil
}

// plausibleEnd is the end of a log that somebody claims, if it may be true.
func plausibleEnd(known, claimed int64) int64 {
	if claimed > known && claimed <= known+maxTail && claimed <= storage.MaxOffset+1 {
		return claimed
	}
	return known
}

// blankTopic is the row of a topic whose definition is lost.
func (s *salvager) blankTopic(id storage.TopicID) []driver.Value {
	var row []driver.Value
	for _, c := range s.tables["topics"].columns {
		switch {
		case c.rowid:
			row = append(row, int64(id))
		case c.kind == "TEXT":
			row = append(row, "")
		default:
			row = append(row, int64(0))
		}
	}
	return row
}

// usable reports whether a name may have been given.
func usable(name string) bool {
	return name != "" && len(name) <= 1000 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// groupPlace is what is read of a row of the table "groups".
type groupPlace struct {
	topic        storage.TopicID
	name         string
	cursor, read int64
	settled      string
}

func (s *salvager) groupOf(g *foundGroup) groupPlace {
	t := s.tables["groups"]
	return groupPlace{
		storage.TopicID(integer(g.row[t.at("topic_id")])), text(g.row[t.at("name")]),
		integer(g.row[t.at("cursor")]), integer(g.row[t.at("read")]), text(g.row[t.at("settled")]),
	}
}

// writeGroups writes the groups. One whose place makes no sense begins where it is certain
// to skip nothing.
func (s *salvager) writeGroups(ctx context.Context) error {
	table := s.tables["groups"]
	for i := range s.groups {
		g := s.groups[i]
		r := s.groupOf(&g)
		t := s.topics[r.topic]
		if t == nil || t.at < 0 || !usable(r.name) {
			s.note("a group of topic %d is lost", r.topic)
			continue
		}
		settled, err := storage.ParseRanges(r.settled)
		place := storage.Progress{Cursor: r.cursor, Read: r.read, Settled: settled}
		if err != nil || place.Check(t.next) != nil {
			cursor := r.cursor
			if cursor < 0 || cursor > t.next {
				cursor = t.first
			}
			s.note("group %s of topic %s continues at offset %d: its place is damaged", r.name, s.report.Topics[t.at].Name, cursor)
			place = storage.At(cursor)
		}
		g.row[table.at("cursor")], g.row[table.at("read")], g.row[table.at("settled")] = place.Cursor, place.Read, place.Settled.String()
		added, err := s.put(ctx, table, g.row)
		if err != nil {
			return err
		}
		if added {
			s.report.Groups++
			s.report.Topics[t.at].Groups++
		}
	}
	return nil
}

// writeIDs makes sure that no id is given a second time.
func (s *salvager) writeIDs(context.Context) error {
	for id := range s.refs {
		if id <= maxTopic && !s.tables["topics"].sound {
			s.sequences["topics"] = max(s.sequences["topics"], int64(id))
		}
	}
	for name, seq := range s.sequences {
		if s.tables[name] == nil || seq < 0 || name == "topics" && seq > maxTopic || seq > 1<<53 {
			continue
		}
		if err := s.c.run(fmt.Sprintf(`INSERT INTO sqlite_sequence (name, seq) SELECT '%s', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '%[1]s')`, name)); err != nil {
			return translate(err)
		}
		if err := s.c.run(fmt.Sprintf(`UPDATE sqlite_sequence SET seq = max(seq, %d) WHERE name = '%s'`, seq, name)); err != nil {
			return translate(err)
		}
	}
	return nil
}
