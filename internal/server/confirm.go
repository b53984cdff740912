package server

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"html"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/wire"
)

// How long a page that asks can be answered, and how many may be open.
const (
	confirmTime = 5 * time.Minute
	confirmMost = 1000
)

// confirmField is what the button of such a page sends; a token follows.
const confirmField = "zbus-once="

const tokenLength = 26 // of rand.Text

// confirmations are the pages that have asked and were not answered yet. The time is a
// monotonic one.
type confirmations struct {
	mu   sync.Mutex
	open []confirmation // guarded by mu; the oldest first
}

type confirmation struct {
	token string
	url   [sha256.Size]byte // which may be long
	made  time.Time
}

// add makes a token for a URL. The oldest goes where there are too many.
func (c *confirmations) add(url string, now time.Time) (token string) {
	token = rand.Text()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	if len(c.open) >= confirmMost {
		c.open = append(c.open[:0], c.open[1:]...)
	}
	c.open = append(c.open, confirmation{token, sha256.Sum256([]byte(url)), now})
	return token
}

// take reports whether a token is good for a URL, which it is once.
func (c *confirmations) take(token, url string, now time.Time) bool {
	sum := sha256.Sum256([]byte(url))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	for i, o := range c.open {
		if o.token == token {
			c.open = append(c.open[:i], c.open[i+1:]...)
			return o.url == sum
		}
	}
	return false
}

func (c *confirmations) expire(now time.Time) {
	n := 0
	for n < len(c.open) && now.Sub(c.open[n].made) > confirmTime {
		n++
	}
	c.open = append(c.open[:0], c.open[n:]...)
}

// confirmedURL is what a token is bound to.
func confirmedURL(req *http.Request) string { return req.Host + " " + req.RequestURI }

// unsaid serves a browser that does not say whether a page made it send the request: over
// plain HTTP, beyond loopback, all of them. What only reads is answered, since pages of other
// sites can't read it. What was perhaps typed is asked about.
func (s *Server) unsaid(w http.ResponseWriter, req *http.Request) {
	cmd, m := s.commandOf(req)
	switch v, known := s.verbs[cmd]; {
	case !known || v.reads:
		s.command(w, req)
	case req.Method != http.MethodGet || !strings.Contains(req.Header.Get("Accept"), "text/html"):
		refuse(w, "A page may have asked for this, and this browser does not say which: over plain HTTP, open the URL by itself")
	default:
		s.ask(w, req, http.StatusOK, cmd, m)
	}
}

// commandOf finds the command of a URL, and what it is given.
func (s *Server) commandOf(req *http.Request) (string, *wire.Message) {
	m := &wire.Message{Method: req.Method, URL: req.RequestURI, Minor: 1}
	return (&session{srv: s, identity: identity{who: access.From(req.Context())}}).fromURL(m), m
}

// confirmed runs a command, which the button of a page that asked may have sent.
func (s *Server) confirmed(w http.ResponseWriter, req *http.Request) {
	token, ok, err := confirmationOf(req)
	switch {
	case err != nil:
		http.Error(w, "the body ends early", http.StatusBadRequest)
		return
	case !ok:
		s.command(w, req)
		return
	case !s.asked.take(token, confirmedURL(req), time.Now()):
		cmd, m := s.commandOf(req)
		s.ask(w, req, http.StatusForbidden, cmd, m)
		return
	}
	req.Method, req.Body, req.ContentLength = http.MethodGet, http.NoBody, 0
	for _, name := range []string{"Content-Type", "Content-Length", "Transfer-Encoding"} {
		req.Header.Del(name)
	}
	s.command(w, req)
}

// confirmationOf reads the token of a form of ours. The body of any other request is left
// to be read.
func confirmationOf(req *http.Request) (token string, ok bool, err error) {
	const size = len(confirmField) + tokenLength
	if req.Method != http.MethodPost || req.ContentLength != int64(size) || req.Header.Get("Origin") == "" ||
		!strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return "", false, nil
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(req.Body, text); err != nil {
		return "", false, err
	}
	token, ok = strings.CutPrefix(string(text), confirmField)
	req.Body = io.NopCloser(bytes.NewReader(text))
	return token, ok, nil
}

// deeds says what commands do; %s is where.
var deeds = map[string]string{
	wire.CmdProduce: "publish a message to %s", wire.CmdConsume: "take a message from %s", wire.CmdRPC: "call the service %s",
	wire.CmdDeclare: "create or change %s", wire.CmdRemove: "remove %s", wire.CmdEmpty: "remove all messages of %s",
	wire.CmdRelocate: "move the consumers of %s to another position",
}

// ask answers with a page that says what would be done, and has a button that does it.
func (s *Server) ask(w http.ResponseWriter, req *http.Request, status int, cmd string, m *wire.Message) {
	deed := cmp.Or(deeds[cmd], "run "+cmd+" on %s")
	where := "topic " + cmp.Or(m.Get(wire.HeaderTopic), "(none)")
	if g := m.Get(wire.HeaderConsumeGroup); g != "" {
		where += ", group " + g
	}
	note := ""
	if status != http.StatusOK {
		note = "<p>This was done, or the page was open for too long. Press again to do it once more.</p>\n"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // no user is tricked into pressing a button that is not visible
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "same-origin") // with less, the button would come from nowhere
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, askPage, note, html.EscapeString(fmt.Sprintf(deed, where)), html.EscapeString(shortened(req.RequestURI)),
		strings.TrimSuffix(confirmField, "="), s.asked.add(confirmedURL(req), time.Now()))
}

func shortened(url string) string {
	const most = 500
	if len(url) > most {
		return url[:most] + "…"
	}
	return url
}

const askPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>zbus: run this command?</title></head>
<body><h1>Run this command?</h1>
%s<p>This would %s:</p>
<pre>%s</pre>
<form method="post" action=""><input type="hidden" name="%s" value="%s"><button autofocus>Run it</button></form>
<p>zbus asks because this browser does not say whether you typed the address or a page led here. It does not ask over HTTPS, nor programs.</p>
</body></html>
`
