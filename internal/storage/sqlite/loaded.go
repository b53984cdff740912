package sqlite

import (
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// loaded is what the tables say, but for the messages, and what is wrong with it.
type loaded struct {
	state    storage.State
	topics   []storedTopic
	at       map[storage.TopicID]int // in topics
	fresh    fresh
	dropped  []storage.Range // of keys
	findings []Finding
	unsummed []unsummed
}

// unsummed is a statement that gives a row of an older version its checksums.
type unsummed struct {
	statement
	args []driver.Value
}

// storedTopic is a topic with what only the store has to know.
type storedTopic struct {
	storage.Topic
	total, dropped int64 // see rules.Marks
	lost, stored   int64 // see rules.Marks
	end            int64 // behind the last block or piece so far, 0 without one
	pieces         []piece
	fresh          int64 // see rules.Marks
	cut            bool  // see topic
}

func (t *storedTopic) marks() marks {
	return marks{First: t.First, Next: t.Next, LastTime: t.LastTime, Total: t.total, Dropped: t.dropped, Lost: t.lost}
}

// refuse says why a topic can't be served, unless there is a reason already.
func (t *storedTopic) refuse(format string, args ...any) {
	if t.Damage == "" {
		t.Damage = fmt.Sprintf(format, args...)
	}
}

// loadAll reads all tables but those of the messages, of which it looks at the last
// block of each topic.
func loadAll(c *conn) (*loaded, error) {
	l := &loaded{at: map[storage.TopicID]int{}}
	for _, read := range []func(*conn) error{l.readTopics, l.readFresh, l.readGroups, l.countRows, l.readParked, l.readClock, l.readDocuments, l.readDropped, l.readKept} {
		if err := read(c); err != nil {
			return l, err
		}
	}
	for i := range l.topics {
		t := &l.topics[i]
		t.Bytes = max(0, t.total-t.dropped)
		if t.Damage != "" {
			l.findings = append(l.findings, Finding{Kind: FoundTopic, Topic: t.Name, Text: t.Damage})
		}
		l.state.Topics = append(l.state.Topics, t.Topic)
	}
	return l, nil
}

func (l *loaded) topic(id storage.TopicID) *storedTopic {
	if i, ok := l.at[id]; ok {
		return &l.topics[i]
	}
	return nil
}

// readTopics reads how far the topics are.
func (l *loaded) readTopics(c *conn) error {
	for row, err := range c.rows(selectTopics) {
		if err != nil {
			return err
		}
		t := topicFrom(row)
		m := t.marks()
		def, place := topicDefinition(&t.Topic, integer(row[14]) != 0, row[19], row[20]), topicPlaceSum(t.ID, &m)
		damaged := def.damaged || row[16] != nil && integer(row[16]) != def.sum
		misplaced := row[18] != nil && integer(row[18]) != place || t.First < 0 || t.First > t.Next
		if !damaged && !misplaced && (def.old || row[16] == nil || row[18] == nil) {
			l.unsummed = append(l.unsummed, unsummed{sumTopic, []driver.Value{
				int64(t.ID), topicSum(&t.Topic), place, t.Kind.String(), truth(t.Replies),
			}})
		}
		if damaged {
			t.refuse("its definition is damaged")
		}
		if misplaced {
			t.refuse("what is stored of the extent of its log is damaged")
			t.First, t.Next, t.total, t.dropped, t.LastTime, t.lost = -1, 0, 0, 0, 0, 0
		}
		l.at[t.ID] = len(l.topics)
		l.topics = append(l.topics, t)
	}
	served, cut := 0, 0
	for i := range l.topics {
		t := &l.topics[i]
		err := t.follow(c)
		switch {
		case unreadable(err):
			cut++
			t.cutOff()
		case err != nil:
			return err
		case t.Kind.Stored():
			served++
		}
	}
	if cut == 0 || served > 0 {
		return nil
	}
	_, err := c.value("SELECT min(key) FROM blocks") // that of the tree's other end
	return err
}

// cutOff is what is known of a topic when the page with the last of its blocks makes no
// sense: how far it was when its row was written.
func (t *storedTopic) cutOff() {
	t.refuse("the page of the database where its log ends is damaged; see zbus recover")
	t.First = max(t.First, 0)
	t.Next = max(t.Next, t.First)
	t.end, t.cut = t.Next, true
}

// follow moves a topic that was read from its row on to its last block.
func (t *storedTopic) follow(c *conn) error {
	if t.First < 0 { // it is not known: whatever is there counts
		t.First = 0
		for row, err := range c.rows(selectFirstKey, keyOf(t.ID, 0), keyOf(t.ID+1, 0)) {
			if err != nil {
				return err
			}
			t.First = offsetOf(integer(row[0]))
		}
		t.Next = t.First
	}
	b, found, err := blockAt(c, t.ID, storage.MaxOffset)
	if err != nil || !found {
		return err
	}
	if t.end = offsetOf(b.key) + b.n; t.end == t.Next {
		return nil // so says the row, and its checksum is right
	}
	if b, _, err = blockFrom(c, selectWholeBlockAt, t.ID, storage.MaxOffset); err != nil {
		return err
	}
	before, found, err := blockAt(c, t.ID, offsetOf(b.key)-1)
	if err != nil {
		return err
	}
	if found && offsetOf(before.key)+before.n == offsetOf(b.key) {
		t.total = max(t.total, before.total)
	} else if offsetOf(b.key) > t.Next {
		t.total = max(t.total, b.total-b.sizes())
	}
	if known := t.Next; !t.goOn(&b) && t.Next > known {
		t.refuse("where its log ends can't be told: the last messages from %d on are damaged", offsetOf(b.key))
	}
	return nil
}

// sizes is Record.Size of all messages of a block.
func (b *block) sizes() (n int64) {
	var r storage.Record
	for e := b.entries(); ; {
		_, size, ok := e.next(&r)
		if !ok {
			return n
		}
		n += r.Size() + size
	}
}

// goOn moves a topic on to the end of a block or piece, and reports whether that can
// be told: the last of its messages has the right checksum, which covers the offset, or
// one has and there are as many as it says. What is below t.Next is known already.
func (t *storedTopic) goOn(b *block) bool {
	intact, last, found := false, false, int64(0)
	var r storage.Record
	e := b.entries()
	for e.record(t.ID, false, &r) {
		found++
		if last = !r.Damaged(); !last {
			continue
		}
		intact = true
		t.LastTime = max(t.LastTime, r.Time)
		if r.Offset >= t.Next {
			t.total += r.Size()
		}
	}
	if t.end = offsetOf(b.key) + found; !last {
		t.end = offsetOf(b.key) + max(found, b.n)
	}
	t.Next = max(t.Next, t.end)
	return last || intact && found == b.n
}

// readFresh reads the table "fresh", and gives the pieces that count to their topics.
func (l *loaded) readFresh(c *conn) error {
	f, now := &l.fresh, time.Now()
	for row, err := range c.rows(selectFresh) {
		if err != nil {
			return err
		}
		r := &freshRow{seq: integer(row[0]), pieces: blob(row[1]), bodies: blob(row[2]), since: now}
		err := r.split(func(id storage.TopicID, p piece, b *block) error {
			r.topics = append(r.topics, id)
			if t := l.topic(id); t != nil {
				t.addPiece(p, b)
			}
			return nil
		})
		if err != nil {
			return err
		}
		f.rows, f.last, f.bytes = append(f.rows, r), r.seq, f.bytes+r.bytes()
	}
	for i := range l.topics {
		t := &l.topics[i]
		if t.end < t.Next && t.First < t.Next && t.lost < t.Next {
			t.refuse("the end of its log is missing: messages %d to %d", max(t.end, t.First), t.Next-1)
		}
	}
	return nil
}

// addPiece adds a piece, if it counts. It begins where the log ends so far, unless
// what was below is gone: dropped, or lost, which reads will find.
func (t *storedTopic) addPiece(p piece, b *block) {
	if len(t.pieces) == 0 && (p.End() <= t.end || p.End() <= t.First) {
		return // merged, or trimmed away
	}
	known := t.Next
	if p.First < t.end {
		t.refuse("messages %d to %d are stored twice", p.First, p.End()-1)
		return
	}
	if !t.goOn(b) && p.End() > known {
		t.refuse("where its log ends can't be told: the last messages from %d on are damaged", p.First)
	}
	t.pieces = append(t.pieces, p)
	t.fresh += int64(len(b.meta) + len(b.body))
}

// readGroups reads the groups. One whose place is damaged gets all that is there
// again, should its topic be accepted.
func (l *loaded) readGroups(c *conn) error {
	for row, err := range c.rows(selectGroups) {
		if err != nil {
			return err
		}
		g := groupFrom(row)
		progress, bad := progressFrom(row[13:16])
		g.Progress = progress
		def, place := groupDefinition(&g, row[18:22]), groupPlaceSum(g.ID, g.Epoch, &progress, text(row[15]))
		damaged := def.damaged || row[16] != nil && integer(row[16]) != def.sum
		misplaced := bad != nil || row[17] != nil && integer(row[17]) != place
		if !damaged && !misplaced && (def.old || row[16] == nil || row[17] == nil) {
			l.unsummed = append(l.unsummed, unsummed{sumGroup, []driver.Value{
				int64(g.ID), groupSum(&g), place, g.Settle.String(), truth(g.Exclusive), truth(g.Paused), truth(g.Ephemeral),
			}})
		}
		t := l.topic(g.Topic)
		if t == nil {
			return fmt.Errorf("group %d %q: its topic %d is missing: %w", g.ID, g.Name, g.Topic, storage.ErrDamaged)
		}
		switch {
		case damaged:
			t.refuse("the definition of its group %s is damaged", g.Name)
		case misplaced:
			t.refuse("the place of its group %s is damaged", g.Name)
			g.Progress = storage.At(t.First)
		case !t.Kind.Stored():
		case g.Progress.Check(t.Next) != nil:
			t.refuse("its group %s has read up to %d, beyond the end of the log at %d", g.Name, g.Read, t.Next)
		}
		l.state.Groups = append(l.state.Groups, g)
	}
	return nil
}

// countRows refuses a database that has more topics or groups by their index than by their
// table, or fewer: a page that says that it has fewer rows than it has hides the others, and
// a topic or group would be gone without a word.
func (l *loaded) countRows(c *conn) error {
	for table, found := range map[string]int{"topics": len(l.topics), "groups": len(l.state.Groups)} {
		n, err := c.value("SELECT count(*) FROM " + table + " INDEXED BY sqlite_autoindex_" + table + "_1")
		if err != nil {
			return err
		}
		if integer(n) != int64(found) {
			return fmt.Errorf("table %s has %d rows, and its index %d: %w", table, found, integer(n), storage.ErrDamaged)
		}
	}
	return nil
}

// readParked reads the parked messages. A row that is damaged does not count: its
// message is not settled, so it is delivered again.
func (l *loaded) readParked(c *conn) error {
	for row, err := range c.rows(selectParked) {
		if err != nil {
			return err
		}
		p := storage.Parked{
			Group: storage.GroupID(integer(row[0])), Offset: integer(row[1]),
			Count: integer(row[2]), Due: integer(row[3]), Cause: text(row[4]),
		}
		sum := parkedSum(&p)
		if row[5] == nil {
			l.unsummed = append(l.unsummed, unsummed{sumParked, []driver.Value{int64(p.Group), p.Offset, sum}})
		} else if integer(row[5]) != sum {
			l.findings = append(l.findings, Finding{
				Kind: FoundGroup, Text: fmt.Sprintf("what is stored of a returned message, %d of group %d, is damaged: it will be delivered again", p.Offset, p.Group),
			})
			continue
		}
		l.state.Parked = append(l.state.Parked, p)
	}
	return nil
}

// readClock reads the clock, if it was ever saved. One that is damaged counts as never
// saved: then the wall clock and the newest message say what time it is.
func (l *loaded) readClock(c *conn) error {
	for row, err := range c.rows(selectClock) {
		if err != nil {
			return err
		}
		k := storage.Clock{
			Boot: text(row[0]), Since: integer(row[1]), Last: integer(row[2]),
			Ahead: integer(row[3]), Jump: integer(row[4]), Held: integer(row[5]),
		}
		if integer(row[6]) != clockSum(&k) {
			l.findings = append(l.findings, Finding{
				Kind: FoundStructure, Text: "what is stored of the broker's clock is damaged: it will start as the wall clock",
			})
			continue
		}
		l.state.Clock = k
	}
	return nil
}

// readDocuments reads the documents. One that is damaged is named and not read: what it
// said is better not guessed.
func (l *loaded) readDocuments(c *conn) error {
	for row, err := range c.rows(selectDocuments) {
		if err != nil {
			return err
		}
		d := storage.Document{Kind: text(row[0]), Name: text(row[1]), Value: text(row[2])}
		if integer(row[3]) != documentSum(&d) {
			l.findings = append(l.findings, Finding{
				Kind: FoundStructure, Text: fmt.Sprintf("the %s %q is damaged: it counts for nothing", d.Kind, d.Name),
			})
			d.Value, d.Damaged = "", true
		}
		l.state.Documents = append(l.state.Documents, d)
	}
	return nil
}

// readDropped reads what may be deleted. A span that reaches what counts is damaged,
// and nothing of it is deleted.
func (l *loaded) readDropped(c *conn) error {
	for row, err := range c.rows(selectDropped) {
		if err != nil {
			return err
		}
		d := storage.Range{Lo: integer(row[0]), Hi: integer(row[1])}
		t := l.topic(storage.TopicID(d.Lo >> offsetBits))
		if d.Lo < 0 || d.Hi <= d.Lo || d.Lo>>offsetBits != (d.Hi-1)>>offsetBits || t != nil && d.Hi > keyOf(t.ID, t.First) {
			l.findings = append(l.findings, Finding{
				Kind: FoundStructure, Text: fmt.Sprintf("what is to be deleted, keys %d to %d, is damaged: it is not deleted", d.Lo, d.Hi),
			})
			continue
		}
		l.dropped = append(l.dropped, d)
	}
	return nil
}
