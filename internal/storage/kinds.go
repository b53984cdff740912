package storage

import "slices"

// Kind is what a topic carries. Its text is what stores keep and people read.
type Kind uint8

// The kinds of topics.
const (
	KindLog    Kind = iota // messages, in the Store
	KindMemory             // messages that are gone with the process
	KindRPC                // calls, each of which has a caller that waits; in memory
	KindProxy              // calls that are HTTP requests
)

func kinds() []string { return []string{"log", "memory", "rpc", "proxy"} }

func (k Kind) String() string { return word(kinds(), k) }

// ParseKind finds the kind that has a text.
func ParseKind(text string) (Kind, bool) { return parse[Kind](kinds(), text) }

// Stored reports whether the messages of topics of the kind are given to the Store.
func (k Kind) Stored() bool { return k == KindLog }

// Calls reports whether topics of the kind carry calls.
func (k Kind) Calls() bool { return k == KindRPC || k == KindProxy }

// Proxies reports whether those calls are HTTP requests.
func (k Kind) Proxies() bool { return k == KindProxy }

// Settle says when a message is done in a group. Its text is what stores keep and people
// read.
type Settle uint8

// The modes.
const (
	SettleAuto     Settle = iota // as soon as it is written to a consumer
	SettleExplicit               // when a consumer acks it
)

func settleModes() []string { return []string{"auto", "explicit"} }

func (s Settle) String() string { return word(settleModes(), s) }

// ParseSettle finds the mode that has a text.
func ParseSettle(text string) (Settle, bool) { return parse[Settle](settleModes(), text) }

func word[T ~uint8](words []string, v T) string {
	if int(v) >= len(words) {
		return "unknown"
	}
	return words[v]
}

func parse[T ~uint8](words []string, text string) (T, bool) {
	i := slices.Index(words, text)
	return T(max(i, 0)), i >= 0
}
