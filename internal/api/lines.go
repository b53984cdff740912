package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/strictjson"
	"github.com/rushmore/zbus-go/internal/wire"
)

// How many lines go into one commit, and about how many bytes of them: less where that is much of
// what a body may take. A line behind them has to fit as well.
const (
	linesCommit = 1000
	linesBytes  = 4 << 20
	linesPart   = 4
)

// mostOf is how many bytes a body may take at a time.
func mostOf(body io.Reader) int64 {
	if counted, ok := body.(interface{ Most() int64 }); ok {
		return counted.Most()
	}
	return linesPart * linesBytes
}

// LinesFactor is how much larger a body may be whose lines are handled while it is read.
const LinesFactor = 64

// lineFactor is how much more room than its body a message takes in JSON.
const lineFactor = 2

// maxLine is the longest line, in bytes: as long as a body that has no lines. There is
// always a limit, since a line is kept until its end comes.
func (h *handler) maxLine() int { return int(lineFactor * h.maxBody()) }

// maxBody is the most bytes of a message's body.
func (h *handler) maxBody() int64 { return cmp.Or(h.MaxBody, 16<<20) }

// publishLines stores newline-delimited messages as they are read.
func (h *handler) publishLines(ctx context.Context, t *broker.Topic, body io.Reader) (PublishResponseObject, error) {
	lines := &lineReader{in: bufio.NewReaderSize(body, 64<<10), longest: h.maxLine(), bytes: int(min(linesBytes, mostOf(body)/linesPart))}
	var last []broker.Stored
	stored, known := 0, true
	accounted, _ := body.(interface{ Handled() })
	for end := false; !end; {
		var err error
		end, err = lines.commit()
		if denied := h.view(ctx).Check(access.Publish, t, ""); denied != nil { // it may have changed since
			return nil, &problem.Detailed{Err: denied, Stored: apiconv.Optional(apiconv.Count(stored))}
		}
		if len(lines.messages) > 0 {
			some, storeErr := h.store(ctx, t, lines.messages, lines.where)
			if storeErr != nil {
				return nil, &problem.Detailed{Err: storeErr, Stored: apiconv.Optional(apiconv.Count(stored))}
			}
			stored += len(some)
			known = known && allKnown(some)
			last = some
		}
		if accounted != nil {
			accounted.Handled()
		}
		if err != nil {
			return nil, &problem.Detailed{Err: explain(err), Stored: apiconv.Optional(apiconv.Count(stored))}
		}
	}
	if stored == 0 {
		return nil, problem.Invalid("the body is empty: it must have one message a line")
	}
	return h.publishedAnswer(t, last, stored, known), nil
}

// lineReader reads the messages of one commit after the other.
type lineReader struct {
	in      *bufio.Reader
	longest int // bytes of a line
	bytes   int // about how many go into one commit
	read    int // lines read so far, those without a message included

	messages []NewMessage // of this commit
	numbers  []int        // of their lines, from 1
}

// where names a message of this commit in errors.
func (l *lineReader) where(i int) string { return fmt.Sprintf("line %d", l.numbers[i]) }

// commit reads the messages of one commit. end says that no more follow. An error is
// about what is behind those that were read.
func (l *lineReader) commit() (end bool, err error) {
	l.messages, l.numbers = nil, l.numbers[:0]
	for size := 0; len(l.messages) < linesCommit && size < l.bytes; {
		line, err := l.next()
		size += len(line)
		if err != nil && !errors.Is(err, io.EOF) {
			return true, err
		}
		line, bad := wire.JSONLine(line, l.read)
		if bad != nil {
			return true, problem.Invalid("line %d: %s", l.read, bad)
		}
		if len(line) > 0 {
			var m NewMessage
			if bad := strictjson.Unmarshal(line, &m); bad != nil {
				return true, problem.Invalid("line %d: %s", l.read, broker.TextOf(explain(bad)))
			}
			l.messages, l.numbers = append(l.messages, m), append(l.numbers, l.read)
		}
		if err != nil {
			return true, nil
		}
	}
	return false, nil
}

// next reads a line.
func (l *lineReader) next() (line []byte, err error) {
	for l.read++; ; {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(bytes.TrimSuffix(line, []byte("\n"))) > l.longest:
			return nil, &broker.Error{Code: broker.TooLarge, Text: fmt.Sprintf("line %d is larger than %d bytes", l.read, l.longest)}
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
