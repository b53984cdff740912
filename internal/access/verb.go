package access

import (
	"math/bits"
	"strings"
)

// Verb is a kind of thing that one may do.
type Verb uint16

// The verbs. The zero Verb is none, and is allowed to nobody.
const (
	Publish Verb = 1 << iota // put messages into a topic
	Consume                  // read a topic as a group: deliveries, acks, creating the group
	Browse                   // see the messages of a topic, without consuming them
	Manage                   // declare and change topics and groups
	Move                     // move groups, empty and remove topics and groups
	Call                     // call a service
	Serve                    // answer the calls to a service

	Observe  // see the figures of the server and of all topics, without messages
	Sessions // see and end connections
	Access   // manage accounts, tokens and roles
	Admin    // everything
	Join     // join the servers that work together

	// See is to know that a topic is there, and its figures. It is granted with any other
	// verb on the topic, and with Observe.
	See
	// Nothing is what everyone may do.
	Nothing
)

// ofTopics are the verbs that are granted with a pattern of topics.
const ofTopics = Publish | Consume | Browse | Manage | Move | Call | Serve

// ofGroups are those of them that can be narrowed to groups.
const ofGroups = Consume | Manage | Move

// words are the names of the verbs, in their order.
var words = [...]string{
	"publish", "consume", "browse", "manage", "move", "call", "serve",
	"observe", "sessions", "access", "admin", "join", "see", "nothing",
}

// String is the verb's name as in a grant; several are separated by commas.
func (v Verb) String() string {
	var names []string
	for rest := v; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros16(uint16(rest)); i < len(words) {
			names = append(names, words[i])
		}
	}
	return strings.Join(names, ",")
}

// ParseVerb finds a verb that can be granted by its name.
func ParseVerb(name string) (Verb, bool) {
	for i, word := range words {
		if v := Verb(1) << i; word == name && v&(See|Nothing) == 0 {
			return v, true
		}
	}
	return 0, false
}

// VerbNames are the names of the verbs that can be granted.
func VerbNames() []string { return append([]string(nil), words[:len(words)-2]...) }

// OfTopics reports whether a verb is granted with a pattern of topics.
func (v Verb) OfTopics() bool { return v&(ofTopics|See) != 0 }
