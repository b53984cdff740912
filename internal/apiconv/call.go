package apiconv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// ParseTimeout reads how long a call may take; nil is the default.
func ParseTimeout(ms *int64) (time.Duration, error) {
	if ms == nil {
		return 0, nil
	}
	if *ms < 1 || *ms > 24*3600*1000 {
		return 0, problem.Invalid("timeout %d: must be milliseconds from 1 to a day", *ms)
	}
	return time.Duration(*ms) * time.Millisecond, nil
}

// Milliseconds are those of a duration, with three decimals.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// CallBody is the body of a call of a method. The parameters are an array, or an object,
// which is then the only one; nothing is no parameters.
func CallBody(method, module string, params json.RawMessage) ([]byte, error) {
	request := struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
		Module string          `json:"module,omitempty"`
	}{method, json.RawMessage("[]"), module}
	if raw := bytes.TrimSpace(params); len(raw) > 0 {
		switch raw[0] {
		case '[':
			request.Params = raw
		case '{':
			request.Params = slicesConcat("[", raw, "]")
		default:
			return nil, problem.Invalid("a call takes an array of parameters, or an object that is the only one")
		}
	}
	return json.Marshal(request)
}

func slicesConcat(before string, raw []byte, after string) []byte {
	return append(append([]byte(before), raw...), after...)
}

// MethodName is how a method is called in the figures.
func MethodName(module, method string) string {
	if module == "" {
		return method
	}
	return module + "." + method
}

// CallResult takes the result out of an answer: the member that clients of the
// native protocol put it into, or all of it.
func CallResult(a rpc.Answer) (json.RawMessage, error) {
	body := bytes.TrimSpace(a.Body)
	valid := json.Valid(body) && utf8.Valid(body)
	members := map[string]json.RawMessage{}
	isObject := valid && json.Unmarshal(body, &members) == nil
	fault, hasError := members["error"]
	hasError = hasError && !falsy(fault)
	switch {
	case hasError:
		return nil, &problem.Error{Code: "call_failed", Status: statusOfFault(a), Text: faultText(fault), Raw: faultJSON(fault, members)}
	case a.Failed != 0:
		e := &problem.Error{Code: "call_failed", Status: a.Failed, Text: fmt.Sprintf("the service answered with status %d: %s", a.Failed, broker.Excerpt(string(body)))}
		if valid {
			e.Raw = (*json.RawMessage)(&body)
		}
		return nil, e
	case len(body) == 0:
		return json.RawMessage("null"), nil
	case !valid:
		return nil, &problem.Error{Code: "bad_answer", Status: http.StatusBadGateway, Text: "the service answered something that is not JSON: " + broker.Excerpt(string(body)) + "; a call without the method in its path brings it as it is"}
	}
	if result, ok := members["result"]; isObject && ok {
		return result, nil
	}
	if _, ok := members["error"]; isObject && ok {
		return json.RawMessage("null"), nil
	}
	return body, nil
}

// statusOfFault is the status of an error that a service has answered.
func statusOfFault(a rpc.Answer) int {
	if a.Failed != 0 {
		return a.Failed
	}
	return http.StatusInternalServerError
}

// faultJSON is an error as it was answered. Where it has a code or data, which stand beside
// it, it is an object with these.
func faultJSON(fault json.RawMessage, members map[string]json.RawMessage) *json.RawMessage {
	if members["code"] == nil && members["data"] == nil {
		return &fault
	}
	object, err := json.Marshal(struct {
		Message json.RawMessage `json:"message"`
		Code    json.RawMessage `json:"code,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{fault, members["code"], members["data"]})
	if err != nil { // all three were read before
		return &fault
	}
	return (*json.RawMessage)(&object)
}

// falsy reports whether a value means that there is no error, as clients see it.
func falsy(raw json.RawMessage) bool {
	switch string(raw) {
	case "null", "false", "0", `""`:
		return true
	}
	return false
}

// faultText is what an error says, for people.
func faultText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct{ Message string }
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return object.Message
	}
	return "the service answered with the error " + broker.Excerpt(string(raw))
}
