package strictjson

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// conforms checks what encoding/json does not: that the members are those of the
// contract, in the same case and once, that those it requires are there, and that none is
// null, which would be taken for left out. Names of headers are the same in any case.
// It goes by the generated types, where a member that may be left out is a pointer.
// raw is JSON that was decoded into a value of type t without an error.
func conforms(raw []byte, t reflect.Type) error {
	w := walk{raw: raw}
	return w.value(t, "")
}

// shape is what the contract says of the members of an object.
type shape struct {
	members  map[string]memberShape
	names    []string // a member's bit is 1 << its index
	required uint64   // the bits of those that must be there
}

type memberShape struct {
	of  reflect.Type
	bit uint64
}

// shapes are made at first use and never change: they come from the types alone.
var shapes sync.Map // reflect.Type → *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{members: make(map[string]memberShape)}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		m := memberShape{f.Type, 1 << len(s.names)}
		if f.Type.Kind() != reflect.Pointer {
			s.required |= m.bit
		}
		s.names = append(s.names, name)
		s.members[name] = m
	}
	shapes.Store(t, s)
	return s
}

// walk goes through JSON that is known to be well-formed.
type walk struct {
	raw   []byte
	at    int
	trail []step // the arrays that it is in
	bytes bool   // only members of bytes are checked
}

// step is an element of an array.
type step struct {
	of string // the member that the array is of; "" for the body itself
	n  int    // from 1
}

// prefix names the elements of arrays that the walk is in, for a text that continues.
func (w *walk) prefix() (text string) {
	for _, s := range w.trail {
		if s.of == "" { // only messages may come without an object around them
			text += fmt.Sprintf("message %d: ", s.n)
		} else {
			text += fmt.Sprintf("number %d of %s: ", s.n, s.of)
		}
	}
	return text
}

// where names what the walk is at: a member, or with no name an element or the body.
func (w *walk) where(name string) string {
	switch {
	case name != "":
		return w.prefix() + "the member " + name
	case len(w.trail) > 0:
		return strings.TrimSuffix(w.prefix(), ": ")
	}
	return "the body"
}

// badBytes says which member of a document of type t is not base64; nil when there is
// none. raw is JSON that is well-formed.
func badBytes(raw []byte, t reflect.Type) error {
	w := walk{raw: raw, bytes: true}
	return w.value(t, "")
}

// base64 checks the text of a member of bytes, which has its quotes.
func (w *walk) base64(quoted []byte, name string) error {
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return err
	}
	var corrupt base64.CorruptInputError
	if _, err := base64.StdEncoding.DecodeString(text); errors.As(err, &corrupt) {
		return problem.Invalid("%s is not base64 at character %d", w.where(name), int64(corrupt)+1)
	}
	return nil
}

// next goes to the next byte that is not white space, and gives it.
func (w *walk) next() byte {
	for strings.IndexByte(" \t\r\n", w.raw[w.at]) >= 0 {
		w.at++
	}
	return w.raw[w.at]
}

// value walks over a value that is to be of a type; nil is any. name is the member
// that it is of, "" for the body itself.
func (w *walk) value(t reflect.Type, name string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	c := w.next()
	if c == 'n' && t != nil && !w.bytes {
		return problem.Invalid("%s can't be a JSON null", w.where(name))
	}
	if t != nil && reflect.PointerTo(t).Implements(unmarshaler) {
		t = nil // it is decoded by itself, and checked then
	}
	switch c {
	case '{':
		return w.object(t)
	case '[':
		return w.array(t, name)
	case '"':
		if text := w.text(); w.bytes && t == bytesType {
			return w.base64(text, name)
		}
	default:
		for w.at < len(w.raw) && strings.IndexByte(",]} \t\r\n", w.raw[w.at]) < 0 {
			w.at++
		}
	}
	return nil
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	bytesType   = reflect.TypeFor[[]byte]()
)

// text walks over a string and gives it with its quotes.
func (w *walk) text() []byte {
	start := w.at
	for w.at++; w.raw[w.at] != '"'; w.at++ {
		if w.raw[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.raw[start:w.at]
}

func (w *walk) array(t reflect.Type, name string) error {
	if t != nil {
		t = t.Elem()
	}
	w.trail = append(w.trail, step{of: name})
	for w.at++; w.next() != ']'; {
		w.trail[len(w.trail)-1].n++
		if err := w.value(t, ""); err != nil {
			return err
		}
		if w.next() == ',' {
			w.at++
		}
	}
	w.trail = w.trail[:len(w.trail)-1]
	w.at++
	return nil
}

func (w *walk) object(t reflect.Type) error {
	s := &shape{} // of an object that may have any members
	if t != nil && t.Kind() == reflect.Struct {
		s = shapeOf(t)
	}
	var there uint64              // members so far
	var named map[string]struct{} // of an object whose members have any names, in lower case
	for w.at++; w.next() != '}'; {
		var name string
		if err := json.Unmarshal(w.text(), &name); err != nil {
			return err
		}
		w.next()
		w.at++ // the colon
		m, known := s.members[name]
		switch {
		case !known && s.members != nil && !w.bytes:
			return unknownMember(w.prefix(), name, slices.Sorted(maps.Keys(s.members)))
		case there&m.bit != 0 && !w.bytes:
			return problem.Invalid("%s is there twice", w.where(name))
		case t != nil && t.Kind() == reflect.Map:
			m.of = t.Elem()
			key := strings.ToLower(name) // as of headers
			if _, twice := named[key]; twice && !w.bytes {
				return problem.Invalid("%sthe header %q is there twice, upper and lower case being the same: join its values", w.prefix(), broker.Excerpt(name))
			}
			if named == nil {
				named = make(map[string]struct{})
			}
			named[key] = struct{}{}
		}
		there |= m.bit
		if err := w.value(m.of, name); err != nil {
			return err
		}
		if w.next() == ',' {
			w.at++
		}
	}
	w.at++
	if missing := s.required &^ there; missing != 0 && !w.bytes {
		return problem.Invalid("%s is missing", w.where(s.names[bits.TrailingZeros64(missing)]))
	}
	return nil
}
