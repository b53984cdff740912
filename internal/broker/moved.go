package broker

import (
	"fmt"
	"strings"
)

// Moved is why something is not done here: this server is being drained, and others have the
// topic. Their addresses are for clients.
type Moved struct{ Servers []string }

func (m *Moved) Error() string { return "moved to " + strings.Join(m.Servers, ", ") }

// Elsewhere says which other servers a topic is to be used on; none: on this one. publish is
// asked before something is stored, with whether it is a call; consume before a client consumes.
type Elsewhere struct {
	Publish func(topic string, call bool) []string
	Consume func(topic string) []string
}

// Divert has topics used elsewhere from now on, as long as there are other servers for them;
// nil: here again.
func (b *Broker) Divert(e *Elsewhere) { b.elsewhere.Store(e) }

// publishable says why nothing may be stored in the topic here, which is asked anew for each
// message.
func (t *Topic) publishable() error {
	e := t.b.elsewhere.Load()
	if e == nil {
		return nil
	}
	return t.moved(e.Publish(t.name, t.Calls()), "nothing was stored")
}

// consumable says why the topic can't be consumed here.
func (t *Topic) consumable() error {
	e := t.b.elsewhere.Load()
	if e == nil {
		return nil
	}
	return t.moved(e.Consume(t.name), "nothing more comes from it")
}

func (t *Topic) moved(servers []string, effect string) error {
	if len(servers) == 0 {
		return nil
	}
	return &Error{
		Code: Unavailable, Err: &Moved{servers},
		Text: fmt.Sprintf("this server is being drained, %s: Topic(%s) is on %s, too", effect, t.name, strings.Join(servers, ", ")),
	}
}
