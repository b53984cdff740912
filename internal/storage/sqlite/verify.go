package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxFindings is how many findings a report lists; more are only counted.
const maxFindings = 1000

// Report is what a check of a database found. It is sound if there are no findings.
type Report struct {
	Path     string        `json:"path"`
	Schema   int64         `json:"schema"` // version; 0 if it could not be read
	Messages int64         `json:"messages"`
	Bytes    int64         `json:"bytes"`   // of the intact messages
	Damaged  int64         `json:"damaged"` // messages whose checksum does not match, or that are missing
	Topics   []TopicReport `json:"topics"`
	Findings []Finding     `json:"findings"`
	More     int64         `json:"more"` // findings beyond those that are listed
}

// Sound reports whether nothing was found.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

// TopicReport is what a check found of one topic's messages.
type TopicReport struct {
	Name     string `json:"name"`
	First    int64  `json:"first"`    // oldest offset that counts
	Next     int64  `json:"next"`     // offset of the next message
	Messages int64  `json:"messages"` // intact ones
	Damaged  int64  `json:"damaged"`
	Groups   int    `json:"groups"`
}

// The kinds of findings.
const (
	FoundStructure = "structure" // SQLite can't read the file, or tables do not fit together
	FoundTopic     = "topic"     // a topic's definition or the extent of its log
	FoundGroup     = "group"     // a group's definition or place
	FoundDamaged   = "damaged"   // messages From to To: their checksums do not match
	FoundMissing   = "missing"   // messages From to To: they are not stored
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind  string `json:"kind"`
	Topic string `json:"topic,omitempty"`
	Group string `json:"group,omitempty"`
	From  int64  `json:"from,omitempty"` // offset, of messages
	To    int64  `json:"to,omitempty"`   // offset, excluded
	Text  string `json:"text"`           // a sentence without a dot
}

// String is the finding in one line.
func (f *Finding) String() string {
	s := f.Kind
	if f.Topic != "" {
		s += " topic " + f.Topic
	}
	if f.Group != "" {
		s += " group " + f.Group
	}
	if f.To > f.From {
		s += fmt.Sprintf(" messages %d to %d", f.From, f.To-1)
	}
	return s + ": " + f.Text
}

// VerifyOptions say how a database is checked. The zero value is fine.
type VerifyOptions struct {
	// Progress is called now and then with the messages checked so far and all
	// there are, if it is given.
	Progress func(done, all int64)
	// Messages limits the check to the messages and what belongs to them: the
	// structure of the file is only checked as far as it is read.
	Messages bool
}

// Verify checks a database that no process has open for writing: a backup, or what
// is in the directory of a broker that is stopped. It reads the log next to the
// file, too, compares both with their mark if there is one, and changes nothing.
//
// What is damaged is in the report. An error says that the file could not be
// checked: it can't be read, is not ours ([storage.ErrForeign]) or ctx ended.
func Verify(ctx context.Context, path string, o VerifyOptions) (Report, error) {
	k := &checker{report: Report{Path: path, Topics: []TopicReport{}, Findings: []Finding{}}, options: o}
	err := k.run(ctx)
	if errors.Is(err, storage.ErrDamaged) {
		k.found(Finding{Kind: FoundStructure, Text: err.Error()})
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("check %s: %w", path, err)
	}
	return k.report, err
}

// checker fills a report.
type checker struct {
	report  Report
	options VerifyOptions
	c       *conn
	all     int64 // messages
}

func (k *checker) found(f Finding) {
	r := &k.report
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	} else {
		r.More++
	}
}

func (k *checker) run(ctx context.Context) (err error) {
	o := Options{Path: k.report.Path}.withDefaults()
	if err := checkMagic(o.Path); err != nil {
		return err
	}
	m, useless, err := k.mark(o)
	if err != nil {
		return err
	}
	files, err := vfs.New(nil)
	if err != nil {
		return err
	}
	defer files.Close()
	defer func() {
		if files.FailedRead() && err == nil {
			err = fmt.Errorf("the disk failed to read: %w", storage.ErrUnavailable)
		}
	}()
	setup := readerSetup(o)
	setup.immutable, setup.vfs = useless || size(o.Path+"-wal") == 0, files.Name()
	if k.c, err = open(setup); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.c.close()) }()
	if err := checkOurs(k.c); err != nil {
		return err
	}
	if k.report.Schema, err = schemaOf(k.c); err != nil {
		return err
	}
	if m != nil {
		var loss *storage.Loss
		if err := checkSelf(k.c, o, m, !setup.immutable); errors.As(err, &loss) {
			k.found(Finding{Kind: FoundStructure, Text: loss.What})
		} else if err != nil {
			return err
		}
	}
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	if v := k.report.Schema; v != newest {
		return fmt.Errorf("schema %d is not the one of this program (%d): use the program that wrote it, or start it with this one once: %w", v, newest, storage.ErrForeign)
	}
	// Everything is as of one moment, should somebody write after all.
	if err := k.c.run("BEGIN"); err != nil {
		return translate(err)
	}
	defer func() { _ = k.c.run("ROLLBACK") }()
	if !k.options.Messages {
		if err := k.structure(ctx); err != nil {
			return err
		}
	}
	if err := k.content(ctx); err != nil || k.options.Messages {
		return err
	}
	return k.history()
}

// mark reads the mark, which a backup has none of, and compares the log with it. useless
// is a log that must not be read, as the database has more than is left of it.
func (k *checker) mark(o Options) (m *markState, useless bool, err error) {
	m, err = readMark(o.Path)
	if errors.Is(err, errMark) {
		k.found(Finding{Kind: FoundStructure, Text: o.Path + markSuffix + " can't be read"})
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	e, err := gatherEvidence(o, m)
	if err != nil {
		return nil, false, err
	}
	v := e.judge()
	if v.loss != nil {
		k.found(Finding{Kind: FoundStructure, Text: v.loss.What})
	}
	return m, v.aside, nil
}

// structure has SQLite check the file.
func (k *checker) structure(ctx context.Context) error {
	for row, err := range k.c.ask(fmt.Sprintf("PRAGMA integrity_check(%d)", maxFindings)) {
		if err != nil {
			return translate(err)
		}
		if s := text(row[0]); s != "ok" {
			k.found(Finding{Kind: FoundStructure, Text: s})
		}
	}
	return context.Cause(ctx)
}

// content checks what the tables say.
func (k *checker) content(ctx context.Context) error {
	l, err := loadAll(k.c)
	if err != nil {
		return translate(err)
	}
	topics := l.topics
	for _, f := range l.findings {
		k.found(f)
	}
	names := make(map[storage.TopicID]int, len(topics))
	for i := range topics {
		t := &topics[i]
		names[t.ID] = i
		k.all += t.Next - t.First
		k.report.Topics = append(k.report.Topics, TopicReport{Name: t.Name, First: t.First, Next: t.Next})
	}
	for _, g := range l.state.Groups {
		k.report.Topics[names[g.Topic]].Groups++
	}
	for i := range topics {
		err := k.messages(ctx, &topics[i], &k.report.Topics[i])
		if errors.Is(err, storage.ErrDamaged) {
			k.found(Finding{Kind: FoundStructure, Topic: topics[i].Name, Text: err.Error()})
		} else if err != nil {
			return err
		}
	}
	return nil
}

// What is read of a log at a time.
const (
	checkRows  = 1024
	checkBytes = 256 << 10
)

// messages reads a log from its beginning to its end.
func (k *checker) messages(ctx context.Context, t *storedTopic, into *TopicReport) error {
	l := &topicLog{k.c, t.ID, shown{first: t.First, next: t.Next, pieces: t.pieces}}
	var page []storage.Record
	for at := t.First; at < t.Next; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var err error
		page, err = l.read(at, storage.Page{Rows: checkRows, Bytes: checkBytes}, page[:0])
		if err != nil {
			return fmt.Errorf("topic %s: messages from %d: %w", t.Name, at, translate(err))
		}
		if len(page) == 0 {
			return fmt.Errorf("topic %s: nothing to read at %d: %w", t.Name, at, storage.ErrDamaged)
		}
		k.page(t.Name, page, into)
		at = page[len(page)-1].End()
		if k.options.Progress != nil {
			k.options.Progress(k.report.Messages+k.report.Damaged, k.all)
		}
	}
	return nil
}

// page adds what was read.
func (k *checker) page(topic string, page []storage.Record, into *TopicReport) {
	for i := 0; i < len(page); i++ {
		r := &page[i]
		if !r.Damaged() {
			into.Messages++
			k.report.Messages++
			k.report.Bytes += r.Size()
			continue
		}
		f := Finding{Kind: FoundDamaged, Topic: topic, From: r.Offset, To: r.End(), Text: "the checksum does not match"}
		if r.Missing > 0 {
			f.Kind, f.Text = FoundMissing, "not stored"
		}
		for ; f.Kind == FoundDamaged && i+1 < len(page) && page[i+1].Damaged() && page[i+1].Missing == 0; i++ {
			f.To = page[i+1].End()
		}
		into.Damaged += f.To - f.From
		k.report.Damaged += f.To - f.From
		k.found(f)
	}
}
