package wire

import "slices"

// Field is one header line. Name is in lower case.
type Field struct{ Name, Value string }

// inlineFields is how many fields a message holds without an allocation of
// their own. With 12 a Message fills the allocator's 512-byte class.
const inlineFields = 12

// Message is a request or a response.
//
// A message from a [Reader] owns one block of memory that its strings and its
// body are parts of. The block is never written again, so the strings are as
// constant as any other; but each of them keeps the whole block alive. Clone
// what outlives the message, such as the name of a topic.
//
// A Message is for one goroutine at a time and must not be copied by value:
// Fields may point into it.
type Message struct {
	// Method and URL belong to a request and are empty in a response. In a
	// malformed start line they are what stands in their place, perhaps nothing.
	Method, URL string

	Status int // of a response, 100 to 999; 0 means that this is a request
	Reason string

	Minor int // of HTTP/1.Minor: 0 for exactly HTTP/1.0, 1 for everything else

	// Malformed says that the start line was neither METHOD SP URL SP HTTP/1.x
	// nor HTTP/1.x SP STATUS SP REASON. Serve such a message only if it has a
	// cmd header, which makes the start line irrelevant.
	Malformed bool

	// Fields are the header lines in order of arrival: every occurrence, empty
	// values too, but not content-length and transfer-encoding, which only
	// frame the message.
	Fields []Field

	Body []byte // nil if empty; not to be written to

	inline [inlineFields]Field // backs Fields of a parsed message
}

// Get returns the value of the last field called name (in lower case), or "".
func (m *Message) Get(name string) string {
	value, _ := m.Lookup(name)
	return value
}

// Lookup returns the value of the last field called name (in lower case) and
// whether there is one: a header may be present and empty.
func (m *Message) Lookup(name string) (value string, ok bool) {
	for i := len(m.Fields) - 1; i >= 0; i-- {
		if m.Fields[i].Name == name {
			return m.Fields[i].Value, true
		}
	}
	return "", false
}

// Set makes value the only value of name (in lower case). The field keeps the
// place of its first occurrence; a new one goes to the end.
func (m *Message) Set(name, value string) {
	for i := range m.Fields {
		if m.Fields[i].Name != name {
			continue
		}
		m.Fields[i].Value = value
		rest := slices.DeleteFunc(m.Fields[i+1:], func(f Field) bool { return f.Name == name })
		m.Fields = m.Fields[:i+1+len(rest)]
		return
	}
	m.Fields = append(m.Fields, Field{Name: name, Value: value})
}

// Del removes every occurrence of the names (in lower case).
func (m *Message) Del(names ...string) {
	m.Fields = slices.DeleteFunc(m.Fields, func(f Field) bool { return slices.Contains(names, f.Name) })
}
