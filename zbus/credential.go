package zbus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Pauses between attempts to connect with a credential that the server refuses. They are
// longer than others, since each failure delays those who log in from the same address.
const (
	leastRefusedPause   = time.Second
	longestRefusedPause = time.Minute
)

// token is the token for the next connection, "" for none, and when it expires; zero: that
// is not known.
func (c *Client) token(ctx context.Context) (token string, expires time.Time, err error) {
	token = c.opts.Token
	if c.opts.TokenSource != nil {
		if token, expires, err = c.opts.TokenSource(ctx); err != nil {
			return "", expires, fmt.Errorf("TokenSource: %w", err)
		}
	}
	return token, expires, checkToken(token)
}

// checkToken refuses what can't be the value of a header.
func checkToken(token string) error {
	if !wire.ValidValue(token) {
		return errors.New("the token has a control character, such as a line end")
	}
	return nil
}

// introduce says who the client is before anything else is sent on a connection, and
// waits for the answer: it fails if the server refuses the token. Any answer but a
// refusal will do, as servers of other generations may not know the command.
func (c *Client) introduce(ctx context.Context, t transport, token string) error {
	if token == "" {
		return nil
	}
	release := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer release()
	w := frameWriter{token: token}
	w.start(wire.CmdPing)
	w.id(c.prefix, classRequest, 0)
	w.body(nil)
	err := t.write(w.dst, []frame{{end: len(w.dst)}}, c.opts.HeartbeatTimeout)
	if err != nil {
		return causeOf(ctx, err)
	}
	r := wire.NewReader(t, c.opts.limits())
	defer r.Release()
	m, err := r.Read()
	if err != nil {
		return causeOf(ctx, err)
	}
	return refusal(m.Status, string(m.Body))
}

// causeOf is why the context has ended, if it has, or else err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// refusal is the error of an answer to who introduces itself; nil: it is welcome.
func refusal(status int, text string) error {
	switch status {
	case http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return answered("connect", "", status, text)
	}
	return nil
}

// handshakeRefusal is the error of the handshake of a WebSocket, if that was refused; else nil.
func handshakeRefusal(resp *http.Response) error {
	if resp == nil || resp.Body == nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // what there is of it
	var problem struct{ Detail string }
	if json.Unmarshal(text, &problem) == nil && problem.Detail != "" {
		text = []byte(problem.Detail)
	}
	return refusal(resp.StatusCode, string(bytes.TrimSpace(text)))
}

// notAccepted reports whether a connection failed because of the credential.
func notAccepted(err error) bool { return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrQuota) }

// unreachable is the outcome of what needs a connection that could not be made.
func unreachable(text string, cause error) *failure {
	if e := (*Error)(nil); notAccepted(cause) && errors.As(cause, &e) {
		return &failure{text: "the server refuses the credential: " + e.Text, kinds: e.kinds}
	}
	return &failure{text: text, kinds: []error{ErrUnavailable}, cause: cause}
}

// leastRenewal is the shortest time between two requests for a token.
const leastRenewal = time.Second

// renew gives the server the next token when three quarters of the time have passed that
// the present one has left, until the link ends.
func (l *link) renew(expires time.Time) {
	for !expires.IsZero() {
		timer := time.NewTimer(max(time.Until(expires)*3/4, leastRenewal))
		select {
		case <-timer.C:
		case <-l.life.Done():
			timer.Stop()
			return
		}
		token, next, err := l.c.token(l.life)
		if err != nil {
			l.c.log.Warn("zbus token not renewed", "expires", expires, "err", err)
			continue
		}
		expires = next
		l.present(token)
	}
}

// present gives the server another token.
func (l *link) present(token string) {
	c := l.c
	c.mu.Lock()
	c.number++
	c.post(wire.CmdPing, l.epoch, func(w *frameWriter) {
		w.field(wire.HeaderToken, token)
		w.id(c.prefix, classRequest, c.number)
		w.body(nil)
	})
	c.mu.Unlock()
	c.nudge()
}
