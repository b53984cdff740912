package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// identity is who a session acts as. All but acting is owned by the reader.
type identity struct {
	who   access.Caller // of the request at hand
	first access.Caller // of requests without a credential: of the first with one, or of the connection
	given string        // the credential that a request gave last
	by    access.Caller // who gave it
	need  access.Verb   // what the request at hand wants to do
	quota *access.Quota // that counts this connection; nil while none does

	// certified is who the client certificate names; nil without one. It counts while no
	// request has come with a credential. Set at the start.
	certified *access.Principal

	// firstGiven is the credential that made first what it is; empty when a certificate or a
	// login did.
	firstGiven wire.Field
}

// credentialOf is the credential of a request: its token header, or its authorization.
func credentialOf(m *wire.Message) (header, value string) {
	for _, f := range m.Fields {
		if f.Name == wire.HeaderToken && f.Value != "" && !absent(f.Value) {
			return f.Name, f.Value
		}
		if f.Name == wire.HeaderAuthorization && header == "" {
			header, value = f.Name, f.Value
		}
	}
	return header, value
}

// parseCredential reads a credential that came in a header.
func parseCredential(header, value string) (access.Credential, error) {
	if header == wire.HeaderToken {
		return access.Credential{Token: value}, nil
	}
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer":
		return access.Credential{Token: rest}, nil
	case "basic":
		text, err := base64.StdEncoding.DecodeString(rest)
		name, password, ok := strings.Cut(string(text), ":")
		if err == nil && ok {
			return access.Credential{Account: name, Password: password}, nil
		}
	}
	return access.Credential{}, &broker.Error{Code: broker.Invalid, Text: "Bad authorization: must be Bearer TOKEN, or Basic with account:password in base64"}
}

// identify finds out who makes a request. The credential that came first holds for all
// requests of the connection that have none, until the same account gives another. Before it
// the client certificate does.
func (s *session) identify(m *wire.Message) error {
	who := s.first
	if s.srv.access.On() {
		header, value := credentialOf(m)
		switch {
		case value == "":
			if who.Anonymous() && s.certified != nil && !s.certified.Ended() {
				who.Principal = s.certified
			}
		case value == s.given:
			who = s.by
		default:
			c, err := parseCredential(header, value)
			if err != nil {
				return err
			}
			if who, err = s.srv.authenticate(s.life, c, s.remote); err != nil {
				return err
			}
			s.given, s.by = strings.Clone(value), who
			if s.first.Anonymous() || s.first.Account() == who.Account() { // a renewed one
				s.first, s.firstGiven = who, wire.Field{Name: header, Value: s.given}
			}
		}
	}
	if who.Principal != s.who.Principal {
		if s.conn != nil {
			if err := s.count(who.Quota()); err != nil {
				return err
			}
		}
		s.who, s.topics = who, topicCache{}
		s.acting.Store(who.Principal)
	}
	return nil
}

// count has the connection count as one of an account, and of no other.
func (s *session) count(quota *access.Quota) error {
	if quota == s.quota {
		return nil
	}
	if err := quota.Connect(); err != nil {
		return err
	}
	s.quota.Disconnect()
	s.quota = quota
	return nil
}

// authenticate finds out who comes with a credential from an address.
func (s *Server) authenticate(ctx context.Context, c access.Credential, remote string) (access.Caller, error) {
	c.Address = access.Caller{Address: remote}.Host()
	p, err := s.access.Authenticate(ctx, c)
	if err != nil && c.Login == "" { // which is over sooner or later
		s.log.Info("credential refused", "remote", remote, "err", err)
	}
	return access.Caller{Principal: p, Address: remote}, err
}

// view is the broker as the maker of the request at hand sees it.
func (s *session) view() broker.View { return s.srv.broker.As(s.who, s.need) }

// recheck ends what principals may no longer do, after each change of rights:
// connections whose credential is no longer good, and subscriptions. It returns when ctx ends.
func (s *Server) recheck(ctx context.Context) {
	for {
		select {
		case <-s.changedRights:
		case <-ctx.Done():
			return
		}
		for _, c := range s.live() {
			c.recheck()
		}
	}
}

func (s *session) recheck() {
	acting := s.acting.Load()
	if proof := s.joined.Load(); proof != nil && (acting.Ended() || acting.Check(access.Join, "", "") != nil) {
		s.srv.tracker.cluster.Expel(*proof)
	}
	if acting.Ended() {
		s.srv.Disconnect(s.id, "its credential is no longer good")
		return
	}
	s.mu.Lock()
	var lost []*consumer
	for g, c := range s.subs {
		c.by = renewed(c.by, acting)
		if s.srv.broker.As(c.by, access.Consume).MayConsume(g) != nil {
			delete(s.subs, g)
			if c.timer != nil {
				c.timer.Stop()
			}
			lost = append(lost, c)
		}
	}
	s.mu.Unlock()
	for _, c := range lost {
		g := c.sub.Group()
		id, waiting := c.sub.Waiting()
		c.sub.Close()
		s.withdraw(g.Topic())
		if waiting {
			s.fail(id, s.srv.broker.As(c.by, access.Consume).MayConsume(g))
		}
	}
	s.srv.tracker.recheck(s, acting)
}

// renewed is who has begun something, with the present credential of its account if that of
// then is no longer good.
func renewed(by access.Caller, acting *access.Principal) access.Caller {
	if by.Ended() && by.Account() == acting.Account() {
		by.Principal = acting
	}
	return by
}

// identified finds out who makes an HTTP request, and puts it into its context. A request
// of a page has the cookie of a login, which counts for what is below /api/ alone: the
// URLs of commands change something, and pages of other sites can ask for them.
func (s *Server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		who := access.Caller{Principal: s.access.Anonymous(), Address: req.RemoteAddr}
		if s.access.On() {
			c, err := credentialOfHTTP(req)
			known := access.Caller{}
			if certified := s.certifiedHTTP(req); certified != nil && err == nil && c == (access.Credential{}) {
				known = access.Caller{Principal: certified, Address: req.RemoteAddr}
			} else if err == nil {
				known, err = s.authenticate(req.Context(), c, req.RemoteAddr)
			}
			switch {
			case err == nil:
				who = known
			case c.Login == "":
				refuseCredential(w, err)
				return
			} // the page of a login that is over asks to log in
		}
		next.ServeHTTP(w, req.WithContext(access.With(req.Context(), who)))
	})
}

// credentialOfHTTP is the credential of an HTTP request.
func credentialOfHTTP(req *http.Request) (access.Credential, error) {
	if value := req.Header.Get("Token"); value != "" {
		return parseCredential(wire.HeaderToken, value)
	}
	if value := req.Header.Get("Authorization"); value != "" {
		return parseCredential(wire.HeaderAuthorization, value)
	}
	if !strings.HasPrefix(req.URL.Path, "/api/") {
		return access.Credential{}, nil
	}
	for name := range strings.SplitSeq(req.Header.Get("Sec-Websocket-Protocol"), ",") {
		if token, ok := strings.CutPrefix(strings.TrimSpace(name), access.TokenProtocol); ok {
			return access.Credential{Token: token}, nil
		}
		if ticket, ok := strings.CutPrefix(strings.TrimSpace(name), access.TicketProtocol); ok && ticket != "" {
			return access.Credential{Ticket: ticket}, nil
		}
	}
	return access.Credential{Login: access.LoginOf(req)}, nil
}

// givenOverHTTP is the credential of an HTTP request as a field that can be forwarded to another
// server.
func givenOverHTTP(req *http.Request) wire.Field {
	name, value := access.Portable(req)
	return wire.Field{Name: strings.ToLower(name), Value: value}
}

// refuseCredential answers a request whose credential is no good, and ends the connection.
func refuseCredential(w http.ResponseWriter, err error) {
	status, code, wait := statusOf(err), "unauthorized", access.RetryAfter(err)
	h := w.Header()
	switch {
	case wait > 0:
		h.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		code = "quota"
	case status == http.StatusBadRequest:
		code = "invalid"
	case status == http.StatusServiceUnavailable: // it may be a good one
		code = "unavailable"
		h.Set("Retry-After", retryAfter)
	default:
		h.Set("WWW-Authenticate", "Bearer")
	}
	h.Set("Cache-Control", "no-store")
	refuseProblem(w, status, code, broker.TextOf(err))
}

// refuseProblem answers a request with a problem, and ends its connection.
func refuseProblem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, code, detail})
}

// Require lets next serve who may do something that has no topic.
func Require(need access.Verb, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := access.From(req.Context()).Check(need, "", ""); err != nil {
			if broker.CodeOf(err) == broker.Unauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			http.Error(w, broker.TextOf(err), statusOf(err))
			return
		}
		next.ServeHTTP(w, req)
	})
}
