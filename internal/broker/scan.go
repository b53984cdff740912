package broker

import (
	"context"

	"github.com/rushmore/zbus-go/internal/storage"
)

// How a log is read for people: in pages, none of which keeps much in memory.
const (
	scanRows  = 1024
	scanBytes = 1 << 20
)

// Scan is a walk over a part of a topic's log that consumes nothing.
type Scan struct {
	From  int64 // the first offset to look at
	To    int64 // where to stop, excluded; below From when Back is set
	Back  bool  // from newer to older messages
	Brief bool  // without bodies, and without a look at their checksums
	Rows  int64 // look at no more messages than this; 0: no limit
	Bytes int64 // nor, about, at more bytes; 0: no limit
}

// Scan calls visit with one message after the other, and one damaged record for
// messages that are missing, until it returns false, the
// part is over or a limit is reached. It returns how many messages were looked at
// and where to continue: the offset of the next one to look at. A message that
// retention drops while it reads is passed over. visit must not keep the record when
// Brief is set and must not change it.
func (t *Topic) Scan(ctx context.Context, s Scan, visit func(*storage.Record) bool) (scanned, next int64, err error) {
	end := t.Next()
	at, size := min(s.From, end), int64(0)
	if s.Back {
		at = min(s.From, end-1)
	}
	for ctx.Err() == nil && (s.Rows == 0 || scanned < s.Rows) {
		var page []storage.Record
		if s.Back {
			page, err = t.pageUpTo(ctx, at, max(s.To+1, t.First()), s.Brief)
		} else if at = max(at, t.First()); at < min(s.To, end) {
			rows := scanRows
			if s.Rows > 0 {
				rows = int(min(s.Rows-scanned, scanRows))
			}
			page, err = t.load(ctx, at, storage.Page{Rows: rows, Bytes: scanBytes, Brief: s.Brief})
		}
		if err != nil || len(page) == 0 {
			return scanned, at, err
		}
		for i := range page {
			r := &page[i]
			if s.Back {
				r = &page[len(page)-1-i]
			} else if r.Offset >= s.To {
				return scanned, max(at, s.To), nil
			}
			if s.Rows > 0 && scanned >= s.Rows || s.Bytes > 0 && size >= s.Bytes {
				return scanned, r.Offset, nil
			}
			if !s.Back {
				upTo(page[i:i+1], s.To)
			}
			scanned += r.End() - r.Offset
			size += r.Size()
			at = r.End()
			if s.Back {
				at = r.Offset - 1
			}
			if !visit(r) {
				return scanned, at, nil
			}
		}
	}
	return scanned, at, ctx.Err()
}

// TimeAt is the time of the message at an offset, in Unix milliseconds, or 0 when
// there is none.
func (t *Topic) TimeAt(ctx context.Context, offset int64) (int64, error) {
	if offset < t.First() || offset >= t.Next() {
		return 0, nil
	}
	recs, err := t.load(ctx, offset, storage.Page{Rows: 1, Brief: true})
	if err != nil || len(recs) == 0 {
		return 0, err
	}
	return recs[0].Time, nil
}

// backRows is how many messages a page of a walk backwards has.
const backRows = 256

// pageUpTo reads messages that end with the one at an offset, none below low. The
// log can be read upwards only, so their sizes are looked at before their bodies.
func (t *Topic) pageUpTo(ctx context.Context, at, low int64, brief bool) ([]storage.Record, error) {
	page, err := t.span(ctx, max(low, at-backRows+1), at+1, true)
	if err != nil || brief {
		return page, err
	}
	size, start := int64(0), len(page)
	for start > 0 && size < scanBytes {
		start--
		size += page[start].Size()
	}
	if start == len(page) {
		return nil, nil
	}
	return t.span(ctx, page[start].Offset, at+1, false)
}

// span reads the messages of a short part of the log, wherever they are.
func (t *Topic) span(ctx context.Context, from, to int64, brief bool) (all []storage.Record, err error) {
	for from < to {
		page, err := t.load(ctx, from, storage.Page{Rows: int(to - from), Brief: brief})
		if err != nil || len(page) == 0 {
			return all, err
		}
		for i := range page {
			if page[i].Offset < to {
				all = append(all, page[i])
			}
		}
		upTo(all, to)
		from = page[len(page)-1].End()
	}
	return all, nil
}
