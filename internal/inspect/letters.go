package inspect

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// LetterKind is dead letters that died in the same group of the same cause.
type LetterKind struct {
	ID                  string // the same for the same group and cause, at all times
	Group               string
	Cause               string // see [CausePattern]
	Example             string // the cause of the last one, as it is
	Letters             int64
	First, Last         int64 // offsets
	FirstTime, LastTime int64 // Unix milliseconds
}

// maxKinds is how many kinds are listed at most. Letters of others are counted only among those that wait.
const maxKinds = 1000

// Kinds counts dead letters by kind. It is for one goroutine.
type Kinds struct {
	byID map[string]*LetterKind
}

// KindOf is the ID of the kind of a letter.
func KindOf(from *broker.Origin) string { return kindID(from.Group, CausePattern(from.Cause)) }

func kindID(group, pattern string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.ToLower(group) + "\x00" + pattern))
	return fmt.Sprintf("%016x", h.Sum64())
}

// Add counts a letter.
func (k *Kinds) Add(rec *storage.Record, from *broker.Origin) {
	pattern := CausePattern(from.Cause)
	id := kindID(from.Group, pattern)
	if k.byID == nil {
		k.byID = map[string]*LetterKind{}
	}
	kind := k.byID[id]
	if kind == nil {
		if len(k.byID) >= maxKinds {
			return
		}
		kind = &LetterKind{ID: id, Group: from.Group, Cause: pattern, First: rec.Offset, FirstTime: rec.Time}
		k.byID[id] = kind
	}
	kind.Letters++
	kind.Last, kind.LastTime, kind.Example = rec.Offset, rec.Time, from.Cause
}

// Top lists at most n kinds, those with the most letters first.
func (k *Kinds) Top(n int) []LetterKind {
	list := make([]LetterKind, 0, len(k.byID))
	for _, kind := range k.byID {
		list = append(list, *kind)
	}
	sort.Slice(list, func(i, j int) bool {
		return cmp.Or(cmp.Compare(list[j].Letters, list[i].Letters), cmp.Compare(list[i].ID, list[j].ID)) < 0
	})
	return list[:min(n, len(list))]
}

// What a pattern shortens.
const (
	maxPattern = 200 // bytes
	idLength   = 8   // of a word with digits that is an id as a whole, not a name with a number
)

// CausePattern is what causes have in common that tell of different messages: numbers and ids in
// it are #, and what is quoted is “…”.
func CausePattern(cause string) string {
	var b strings.Builder
	for len(cause) > 0 && b.Len() < maxPattern {
		c := cause[0]
		if c == '"' || c == '\'' || c == '`' {
			if end := strings.IndexByte(cause[1:], c); end >= 0 {
				b.WriteString("“…”")
				cause = cause[end+2:]
				continue
			}
		}
		n := 0
		for n < len(cause) && wordByte(cause[n]) {
			n++
		}
		if n == 0 {
			n = 1
			for n < len(cause) && cause[n]&0xC0 == 0x80 { // the rest of a character
				n++
			}
			b.WriteString(cause[:n])
		} else {
			b.WriteString(wordPattern(cause[:n]))
		}
		cause = cause[n:]
	}
	return b.String()
}

func wordByte(c byte) bool {
	return c == '-' || c == '_' || digit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// wordPattern is a word without its numbers, or # for an id.
func wordPattern(word string) string {
	digits, letters := 0, 0
	for i := range len(word) {
		if digit(word[i]) {
			digits++
		} else if word[i] != '-' && word[i] != '_' {
			letters++
		}
	}
	if digits == 0 {
		return word
	}
	if len(word) >= idLength && 3*digits >= letters {
		return "#"
	}
	out := make([]byte, 0, len(word))
	for i := range len(word) {
		if !digit(word[i]) {
			out = append(out, word[i])
		} else if i == 0 || !digit(word[i-1]) {
			out = append(out, '#')
		}
	}
	return string(out)
}
