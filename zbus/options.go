package zbus

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Selector chooses from the servers that are connected, for one request to a topic,
// and returns their addresses, best first. It may be called by several goroutines at a
// time and must neither block nor keep or change what it gets.
type Selector func(topic string, servers []ServerInfo) []string

// Options say how a client connects. The zero value is ready to use.
type Options struct {
	// Token proves who the client is: a token of the server's. It goes with every request,
	// and a server that refuses it is not sent any: Dial, and requests after a connection
	// was lost, fail with ErrUnauthorized then.
	Token string
	// TokenSource, if not nil, gives the token instead of Token. It is called for each
	// connection and, if expires is not zero, again when three quarters of the time until
	// then have passed, so that the connection and its subscriptions outlive the token. The
	// tokens have to be of one account. It should return when ctx ends, and may be called
	// by several goroutines.
	TokenSource func(ctx context.Context) (token string, expires time.Time, err error)
	// TLS is the configuration for addresses that ask for TLS, and makes host:port
	// ask for it. Nil is Go's default; an empty ServerName is the address's host. Its
	// certificate, if it has one, says who the client is where no token does.
	TLS *tls.Config
	// DialStream, if not nil, makes connections instead of TCP: to an address as it was given to
	// Dial, without its scheme. It should return when ctx ends, and may be called by several
	// goroutines. WebSockets are not made by it.
	DialStream func(ctx context.Context, address string) (net.Conn, error)
	// DialTimeout bounds one attempt to connect, with TLS. Default: 10s.
	DialTimeout time.Duration
	// Heartbeat is how long the connection may be silent before the client asks
	// whether the server is there, 100ms at least. Default: 30s, and 3s where there are several servers, as
	// others can take over from one that says nothing.
	Heartbeat time.Duration
	// HeartbeatTimeout is how long to wait for a reply to a heartbeat, or to take
	// bytes in, before the connection is given up. Default: 10s, and 4s where there are several servers.
	HeartbeatTimeout time.Duration
	// ReconnectTimeout is how long a request waits for a connection, to any server, if its context lets it,
	// before it fails with ErrUnavailable; it is checked once an attempt to connect.
	// Default: 30s. Negative: a request fails if there is no connection.
	ReconnectTimeout time.Duration
	// MaxBackoff is the longest pause between two attempts to connect. Pauses begin
	// at 50ms and double; each is a random part of that. Default: 5s.
	MaxBackoff time.Duration
	// AllServers has a client with one address use all servers that the one there tells of, as with several
	// addresses.
	AllServers bool
	// Select chooses among several servers, for a publish or a call: best first. Those after the
	// first are for the case that it has no such topic, or can't take it now. Default:
	// [MostConsumers], and for messages with a [Message.Key] the same server for each key,
	// as long as the servers that have the topic stay the same.
	Select Selector
	// Retry sends messages again that were sent and not answered when a connection was lost,
	// as soon as there is another one. The server knows them by their IDs, and those without
	// one by that of the client, so each is stored once, for as long as it keeps IDs; but not
	// those with AllowDuplicate. So ErrUnknownOutcome is left for those whose context ends, or
	// for which there is no connection within ReconnectTimeout. With several servers it is the same server that gets
	// it again: an ID is known to one. So the addresses of [DialServer] have to lead to one server.
	Retry bool
	// MaxPending is the number of requests that may wait for their answers; more
	// wait for their turn. Default: 4096, which is also what a server reads ahead. Of messages of PublishAsync to
	// several servers it is no more than 64 MiB of bodies.
	MaxPending int
	// MaxBody is the largest body that is accepted, in bytes. Default: 512 MiB, which
	// no server exceeds.
	MaxBody int64
	// Middleware is around all that the client does, the first the outermost.
	Middleware []Middleware
	// Log gets what is reported nowhere else, such as lost connections. Default: none.
	Log *slog.Logger
	// OnState, if not nil, is told of connections made, lost, and not made after a
	// loss. The calls of a connection come one at a time and hold up reconnecting, so it must return
	// soon.
	OnState func(State)

	repeat time.Duration // how long what Retry sends again waits for a connection; 0: ReconnectTimeout
}

// State is news of a client's connection.
type State struct {
	Connected bool
	Address   string // of the server, as it was given to Dial
	Err       error  // why the connection was lost, or could not be made
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.DialTimeout, 10*time.Second)
	def(&o.Heartbeat, 30*time.Second)
	def(&o.HeartbeatTimeout, 10*time.Second)
	def(&o.ReconnectTimeout, 30*time.Second)
	def(&o.MaxBackoff, 5*time.Second)
	def(&o.repeat, o.ReconnectTimeout)
	o.Heartbeat = max(o.Heartbeat, 100*time.Millisecond)
	o.MaxBackoff = max(o.MaxBackoff, firstBackoff)
	if o.MaxPending <= 0 {
		o.MaxPending = 4096
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 512 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o *Options) limits() wire.Limits {
	return wire.Limits{Head: 2 << 20, Fields: 2048, Body: o.MaxBody}
}

// address is one place to connect to.
type address struct {
	text      string // as it was given
	host      string // host:port
	secure    bool   // TLS
	websocket string // the URL if it is to be a WebSocket, else ""
}

// addressSeparators may stand between the addresses of a list.
const addressSeparators = ",; \t\n"

// parseAddresses reads a list of addresses: see Dial.
func parseAddresses(list string, secure bool) ([]address, error) {
	var all []address
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(addressSeparators, r) }) {
		a, err := parseAddress(text, secure)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, invalid("dial", list, "no address; give host:port, or several with commas between")
	}
	return all, nil
}

func parseAddress(text string, secure bool) (address, error) {
	a := address{text: text, host: text, secure: secure}
	if rest, ok := strings.CutPrefix(text, "[SSL]"); ok { // as trackers write it
		a.host, a.secure = rest, true
	} else if scheme, rest, ok := strings.Cut(text, "://"); ok {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return a, invalid("dial", text, "not an address; write %s://host:port", scheme)
		}
		a.host = u.Host
		switch strings.ToLower(scheme) {
		case "zbus", "tcp":
		case "zbuss", "tls":
			a.secure = true
		case "ws":
			a.websocket = text
		case "wss":
			a.websocket, a.secure = text, true
		default:
			return a, invalid("dial", text, "unknown scheme; use zbus, zbuss (TLS), ws or wss")
		}
		if a.websocket == "" && strings.TrimSuffix(rest, "/") != u.Host {
			return a, invalid("dial", text, "not an address; write %s://host:port and no more", scheme)
		}
	}
	if a.websocket != "" {
		return a, nil
	}
	if _, _, err := net.SplitHostPort(a.host); err != nil {
		if a.host = net.JoinHostPort(strings.Trim(a.host, "[]"), defaultPort); strings.Count(a.host, ":") > 1 && !strings.Contains(a.host, "[") {
			return a, invalid("dial", text, "not an address: %v", err)
		}
	}
	return a, nil
}

// defaultPort is where servers listen unless told otherwise.
const defaultPort = "15555"

// String returns the address as it was given.
func (a address) String() string { return a.text }

var _ fmt.Stringer = address{}
