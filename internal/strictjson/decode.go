package strictjson

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/closest"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Decode reads a JSON document that must hold one value, with no members that the
// contract does not have. An error says what is wrong and is for the client; what is
// the document's name in it, such as "the body".
func Decode(what string, raw []byte, v any) error {
	if err := exact(what, raw); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = problem.Invalid("%s has data after its JSON document", what)
	}
	if err == nil {
		return nil
	}
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name, _ := strconv.Unquote(quoted)
		return unknownMember("", name, membersOf(reflect.TypeOf(v), nil))
	}
	return Explain(what, located(raw, v, err))
}

// located puts the place into an error about bytes that are not base64, which
// encoding/json leaves out.
func located(raw []byte, v any, err error) error {
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) {
		return cmp.Or(badBytes(raw, reflect.TypeOf(v).Elem()), err)
	}
	return err
}

// unknownMember refuses a member of an object, with the one of its known members that
// was probably meant. where begins the text.
func unknownMember(where, name string, known []string) error {
	return problem.Invalid("%sunknown member %q%s", where, broker.Excerpt(name), closest.Hint(name, "%q", known))
}

// membersOf adds to all the names of the members of a document of type t, those of
// objects within it as well: encoding/json does not say which one it is in.
func membersOf(t reflect.Type, all []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
		return all
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			all = append(all, name)
		}
		all = membersOf(f.Type, all)
	}
	return all
}

// Explain says, in the words of a client, what is wrong with a JSON document that
// could not be decoded. what is the document's name.
func Explain(what string, err error) error {
	var e *broker.Error
	tooLong := (*http.MaxBytesError)(nil)
	wrong := (*json.UnmarshalTypeError)(nil)
	syntax := (*json.SyntaxError)(nil)
	switch {
	case errors.As(err, &e):
		return err
	case errors.As(err, &tooLong):
		return &broker.Error{Code: broker.TooLarge, Text: fmt.Sprintf("%s is larger than %d bytes", what, tooLong.Limit)}
	case errors.As(err, &wrong):
		where := what
		if wrong.Field != "" {
			where = "the member " + wrong.Field
		}
		return problem.Invalid("%s can't be a JSON %s%s", where, wrong.Value, wanted(wrong.Type))
	case errors.As(err, &syntax):
		return problem.Invalid("%s is not JSON: %s at byte %d", what, syntax.Error(), syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problem.Invalid("%s is not JSON: it ends in the middle", what)
	case errors.Is(err, io.EOF):
		return problem.Invalid("%s is empty: it must be a JSON document", what)
	}
	return problem.Invalid("%v", err)
}

// wanted is what a value of a type is in JSON, for the end of a complaint.
func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.Bool:
		return ": it must be true or false"
	case reflect.String:
		return ": it must be a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ": it must be a whole number"
	case reflect.Slice:
		return ": it must be an array"
	case reflect.Map, reflect.Struct:
		return ": it must be an object"
	}
	return ""
}

// Unmarshal is what all JSON of the HTTP API goes through. What is passed on as it is need
// not be text.
func Unmarshal(raw []byte, v any) error {
	if _, passed := v.(*json.RawMessage); !passed {
		if err := exact("the body", raw); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return located(raw, v, err)
	}
	return conforms(raw, reflect.TypeOf(v).Elem())
}

// exact refuses JSON that would be altered when it is decoded.
func exact(what string, raw []byte) error {
	if err := wire.CheckJSON(raw); err != nil {
		return problem.Invalid("%s %v; use bodyBase64 for a message that is not text", what, err)
	}
	return nil
}
