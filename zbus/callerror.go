package zbus

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
)

// CallError is an error that a service answers a call with. A [Method] and a
// [RequestHandler] may return one, also wrapped; the caller gets it from [Client.Call] and
// [Client.Request]. The call was run, as far as the service knows.
//
// For errors.Is it is the error of this package that Status stands for, such as
// ErrNotFound for 404, and every CallError whose Code and Status are the same, where those
// are set: a service and its callers can share
//
//	var ErrSoldOut = &zbus.CallError{Status: 409, Code: "sold_out"}
type CallError struct {
	// Status says what kind of error it is, as in HTTP: 400 to 599. Others are 500.
	Status int
	// Code tells programs which error it is. It may be empty.
	Code string
	// Message is for people. An error of a method that is no CallError becomes the
	// message of one with the status 500.
	Message string
	// Data is more about it, in JSON. It may be nil. Where a service in another language
	// gives an object for an error, it is that object.
	Data json.RawMessage

	target string // whose call it answered; "" until it was sent
}

// Error returns the call, the status and the message.
func (e *CallError) Error() string {
	text := strconv.Itoa(e.status()) + " " + cmp.Or(e.Message, e.Code, "the service failed")
	if e.target != "" {
		return "zbus: call " + e.target + ": " + text
	}
	return text
}

// Is reports whether target is a CallError with the same Code and Status, as far as it has
// them.
func (e *CallError) Is(target error) bool {
	t, ok := target.(*CallError)
	return ok && (t.Code != "" || t.Status != 0) && (t.Code == "" || t.Code == e.Code) && (t.Status == 0 || t.Status == e.status())
}

// Unwrap returns the error of this package that the status stands for.
func (e *CallError) Unwrap() error {
	if e.Status == 502 { // the service's word, of a call that was run
		return ErrInternal
	}
	return kindOf(e.status())
}

func (e *CallError) status() int {
	if e.Status < 400 || e.Status > 599 {
		return 500
	}
	return e.Status
}

// answerJSON is the answer to a call. Clients in all languages know the first two members,
// and take an error for one whatever the others are.
type answerJSON struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
	Status int             `json:"status,omitempty"`
	Code   string          `json:"code,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// encodeCallError makes of what a method or handler has returned what is sent.
func encodeCallError(err error) (status int, body []byte) {
	out := CallError{Status: 500, Message: err.Error()}
	var e *Error
	if c := (*CallError)(nil); errors.As(err, &c) {
		out = *c
	} else if errors.As(err, &e) && e.Status >= 400 && e.Status <= 599 {
		out.Status, out.Message = e.Status, cmp.Or(e.Text, kindOf(e.Status).Error())
	}
	if out.Data != nil && !json.Valid(out.Data) {
		out.Data = nil
	}
	text, _ := json.Marshal(cmp.Or(out.Message, out.Code, "the service failed")) // a text always becomes JSON
	body, _ = json.Marshal(answerJSON{Error: text, Status: out.status(), Code: out.Code, Data: out.Data})
	return out.status(), body
}

// decodeCallError reads the error in an answer. Its status is that of the answer, or what
// the answer says, or 500.
func decodeCallError(target string, status int, a *answerJSON) *CallError {
	e := &CallError{target: target, Code: a.Code, Data: a.Data}
	if e.Status = a.Status; status >= 400 {
		e.Status = status
	}
	e.Status = e.status()
	if json.Unmarshal(a.Error, &e.Message) == nil {
		return e
	}
	e.Message = string(a.Error)
	var object struct{ Message string }
	if e.Data == nil {
		e.Data = a.Error
	}
	if json.Unmarshal(a.Error, &object) == nil && object.Message != "" {
		e.Message = object.Message
	}
	return e
}

// failedAnswer is the error of a provider whose answer has an error's status.
func failedAnswer(target string, status int, body []byte) *CallError {
	var a answerJSON
	_ = json.Unmarshal(body, &a) // as far as it is one
	if isFalsy(a.Error) {
		return &CallError{Status: status, Message: string(body), target: target}
	}
	return decodeCallError(target, status, &a)
}
