package live

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/strictjson"
)

// maxRef is the most bytes of a ref.
const maxRef = 64

// head is what the frames of all ops have.
type head struct {
	Op  string `json:"op"`
	Ref string `json:"ref"`
}

// call is one frame of a client.
type call struct {
	head
	*frame
	view broker.View // the broker as the client sees it who does the op
}

// decode reads the members of the frame; those that the op does not have are refused.
func (c *call) decode(v any) error { return strictjson.Decode("the frame", c.data, v) }

// keep is called by an op that is answered from a callback: the frame stays accounted
// for until the answer is queued.
func (c *call) keep() (held int64) {
	held, c.held = c.held, 0
	return held
}

// ops are what a client can ask for, and what it takes: of the topic that the frame names.
// What concerns a subscription takes nothing more than it did to begin that. An error is
// answered as a problem.
var ops = map[string]struct {
	need access.Verb
	run  func(*socket, *call) error
}{
	"subscribe":   {access.Consume, (*socket).subscribe},
	"unsubscribe": {access.Nothing, (*socket).unsubscribe},
	"credit":      {access.Nothing, (*socket).credit},
	"ack":         {access.Nothing, (*socket).ack},
	"nack":        {access.Nothing, (*socket).nack},
	"extend":      {access.Nothing, (*socket).extend},
	"publish":     {access.Publish, (*socket).publish},
	"call":        {access.Call, (*socket).call},
	"serve":       {access.Serve, (*socket).serveCalls},
	"answer":      {access.Nothing, (*socket).answer},
	"watch":       {access.See, (*socket).watch}, // and what its channel takes
	"unwatch":     {access.Nothing, (*socket).unwatch},
	"ping":        {access.Nothing, (*socket).pong},
}

// handle does what a frame says.
func (s *socket) handle(f *frame) {
	defer f.release()
	c := &call{frame: f}
	if err := c.run(s); err != nil {
		s.problem(c.Ref, err)
	}
}

func (c *call) run(s *socket) error {
	if !c.text {
		return fail(broker.Invalid, "a binary frame: frames are text, one JSON object each")
	}
	var at struct {
		head
		place
	}
	if err := json.Unmarshal(c.data, &at); err != nil {
		return strictjson.Explain("the frame", err)
	}
	c.head = at.head
	if len(c.Ref) > maxRef {
		c.Ref = ""
		return fail(broker.Invalid, "the ref has more than %d bytes", maxRef)
	}
	op, ok := ops[c.Op]
	if !ok {
		return fail(broker.Invalid, "unknown op %q: use one of %q", broker.Excerpt(c.Op), slices.Sorted(maps.Keys(ops)))
	}
	c.view = s.hub.opts.Broker.As(s.who, op.need)
	if passed, err := s.elsewhere(c, op.need, &at.place); passed || err != nil {
		return err
	}
	return op.run(s, c)
}

// okFrame answers what has no other answer.
type okFrame struct {
	Type string `json:"type"`
	Ref  string `json:"ref,omitempty"`
}

// problemFrame answers an op that failed.
type problemFrame struct {
	Type    string                   `json:"type"`
	Ref     string                   `json:"ref,omitempty"`
	Code    apimodel.ProblemCode     `json:"code"`
	Detail  string                   `json:"detail"`
	Missing string                   `json:"missing,omitempty"` // the grant that would allow it
	Failed  []apimodel.HandleFailure `json:"failed,omitempty"`
	Status  int                      `json:"status,omitempty"` // the one that a service gave its error
	Error   *json.RawMessage         `json:"error,omitempty"`  // that error
}

// say queues an answer.
func (s *socket) say(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		s.hub.opts.Log.Error("answer can't be encoded", "remote", s.remote, "err", err)
		return
	}
	s.out.put(item{raw: raw, cost: int64(len(raw))})
}

func (s *socket) ok(ref string) { s.say(okFrame{"ok", ref}) }

// problem queues the answer to an op that failed.
func (s *socket) problem(ref string, err error) { s.say(s.problemOf(ref, err)) }

func (s *socket) problemOf(ref string, err error) problemFrame {
	if broker.CodeOf(err) == broker.Internal {
		s.hub.opts.Log.Error("request failed", "remote", s.remote, "err", err)
	}
	p := problem.Of(err)
	f := problemFrame{Type: "problem", Ref: ref, Code: p.Code, Detail: *p.Detail, Missing: value(p.Missing), Error: p.Error}
	if p.Code == "call_failed" {
		f.Status = p.Status
	}
	return f
}

func (s *socket) pong(c *call) error {
	if err := c.decode(&head{}); err != nil {
		return err
	}
	s.ok(c.Ref)
	return nil
}

// needed refuses a frame without a member.
func needed(name, value string) error {
	if value == "" {
		return fail(broker.Invalid, "the member %q is missing or empty", name)
	}
	return nil
}
