package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// homePage is what a browser gets to see.
const homePage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>zbus</title></head>
<body><h1>zbus</h1>
<p>This is a zbus message broker. It answers, among others,
<a href="/tracker">/tracker</a>, <a href="/server">/server</a> and <a href="/healthz">/healthz</a>.</p>
</body></html>
`

// newHTTP creates the HTTP side: what is not a session of its own. The commands
// are routes to the same functions.
func (s *Server) newHTTP() *http.Server {
	r := chi.NewRouter()
	r.Use(s.unbroken, secured, encrypted, s.forwarded, s.counted, s.shared, s.identified, s.others, s.known, s.upgrades, s.commanded)
	readable := func(path string, h http.HandlerFunc) {
		r.Get(path, h)
		r.Head(path, h)
	}
	readable("/", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Has(wire.HeaderCmd) {
			s.urlCommand(w, req)
			return
		}
		w.Header().Set("Vary", "Accept")
		if s.opts.Home != "" && strings.Contains(req.Header.Get("Accept"), "text/html") {
			w.Header().Set("Location", s.opts.Home)
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, homePage)
	})
	readable("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	readable("/readyz", s.ready)
	for name := range s.verbs {
		r.HandleFunc("/"+name, s.urlCommand)
		r.HandleFunc("/"+name+"/*", s.urlCommand)
	}
	r.HandleFunc("/*", s.urlCommand) // a topic, perhaps
	return &http.Server{
		Handler:           r,
		ReadHeaderTimeout: socket.HeadTimeout,
		IdleTimeout:       s.opts.IdleTimeout,
		ConnContext:       s.connected,
		MaxHeaderBytes:    s.limits().Head,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// ready tells a load balancer whether to send work here: ok or why not in the first
// line, then, for who may observe, a line for each condition that holds.
func (s *Server) ready(w http.ResponseWriter, req *http.Request) {
	status, first := http.StatusOK, "ok"
	var detail strings.Builder
	told := access.From(req.Context()).Allows(access.Observe, "", "") // they name topics
	for _, c := range s.opts.Conditions.List() {
		if c.NotReady {
			status, first = http.StatusServiceUnavailable, "not ready"
		}
		if !told {
			continue
		}
		fmt.Fprintf(&detail, "%s %s", c.Severity, c.Kind)
		if c.Subject != "" {
			fmt.Fprintf(&detail, " %s", c.Subject)
		}
		fmt.Fprintf(&detail, ": %s\n", c.Text)
	}
	if s.opts.Ready != nil && s.opts.Ready() != nil {
		status, first = http.StatusServiceUnavailable, s.opts.Ready().Error()
	}
	if s.draining.Load() {
		status, first = http.StatusServiceUnavailable, "shutting down"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, first+"\n"+detail.String())
}

// elsewhere is the handler that serves a path, if it is none of the protocol's. No two
// of their paths begin with one another, but for the slash at the end.
func (s *Server) elsewhere(path string) http.Handler {
	for p, h := range s.opts.Handlers {
		if path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p) {
			return h
		}
	}
	return nil
}

// urlCommand runs a command that the URL names: HEAD, OPTIONS and the like must not.
func (s *Server) urlCommand(w http.ResponseWriter, req *http.Request) {
	if !plain(req.Method) {
		w.Header().Set("Allow", "GET, POST, PUT")
		http.Error(w, req.Method+" does not run commands: use GET, POST or PUT", http.StatusMethodNotAllowed)
		return
	}
	switch s.opts.Site.Source(headerOf(req)) {
	case origin.Foreign:
		refuse(w, otherOrigin)
	case origin.Unsaid:
		s.unsaid(w, req)
	default:
		s.confirmed(w, req)
	}
}

// counted counts the requests that are being handled. A connection ends with a WebSocket
// that is refused: what follows on it was not looked at.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") != "" {
			w.Header().Set("Connection", "close")
		}
		s.handling.add(1)
		defer s.handling.add(-1)
		next.ServeHTTP(w, req)
	})
}

// others serves what the handlers do, whatever the method is and the headers say.
func (s *Server) others(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if h := s.elsewhere(req.URL.Path); h != nil {
			s.accounted(h).ServeHTTP(w, req)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// accounted limits the body of a request, and accounts for it as long as the
// handler may keep it, and for the answer.
func (s *Server) accounted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Body != nil && req.Body != http.NoBody {
			limit := s.bodyLimit(req)
			if req.ContentLength > limit { // before anything of it is asked for
				tooLarge(w, limit)
				return
			}
			if s.stranger(req) { // most handlers refuse it without reading the body
				limit = strangersBody
			}
			body := http.MaxBytesReader(w, req.Body, limit)
			deadline := http.NewResponseController(w).SetReadDeadline
			_ = deadline(time.Now().Add(socket.BodyGrace)) // what the handler does not read, net/http does
			paced := &socket.PacedReader{Src: body, Deadline: deadline}
			counted := &countedBody{countedReader: countedReader{reserve: Accounts{}.Reserve(req.Context()), src: paced}, Closer: body, most: s.mostReceived()}
			defer counted.release()
			req.Body = counted
		}
		if req.Header.Get("Upgrade") != "" { // it takes the connection over
			next.ServeHTTP(w, req)
			return
		}
		answer := &heldAnswer{ResponseWriter: w, srv: s, safe: req.Method == http.MethodGet || req.Method == http.MethodHead}
		defer answer.release()
		next.ServeHTTP(answer, req)
	})
}

// limits are the configured limits with the defaults of package wire filled in.
func (s *Server) limits() wire.Limits {
	l := s.opts.Limits
	if l.Head == 0 {
		l.Head = 32 << 10
	}
	if l.Body == 0 {
		l.Body = 16 << 20
	}
	return l
}

// upgrades turns WebSocket requests, whatever their path, into sessions.
func (s *Server) upgrades(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
			s.serveWebSocket(w, req)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// commanded serves what has a cmd header, whatever its path is.
func (s *Server) commanded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Values(wire.HeaderCmd) != nil {
			s.command(w, req)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// command runs one command for an HTTP request: a session of one request.
func (s *Server) command(w http.ResponseWriter, req *http.Request) {
	body := &countedReader{reserve: Accounts{}.Reserve(req.Context())}
	defer body.release()
	m, err := s.messageOf(w, req, body)
	if err != nil {
		status := statusOfBody(err)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, err.Error(), status)
		return
	}
	c := newSession(s, access.From(req.Context()), accountOf(req.Context()))
	_, c.given = credentialOf(m) // which was judged above: see identified
	c.by = c.first
	close(c.written) // this handler is the writer
	if !s.addSession(c) {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.serving.Done()
	defer c.end()
	c.handle(m)
	c.flush()
	c.cool()
	c.answerHTTP(w, req)
}

// statusOfBody is the status for a body that could not be read.
func statusOfBody(err error) int {
	tooLong := (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &tooLong):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errNoMemory), errors.Is(err, errNeverFits):
		return statusOf(err)
	}
	return http.StatusBadRequest
}

// answerHTTP waits for the reply and sends it as the response.
func (s *session) answerHTTP(w http.ResponseWriter, req *http.Request) {
	defer s.returnBatches()
	for life := s.life.Done(); ; {
		items, closed := s.out.take()
		if len(items) > 0 {
			writeHTTP(w, items)
			return
		}
		if s.hungUp.Load() {
			panic(http.ErrAbortHandler) // closes the connection: there is no answer to what may be done or not
		}
		if closed {
			w.WriteHeader(http.StatusOK) // a command without a reply
			return
		}
		if life == nil {
			if err := s.acting.Load().Check(access.See, "", ""); err != nil {
				refuseCredential(w, err)
				return
			}
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		select {
		case <-s.out.wake:
		case <-req.Context().Done():
			return
		case <-life:
			// What was handed to the broker has its answer first: it may be stored.
			s.inflight.wait(0)
			life = nil
		}
	}
}

// returnBatches gives back what was delivered too late for the response.
func (s *session) returnBatches() {
	s.out.close()
	items, _ := s.out.take()
	for _, it := range items {
		if it.table != nil {
			it.table.release()
		}
		if it.batch != nil {
			it.batch.Done(0)
		}
	}
}

// messageOf turns an HTTP request into a message. The connection is net/http's:
// what the request says about it does not concern the command, except that a
// command without a reply has to be noticed.
func (s *Server) messageOf(w http.ResponseWriter, req *http.Request, counted *countedReader) (*wire.Message, error) {
	limit := min(s.limits().Body, s.mostReceived())
	if req.ContentLength > limit { // before anything of it is asked for
		return nil, &http.MaxBytesError{Limit: limit}
	}
	body, err := counted.readAll(&socket.PacedReader{Src: http.MaxBytesReader(w, req.Body, limit), Deadline: http.NewResponseController(w).SetReadDeadline})
	if err != nil {
		return nil, err
	}
	m := &wire.Message{Method: req.Method, URL: req.RequestURI, Minor: 1, Body: body}
	for name, values := range req.Header {
		for _, v := range values {
			m.Fields = append(m.Fields, wire.Field{Name: strings.ToLower(name), Value: v})
		}
	}
	m.Set(wire.HeaderHost, req.Host)
	m.Del(wire.HeaderExpect)
	m.Set(wire.HeaderConnection, "close")
	m.Set(wire.HeaderAck, "1") // a response there is anyway: let it be the outcome
	return m, nil
}

// writeHTTP sends the first message of the items as the response. Deliveries
// beyond it go back to their group.
func writeHTTP(w http.ResponseWriter, items []item) {
	var err error
	if items[0].large() {
		err = copyResponse(w, io.MultiReader(bytes.NewReader(items[0].raw), bytes.NewReader(items[0].table.body)))
	} else {
		var e encoder
		e.init()
		e.web = true
		e.add(&items[0])
		err = copyResponse(w, bytes.NewReader(e.buf[:e.ends[0]]))
	}
	for i := range items {
		if t := items[i].table; t != nil {
			t.release()
		}
		if b := items[i].batch; b != nil && i == 0 && err == nil {
			b.Done(1)
		} else if b != nil {
			b.Done(0)
		}
	}
}

// apart keeps a page from being one of this server's origin, whose cookies and answers it
// could use.
const apart = "sandbox allow-scripts allow-forms allow-popups allow-downloads"

func copyResponse(w http.ResponseWriter, raw io.Reader) error {
	resp, err := http.ReadResponse(bufio.NewReader(raw), nil)
	if err != nil {
		http.Error(w, "this message does not fit into an HTTP response", http.StatusInternalServerError)
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	h := w.Header()
	h["Content-Type"] = nil // none, rather than one guessed from a client's bytes
	policy := h.Get("Content-Security-Policy")
	h.Del("Content-Security-Policy")
	for k, v := range resp.Header {
		if k != "Connection" {
			h[k] = v
		}
	}
	if h.Get("Content-Security-Policy") == "" {
		if t := h.Get("Content-Type"); t != "" && !wire.SafeType(t) {
			policy = apart // a page that a service has made
		}
		h.Set("Content-Security-Policy", policy)
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
