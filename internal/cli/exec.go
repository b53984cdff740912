package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/zbus"
)

// maxComplaint is how much of what a command writes to standard error is kept.
const maxComplaint = 4 << 10

// limited keeps what is written to it, up to a limit. It is for one goroutine.
type limited struct {
	kept  bytes.Buffer // not embedded: io.Copy would go past Write
	limit int64
	over  func() // called when more comes; nil: that is thrown away
}

// Write is part of io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	room := l.limit - int64(l.kept.Len())
	if int64(len(p)) <= room {
		return l.kept.Write(p)
	}
	_, _ = l.kept.Write(p[:room])
	if l.over == nil {
		return len(p), nil
	}
	l.over()
	return int(room), errTooMuch
}

var errTooMuch = errors.New("it printed too much")

// commandFailed is what became of a command: the caller is told answer, and we detail.
type commandFailed struct {
	detail string
	answer *zbus.CallError
}

func (e *commandFailed) Error() string { return e.detail }

// Unwrap has the service answer with what is for the caller.
func (e *commandFailed) Unwrap() error { return e.answer }

// run answers a call with what the command prints.
func (o *serving) run(ctx context.Context, params json.RawMessage) (any, error) {
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	if o.timeout.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout.Duration)
		defer cancel()
	}
	call, _ := zbus.CallOf(ctx)
	if len(params) == 0 {
		params = json.RawMessage("[]")
	}
	out := limited{limit: o.limit, over: func() { kill(errTooMuch) }}
	problems := limited{limit: maxComplaint}
	cmd := shell(ctx, o.command)
	cmd.Env = append(os.Environ(), "ZBUS_METHOD="+call.Method, "ZBUS_TOPIC="+call.Topic, "ZBUS_CALL_ID="+call.ID)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(params), &out, &problems
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	text := bytes.TrimSpace(out.kept.Bytes())
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTooMuch):
		return nil, failedCommand(fmt.Sprintf("killed: it printed more than %d bytes", o.limit), nil)
	case errors.Is(cause, context.DeadlineExceeded):
		answer := &zbus.CallError{Status: 504, Code: "timeout", Message: fmt.Sprintf("the command took longer than %s and was killed", o.timeout.Duration)}
		return nil, &commandFailed{fmt.Sprintf("killed after %s", o.timeout.Duration), answer}
	case err != nil:
		return nil, failedCommand(err.Error()+": "+cmp.Or(strings.TrimSpace(problems.kept.String()), "it wrote nothing to standard error"), text)
	case json.Valid(text):
		return json.RawMessage(text), nil
	}
	return strings.TrimSuffix(out.kept.String(), "\n"), nil
}

// failedCommand is the error of a command that failed. What it printed is for the caller if
// it is an error in JSON.
func failedCommand(detail string, printed []byte) error {
	var said struct {
		Error  string
		Status int
		Code   string
		Data   json.RawMessage
	}
	if json.Unmarshal(printed, &said) != nil || said.Error == "" {
		return &commandFailed{detail, &zbus.CallError{Status: 500, Message: "the command failed"}}
	}
	return &commandFailed{detail + ": " + said.Error, &zbus.CallError{Status: said.Status, Code: said.Code, Message: said.Error, Data: said.Data}}
}
