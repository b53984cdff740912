package postgres

import "github.com/rushmore/zbus-go/internal/storage/rules"

// catalog is what the writing goroutine knows about the database. Only that goroutine touches it.
type catalog = rules.Catalog[*none]

type (
	topic  = rules.Topic[*none]
	group  = rules.Group[*none]
	change = rules.Change[*none]
)

// none is what would be a row of pieces: this engine has none.
type none struct{}

// idNames are the kinds of ids as the table "ids" has them.
func idNames() [rules.Kinds]string {
	return [...]string{rules.TopicIDs: "topic", rules.GroupIDs: "group", rules.JournalIDs: "journal", rules.AuditIDs: "audit"}
}
