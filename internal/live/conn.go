package live

import (
	"bufio"
	"net"
	"net/http"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/problem"
	sockets "github.com/rushmore/zbus-go/internal/socket"
)

// takenConn keeps the connection that the WebSocket takes over, to cut it: the
// closing handshake may take longer than there is time. A refusal is kept back, to be
// answered as all of the API's are.
type takenConn struct {
	http.ResponseWriter
	conn    net.Conn
	refused int // the status of a refusal; 0: there was none
}

// Hijack is part of http.Hijacker.
func (t *takenConn) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.conn, rw = sockets.Frames(conn, rw, 0)
	return t.conn, rw, nil
}

// WriteHeader is part of http.ResponseWriter.
func (t *takenConn) WriteHeader(status int) {
	if status >= 400 {
		t.refused = status
		return
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write is part of http.ResponseWriter.
func (t *takenConn) Write(p []byte) (int, error) {
	if t.refused != 0 {
		return len(p), nil
	}
	return t.ResponseWriter.Write(p)
}

// refuse answers a request that was not taken for a WebSocket's, with what the error
// says. The header has what goes with the status.
func (t *takenConn) refuse(err error) {
	if t.refused == 0 {
		return // the connection is gone, and there is no client to answer
	}
	p := problem.Of(problem.ForeignOrigin())
	if t.refused != http.StatusForbidden {
		text := err.Error()
		if t.refused == http.StatusUpgradeRequired {
			text = "this is a WebSocket: send an Upgrade request; see " + apimodel.Base + "/asyncapi.yaml"
		}
		p.Title, p.Status, p.Code, p.Detail = http.StatusText(t.refused), t.refused, "invalid", &text
	}
	problem.Write(t.ResponseWriter, p)
}
