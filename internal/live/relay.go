package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/forward"
	"github.com/rushmore/zbus-go/internal/wire"
)

// relayTime is for connecting to another server, and for one frame to it.
const relayTime = 10 * time.Second

// relay is a socket's connection to another server, for topics that are there and not here:
// see package server, which does the same for native sessions. Subscriptions there are told
// apart by their names, which begin with that of the relay and a colon.
//
// When the connection is lost the socket ends: the outcome of what it waits for is unknown.
type relay struct {
	s    *socket
	name string
	to   cluster.Address
	ws   *websocket.Conn
	done chan struct{} // closed when nothing comes back any longer
}

// topicOps are the ops that are passed on by the topic they name.
var topicOps = map[string]bool{"subscribe": true, "publish": true, "call": true, "serve": true}

// place is what of a frame says where it goes.
type place struct {
	Topic string  `json:"topic"`
	Group *string `json:"group"`
	Sub   string  `json:"sub"`
}

// elsewhere passes a frame on to the server that has its topic or its subscription, and reports
// whether it did.
func (s *socket) elsewhere(c *call, need access.Verb, at *place) (bool, error) {
	if name, rest, ok := strings.Cut(at.Sub, ":"); ok {
		r := s.relays[name]
		if r == nil {
			return false, nil // there is no such subscription, as will be said
		}
		frame, err := replaced(c.data, "sub", rest)
		if err != nil {
			return false, err
		}
		return true, r.write(frame)
	}
	if at.Topic == "" || !topicOps[c.Op] || s.hopped {
		return false, nil
	}
	group := ""
	if at.Group != nil {
		group = *at.Group
	}
	owners, err := forward.Owners(s.hub.opts.Broker, s.hub.opts.Cluster, s.who, need, at.Topic, group)
	if len(owners) == 0 || err != nil {
		return false, err
	}
	r, err := s.relayTo(owners[0].Address)
	if err != nil {
		return false, fail(broker.Unavailable, "Topic(%s) is on the server %s, which can't be reached: %v", at.Topic, owners[0].Address.Address, err)
	}
	return true, r.write(c.data)
}

// relayTo is the socket's connection to a server.
func (s *socket) relayTo(to cluster.Address) (*relay, error) {
	for _, r := range s.relays {
		if r.to == to {
			return r, nil
		}
	}
	if s.credential == nil && !s.who.Anonymous() {
		return nil, errors.New("this login or certificate counts here alone: send a token or a password that both servers know")
	}
	web, base, err := s.hub.opts.Cluster.Web(to.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.life, relayTime)
	defer cancel()
	header := http.Header{}
	if !s.who.Anonymous() { // where access is off, any server may join
		header = s.credential.Clone()
	}
	header.Set(wire.HeaderHop, s.hub.opts.Server().Address)
	ws, resp, err := websocket.Dial(ctx, base+"/api/v1/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: web}, HTTPHeader: header}) //nolint:bodyclose // Dial has read it
	if err != nil && resp != nil {
		return nil, errors.New("it answers " + resp.Status)
	}
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(s.hub.opts.ReadLimit)
	r := &relay{s: s, name: "s" + strconv.Itoa(len(s.relays)+1), to: to, ws: ws, done: make(chan struct{})}
	if s.relays == nil {
		s.relays = make(map[string]*relay)
	}
	s.relays[r.name] = r
	go r.read()
	return r, nil
}

func (r *relay) write(frame []byte) error {
	ctx, cancel := context.WithTimeout(r.s.life, relayTime)
	defer cancel()
	if err := r.ws.Write(ctx, websocket.MessageText, frame); err != nil {
		_ = r.ws.CloseNow() // the reader ends the socket
	}
	return nil
}

// read passes back what comes.
func (r *relay) read() {
	defer close(r.done)
	s := r.s
	for s.out.roomForRelays(s.life) {
		kind, frame, err := r.ws.Read(s.life)
		if err == nil && kind == websocket.MessageText {
			frame, err = r.back(frame)
		}
		if err != nil {
			s.hub.opts.Log.Debug("connection to another server is lost", "server", r.to.Key(), "remote", s.remote, "err", err)
			break
		}
		s.out.put(item{raw: frame, cost: int64(len(frame))})
	}
	_ = r.ws.CloseNow()
	s.end(websocket.StatusServiceRestart, "the connection to "+r.to.Address+", which has one of the topics, is lost")
}

// back is a frame as the client is sent it.
func (r *relay) back(frame []byte) ([]byte, error) {
	var of struct {
		Sub string `json:"sub"`
	}
	if err := json.Unmarshal(frame, &of); err != nil || of.Sub == "" {
		return frame, err
	}
	return replaced(frame, "sub", r.name+":"+of.Sub)
}

// replaced is an object with another text as one of its members.
func replaced(object []byte, member, text string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		return nil, err
	}
	value, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	all[member] = value
	return json.Marshal(all)
}

// closeRelays ends the connections to other servers.
func (s *socket) closeRelays() {
	for _, r := range s.relays {
		_ = r.ws.Close(websocket.StatusNormalClosure, "")
		<-r.done
	}
}

// credentialOf is what of a request says who its client is, and can be forwarded to another server; nil
// where nothing does: a login is good here alone.
func credentialOf(req *http.Request) http.Header {
	name, value := access.Portable(req)
	if value == "" {
		return nil
	}
	return http.Header{name: {value}}
}

// roomForRelays waits until something more may come from other servers.
func (q *queue) roomForRelays(ctx context.Context) bool {
	for ctx.Err() == nil {
		q.mu.Lock()
		ok := q.bytes <= answerBytes
		q.mu.Unlock()
		if ok {
			signal(q.relayed) // for the other relays
			return true
		}
		select {
		case <-q.relayed:
		case <-ctx.Done():
		}
	}
	return false
}
