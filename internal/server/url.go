package server

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// fromURL finds the command of a message without a cmd header and turns what
// else its URL says into headers, as far as the message does not have them:
//
//	/<command>[/<topic>[/<group>]][?header=value&…]
//	/rpc/<topic>/<method>/<parameter>…[?module=…]
//	/<topic>[/<group>]?cmd=<command>
//	/<topic>, when there is such a topic: produce, or a call of an RPC topic
//
// It returns "" when none of these fits.
func (s *session) fromURL(m *wire.Message) string {
	path, query, _ := strings.Cut(m.URL, "?")
	segments := make([]string, 0, 4) // on the stack, unless it is kept
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			segments = append(segments, unescape(part))
		}
	}
	if len(segments) > 0 {
		cmd := strings.ToLower(segments[0])
		if v, ok := s.srv.verbs[cmd]; ok {
			setQuery(m, query)
			m.URL = ""
			switch {
			case cmd == wire.CmdRPC:
				call(m, segments[1:])
			case v.path:
				setPlace(m, segments[1:])
			}
			return cmd
		}
	}
	setQuery(m, query)
	if cmd := strings.ToLower(m.Get(wire.HeaderCmd)); cmd != "" {
		if s.srv.verbs[cmd].path {
			setPlace(m, segments)
		}
		m.URL = ""
		return cmd
	}
	if len(segments) == 0 {
		return ""
	}
	t, err := s.srv.broker.As(s.who, access.See).Topic(segments[0])
	if err != nil && broker.CodeOf(err) != broker.Unauthorized { // then it is asked for a credential
		return ""
	}
	if err == nil && t.Kind() == storage.KindRPC && len(segments) > 1 {
		call(m, segments)
	} else {
		setPlace(m, segments[:1])
	}
	m.URL = ""
	return wire.CmdProduce
}

// unescape decodes percent-encoding. What is not valid, and "+", stays as it is:
// older clients send filters such as Stock.+ without encoding.
func unescape(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// setQuery turns query pairs into headers; body becomes the body. Pairs that
// could not be header lines are left out.
func setQuery(m *wire.Message, query string) {
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		k, v = strings.ToLower(unescape(k)), unescape(v)
		if k == wire.HeaderBody {
			if len(m.Body) == 0 && v != "" {
				m.Body = []byte(v)
			}
			continue
		}
		if k == wire.HeaderToken || k == wire.HeaderAuthorization {
			continue // URLs are logged, kept and shown: a credential in one is not listened to
		}
		if _, ok := m.Lookup(k); !ok && wire.ValidName(k) && wire.ValidValue(v) {
			m.Set(k, v)
		}
	}
}

// setPlace takes topic and group from path segments.
func setPlace(m *wire.Message, segments []string) {
	for i, name := range []string{wire.HeaderTopic, wire.HeaderConsumeGroup} {
		if _, ok := m.Lookup(name); !ok && i < len(segments) && wire.ValidValue(segments[i]) {
			m.Set(name, segments[i])
		}
	}
}

// call makes the body of an RPC request from path segments: topic, method and
// parameters. A body that came with the request is left alone.
func call(m *wire.Message, segments []string) {
	setPlace(m, segments[:min(len(segments), 1)])
	if len(m.Body) > 0 || len(segments) < 2 {
		return
	}
	req := struct {
		Method string   `json:"method"`
		Params []string `json:"params,omitempty"`
		Module string   `json:"module,omitempty"`
	}{segments[1], slices.Clone(segments[2:]), m.Get(wire.HeaderModule)}
	m.Body, _ = json.Marshal(req) // strings always marshal
	m.Del(wire.HeaderModule)
	m.Set(wire.HeaderRPCMethod, segments[1])
	if _, ok := m.Lookup(wire.HeaderContentType); !ok {
		m.Set(wire.HeaderContentType, "application/json")
	}
}
