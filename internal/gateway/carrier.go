package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/wire"
)

// MessageType is the content type of calls and answers that are HTTP messages.
const MessageType = "message/http"

// HeaderMaxAnswer is the header of a call that says how many bytes the body of its
// answer may have.
const HeaderMaxAnswer = "max_answer"

// carrier is a transport that makes calls.
type carrier struct {
	caller  *caller.Caller
	maxBody int64
}

// RoundTrip is part of http.RoundTripper. The answer is complete when it returns.
func (c *carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	r := routeOf(req.Context())
	message, err := encode(req)
	if err != nil {
		return nil, err
	}
	if int64(len(message)) > c.maxBody {
		return nil, &http.MaxBytesError{Limit: c.maxBody}
	}
	answer, err := c.caller.Call(req.Context(), caller.Request{
		Topic: r.topic, Name: req.Method, ContentType: MessageType + "; msgtype=request", Body: message,
		Headers: []wire.Field{{Name: HeaderMaxAnswer, Value: strconv.FormatInt(c.maxBody, 10)}},
		Actor:   req.Header.Get("X-Forwarded-For"),
		Quota:   access.From(req.Context()).Quota(),
	})
	if err != nil {
		return nil, err
	}
	kind, _, _ := strings.Cut(answer.ContentType, ";")
	switch {
	case answer.Status != http.StatusOK:
		return nil, refuse(http.StatusBadGateway, fmt.Sprintf("the provider failed with status %d: %s", answer.Status, broker.Excerpt(string(answer.Body))))
	case !strings.EqualFold(strings.TrimSpace(kind), MessageType):
		return nil, refuse(http.StatusBadGateway, "the provider answered something that is not an HTTP message: it must be zbus proxy, or do as that does")
	}
	resp, err := decode(answer.Body, req)
	if err != nil || resp.StatusCode < 200 {
		return nil, refuse(http.StatusBadGateway, "the provider answered an HTTP message that is malformed")
	}
	return resp, nil
}

// decode makes a response of an HTTP message, which has to be complete: once the head
// of an answer is sent there is no other way to say that it is not.
func decode(message []byte, req *http.Request) (*http.Response, error) {
	source := bytes.NewReader(message)
	r := bufio.NewReader(source)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	switch {
	case req.Method == http.MethodHead:
	case resp.ContentLength < 0:
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
	case resp.ContentLength > int64(r.Buffered()+source.Len()):
		return nil, io.ErrUnexpectedEOF
	}
	return resp, nil
}

// encode is the request as an HTTP message with a content of known length.
func encode(req *http.Request) ([]byte, error) {
	body := []byte(nil)
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	out := *req
	out.TransferEncoding, out.ContentLength, out.Body, out.Trailer = nil, int64(len(body)), http.NoBody, nil
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	var b bytes.Buffer
	b.Grow(len(body) + 1024)
	if err := out.Write(&b); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b.Bytes(), nil
}

// via names this hop, as RFC 9110 wants it.
func via(major, minor int) string { return fmt.Sprintf("%d.%d zbus", major, minor) }

func bodyLimit(limit int64) string {
	return fmt.Sprintf("a request may have %d bytes, with its head", limit)
}
