package apiconv

import (
	"bytes"
	"strings"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Matcher decides which messages of a log are shown.
type Matcher struct {
	Tag, Group  *filter.Filter // nil: any
	Text        string         // in body, id or tag; "": any
	Name, Value string         // of a header; "" for Name: any
	Valued      bool           // the header has to have Value
}

// NewMatcher creates one from what a client asks for. header is "name" or
// "name=value".
func NewMatcher(tag, text, header string) (*Matcher, error) {
	m := &Matcher{Text: text}
	if tag != "" {
		f, err := filter.Parse(tag)
		if err != nil {
			return nil, err
		}
		m.Tag = f
	}
	m.Name, m.Value, m.Valued = strings.Cut(header, "=")
	m.Name = strings.ToLower(strings.TrimSpace(m.Name))
	return m, nil
}

// Match reports whether a message is to be shown.
func (m *Matcher) Match(r *storage.Record) bool {
	switch {
	case m.Group != nil && !m.Group.Match(r.Tag), m.Tag != nil && !m.Tag.Match(r.Tag):
		return false
	case m.Text != "" && !strings.Contains(r.ID, m.Text) && !strings.Contains(r.Tag, m.Text) && !bytes.Contains(r.Body, []byte(m.Text)):
		return false
	}
	return m.Name == "" || m.header(r.Headers)
}

func (m *Matcher) header(headers string) (found bool) {
	_ = wire.RangeJSON(headers, func(name, value string) bool {
		found = name == m.Name && (!m.Valued || value == m.Value)
		return !found
	})
	return found
}
