package sqlite

import (
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

const (
	offsetBits = 40
	// maxTopic is the largest topic id whose keys fit a 64-bit integer.
	maxTopic = 1<<23 - 1
)

func keyOf(t storage.TopicID, offset int64) int64 { return int64(t)<<offsetBits + offset }

func offsetOf(key int64) int64 { return key & storage.MaxOffset }

func topicOf(key int64) storage.TopicID { return storage.TopicID(key >> offsetBits) }

// catalog is what the writing goroutine knows about the database. Only that goroutine touches it.
type catalog struct {
	rules.Catalog[*freshRow]
	fresh fresh
}

type (
	topic  = rules.Topic[*freshRow]
	group  = rules.Group[*freshRow]
	change = rules.Change[*freshRow]
	marks  = rules.Marks[*freshRow]
	piece  = rules.Piece[*freshRow]
)
