package server

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
)

var errNoMemory error = &broker.Error{Code: broker.Unavailable, Text: "receive buffers are at their limit: try again later"}

// errNeverFits is for what a connection would not get if no other client sent anything.
var errNeverFits error = &broker.Error{Code: broker.TooLarge, Text: "more at once than --max-memory leaves for what one connection sends"}

// What a connection receives is accounted for in one of two pots, so that large bodies take
// nothing from what heads and small messages need. The first freeBytes of each connection,
// enough for a ping or a request without a body, always have room: the number of
// connections bounds them.
const (
	freeBytes  = 4 << 10
	smallBytes = 64 << 10 // more is in the pot for large ones
	// The pots. A small one that does not fit into its own may be among the large ones.
	none, small, large, potCount = 0, 1, 2, 3
	// addressShare is how many times as much as it leaves to others an address may have. A
	// connection may have as much.
	addressShare = 3
)

// pot is memory for what is being received.
type pot struct{ limit, used int64 }

// reserve accounts for receive buffers. It is a wire.Reader's Reserve. Clients with much are
// refused first: a connection may have as much as it leaves free, so there is
// always room for one more.
func (acc *account) reserve(delta int) error {
	a := acc.table
	a.mu.Lock()
	defer a.mu.Unlock()
	was, pot, held := acc.held, acc.pot, acc.held+int64(delta)
	acc.take(pot, -was)
	switch {
	case held <= freeBytes:
		pot = none
	case held <= smallBytes && acc.fits(small, held):
		pot = small
	case delta <= 0 || acc.fits(large, held):
		pot = large
	case held > a.pots[large].limit/2:
		acc.take(pot, was)
		return errNeverFits
	default:
		acc.take(pot, was)
		return errNoMemory
	}
	acc.take(pot, held)
	return nil
}

// demand is reserve for what can't do with less.
func (acc *account) demand(delta int) error {
	err := acc.reserve(delta)
	if err != nil {
		acc.table.refuse(refusedMemory)
	}
	return err
}

// take accounts for bytes more or less in a pot. Called with table.mu held.
func (acc *account) take(pot int, n int64) {
	acc.held, acc.pot = acc.held+n, pot
	acc.table.pots[pot].used += n
	acc.of.held[pot] += n
}

// fits reports whether an account that has nothing may have so much of a pot. Called with
// table.mu held.
func (acc *account) fits(p int, held int64) bool {
	left := acc.table.pots[p].limit - acc.table.pots[p].used - held
	return held <= left && (acc.of.exempt || acc.of.held[p]+held <= addressShare*left)
}

// Reserve accounts for what a handler receives by a connection that it has taken over: the
// function is called with what there is more or less of it, and may refuse more.
func (Accounts) Reserve(ctx context.Context) func(delta int) error {
	if acc := accountOf(ctx); acc != nil {
		return acc.demand
	}
	return func(int) error { return nil }
}

// mostReceived is the most that a connection gets for what it sends, if no other client sends.
func (s *Server) mostReceived() int64 { return s.opts.RequestBytes / 2 }

// linesFactor is how much larger a body may be whose lines are handled while it is
// read.
const linesFactor = 64

// strangersBody is the largest body of an unauthenticated request: that of a login, with room to spare.
const strangersBody = 64 << 10

// stranger reports whether a request is unauthenticated while access is on.
func (s *Server) stranger(req *http.Request) bool {
	return s.access.On() && access.From(req.Context()).Anonymous()
}

// bodyLimit is the largest body of a request. In JSON a message takes more room
// than by itself.
func (s *Server) bodyLimit(req *http.Request) int64 {
	limit := min(2*s.limits().Body, s.mostReceived())
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err == nil && kind == "application/x-ndjson" {
		limit *= linesFactor
	}
	return limit
}

// tooLarge answers a request whose body is not read, and ends its connection.
func tooLarge(w http.ResponseWriter, limit int64) {
	refuseProblem(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", limit))
}

// countedReader reads whole bodies and accounts for them until release.
type countedReader struct {
	reserve func(delta int) error
	src     io.Reader
	held    int
}

// Read reads from the present source.
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if n > 0 {
		if e := c.reserve(n); e != nil {
			return 0, e
		}
		c.held += n
	}
	return n, err
}

func (c *countedReader) readAll(src io.Reader) ([]byte, error) {
	c.src = src
	return io.ReadAll(c)
}

// countedBody is the body of a request that a handler reads as it likes.
type countedBody struct {
	countedReader
	io.Closer
	most int64 // that it may take
}

// Hold accounts for what was made of the body besides what was read of it. An error says that
// there is no room.
func (c *countedBody) Hold(n int) error {
	if int64(c.held+n) > c.most {
		return &broker.Error{Code: broker.TooLarge, Text: "what is in the body takes more memory than there is for a request: send less at a time"}
	}
	if err := c.reserve(n); err != nil {
		return err
	}
	c.held += n
	return nil
}

// Account accounts for more that is held because of the body, such as what it holds unzipped.
func (c *countedBody) Account(n int) error {
	if err := c.reserve(n); err != nil {
		return err
	}
	c.held += n
	return nil
}

// Most is how many bytes the body may take at a time, if no other client sends anything.
func (c *countedBody) Most() int64 { return c.most }

// Handled says that what was read so far is kept no longer, or accounted for by
// somebody else.
func (c *countedBody) Handled() { c.release() }

// release gives back what was accounted for: another owner has the bytes now.
func (c *countedReader) release() {
	_ = c.reserve(-c.held)
	c.held = 0
}
