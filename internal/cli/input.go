package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/closest"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/zbus"
)

// source is where a message was read.
type source struct {
	file string // empty when there is but one
	line int    // from 1; 0 when there are no lines
	n    int64  // of all messages, in the order in which they were read
}

// String is what stands before an error.
func (s source) String() string {
	switch {
	case s.line == 0 && s.file == "":
		return ""
	case s.line == 0:
		return s.file + ": "
	case s.file == "":
		return fmt.Sprintf("line %d: ", s.line)
	}
	return fmt.Sprintf("%s line %d: ", s.file, s.line)
}

// maxLine is the most that a line may have: no server takes more.
const maxLine = 512 << 20

// readAll reads to the end, unless ctx ends before that: see readLines.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type content struct {
		text []byte
		err  error
	}
	come := make(chan content, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(in, maxLine+1))
		come <- content{text, err}
	}()
	select {
	case c := <-come:
		return c.text, c.err
	case <-ctx.Done():
		return nil, ErrInterrupted
	}
}

// readLines ranges over lines, without their ends; each is its own. It ends early with
// the context's error: reading from a terminal or a pipe continues in the background
// then, until the process ends.
func readLines(ctx context.Context, in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yieldLines(ctx, in, yield) }
}

func yieldLines(ctx context.Context, in io.Reader, yield func([]byte, error) bool) {
	type read struct {
		line []byte
		err  error
	}
	come := make(chan read, 64)
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(come)
		for buffered := bufio.NewReaderSize(in, 1<<16); ; {
			line, err := readLine(buffered)
			end := err != nil
			if errors.Is(err, io.EOF) {
				if err = nil; len(line) == 0 {
					return
				}
			}
			select {
			case come <- read{bytes.TrimSuffix(line, []byte("\n")), err}:
			case <-done:
				return
			}
			if end {
				return
			}
		}
	}()
	for {
		select {
		case r, ok := <-come:
			if !ok || !yield(r.line, r.err) || r.err != nil {
				return
			}
		case <-ctx.Done():
			yield(nil, ctx.Err())
			return
		}
	}
}

// readLine reads up to the end of a line, and refuses what is too long.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fail(zbus.ErrTooLarge, "is longer than any message may be")
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// line is a message as JSON: one to publish, or one that consume or message list has
// printed, of which the place and the like are left out.
type line struct {
	apimodel.NewMessage
	Offset        *apimodel.Count `json:"offset"`
	Time          json.RawMessage `json:"time"`
	Size          json.RawMessage `json:"size"`
	Fates         json.RawMessage `json:"fates"`
	DeliveryCount json.RawMessage `json:"deliveryCount"`
	Truncated     bool            `json:"truncated"`
	Damaged       bool            `json:"damaged"`
}

// readJSONLine reads the message of a line, unless that is empty.
func readJSONLine(line []byte, number int, m *zbus.Message) (empty bool, err error) {
	text, err := wire.JSONLine(line, number)
	if err != nil {
		return false, fail(ErrData, "%v", err)
	}
	if len(text) == 0 {
		return true, nil
	}
	return false, readMessage(text, m)
}

// readMessage reads a message that is JSON, over what all of them have.
func readMessage(text []byte, m *zbus.Message) error {
	if err := wire.CheckJSON(text); err != nil {
		return fail(ErrData, "not a message: the line %v; use bodyBase64 for one that is not text", err)
	}
	var v line
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return fail(ErrData, "not a message: %s; must be an object with %s or %s", misread(err),
			strings.Join(members[:len(members)-1], ", "), members[len(members)-1])
	}
	switch {
	case d.More():
		return fail(ErrData, "more than one JSON value on a line")
	case v.Body != nil && v.BodyBase64 != nil:
		return fail(ErrData, "has body and bodyBase64; one of them is the body")
	case v.Truncated || v.Damaged:
		return fail(ErrData, "is not a whole message: zbus consume prints whole ones")
	}
	for to, from := range map[*string]*string{&m.ID: v.Id, &m.Tag: v.Tag} {
		if from != nil {
			*to = *from
		}
	}
	m.Headers = v.headers(m.Headers)
	switch {
	case v.BodyBase64 != nil:
		m.Body = *v.BodyBase64
	case v.Body != nil:
		m.Body = []byte(*v.Body)
	}
	return nil
}

// members are those of a message that is to be published.
var members = []string{"id", "tag", "key", "headers", "body", "bodyBase64"}

// misread says what is wrong with a line in other words than those of encoding/json,
// which are about Go types and the end of a file.
func misread(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the line ends in the middle of its JSON"
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		what := "it"
		if field := strings.TrimPrefix(wrong.Field, "NewMessage."); field != "" {
			what = "the member " + field
		}
		return what + " can't be a JSON " + wrong.Value
	}
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return "unknown member " + quoted + closest.Hint(strings.Trim(quoted, `"`), "%q", members)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// headers are those of the line over common ones. Of a message that was stored before,
// those are left out that told about its delivery.
func (v *line) headers(common map[string]string) map[string]string {
	all := maps.Clone(common)
	if all == nil {
		all = make(map[string]string)
	}
	if v.Headers != nil {
		for name, value := range *v.Headers {
			if v.Offset == nil || !wire.Private(name) {
				all[name] = value
			}
		}
	}
	if v.Key != nil {
		all["key"] = *v.Key
	}
	return all
}
