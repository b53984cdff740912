package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// once publishes so that no message is stored twice: over HTTP, where one whose id the
// topic knows is not stored again. So what was not answered can be sent again.
type once struct {
	c     *api
	topic string
	t     *tally
	run   string // begins the ids that are made up

	batch []apimodel.NewMessage
	at    []source
	size  int // of the bodies
}

// A batch is stored in one commit, or not at all.
const (
	batchMessages = 500
	batchBytes    = 1 << 20
)

// How long a batch is sent again, and the longest pause in between.
const (
	onceTime  = 30 * time.Second
	oncePause = time.Second
)

func newOnce(c *api, topic string, t *tally) *once {
	return &once{c: c, topic: topic, t: t, run: strings.ToLower(rand.Text()[:13])}
}

// publish takes a message, and sends what it has when that is enough.
func (o *once) publish(ctx context.Context, m zbus.Message, at source) error {
	o.t.begun++
	at.n = o.t.begun
	v := apimodel.NewMessage{Id: filled[string](m.ID), Tag: filled[string](m.Tag)}
	if v.Id == nil {
		v.Id = ptr(fmt.Sprintf("%s-%d", o.run, at.n))
	}
	if utf8.Valid(m.Body) {
		v.Body = ptr(string(m.Body))
	} else {
		v.BodyBase64 = &m.Body
	}
	headers := maps.Clone(m.Headers)
	if key, ok := headers["key"]; ok {
		v.Key = &key
		delete(headers, "key")
	}
	if len(headers) > 0 {
		v.Headers = &headers
	}
	o.batch, o.at, o.size = append(o.batch, v), append(o.at, at), o.size+len(m.Body)
	if len(o.batch) < batchMessages && o.size < batchBytes {
		return nil
	}
	return o.flush(ctx)
}

// flush sends what there is, again and again while there is no answer.
func (o *once) flush(ctx context.Context) error {
	if len(o.batch) == 0 {
		return nil
	}
	body, err := json.Marshal(o.batch)
	if err != nil {
		return err
	}
	var d decoded[apimodel.Published]
	ours := false // what is known by now may be so from us
	for start, pause := time.Now(), 50*time.Millisecond; ; pause = min(2*pause, oncePause) {
		d, err = do[apimodel.Published](ctx, o.c, "POST /topics/{topic}/messages", json.RawMessage(body), o.topic)
		again := errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, zbus.ErrUnknownOutcome)
		if !again || time.Since(start) > onceTime {
			break
		}
		ours = ours || errors.Is(err, zbus.ErrUnknownOutcome)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	for n, at := range o.at {
		if err == nil && !ours && d.value.Results[n].Duplicate != nil && *d.value.Results[n].Duplicate {
			o.t.known++
			continue
		}
		o.t.outcome(err, at)
	}
	o.batch, o.at, o.size = nil, nil, 0
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	return nil
}
