package sqlite

import "strings"

// statement names an SQL text that connections keep prepared.
type statement int

const (
	begin statement = iota
	commit
	rollback
	savepoint
	release
	rollbackTo

	insert1 // messages; see insertSQL
	insert4
	insert16
	insert64
	deleteMessages

	insertTopic
	alterTopic
	moveTopic
	deleteTopic
	deleteTopicParked
	deleteTopicGroups

	insertGroup
	alterGroup
	moveGroup
	relocateGroup
	deleteGroup
	deleteGroupParked
	putParked
	deleteParked

	putDropped
	deleteDropped
	insertJournal
	insertAudit

	checkpointLook
	checkpointPassive
	checkpointRestart

	selectTopics
	selectGroups
	selectParked
	selectDropped
	selectSequences
	selectBounds
	selectMessages
	selectBrief
	selectTimeFrom
	selectID
	selectJournal
	selectAudit

	statements // how many there are
)

const (
	messageColumns = "key, time, tag, id, headers, crc, body" // also the order of rows in queries

	topicColumns = "id, name, mask, creator, created, updated, first, next, bytes, last_time, max_age, max_count, max_bytes, memory"

	groupColumns = "id, topic_id, name, filter, mask, creator, created, updated, " +
		"ack_timeout, ack_window, max_deliver, version, epoch, cursor, read, settled"

	journalColumns = "id, topic_id, group_id, time, kind, actor, reason, " +
		"from_cursor, from_read, from_settled, to_offset, filter_from, filter_to"

	auditColumns = "id, time, actor, action, target, detail"

	// What a topic can reach from offset ?3 upwards: its span of keys starts at
	// ?1·2⁴⁰ and ends before ?2. A topic that is not there has no first offset,
	// and NULL lets nothing through.
	fromOffset = " FROM messages WHERE key >= max(?3, (SELECT (?1 << 40) + first FROM topics WHERE id = ?1))" +
		" AND key < ?2 ORDER BY key LIMIT ?4"
)

var sqlText = [statements]string{
	begin:      "BEGIN IMMEDIATE",
	commit:     "COMMIT",
	rollback:   "ROLLBACK",
	savepoint:  "SAVEPOINT op",
	release:    "RELEASE op",
	rollbackTo: "ROLLBACK TO op",

	insert1:        insertSQL(1),
	insert4:        insertSQL(4),
	insert16:       insertSQL(16),
	insert64:       insertSQL(64),
	deleteMessages: "DELETE FROM messages WHERE key >= ?1 AND key < ?2",

	insertTopic:       "INSERT INTO topics (" + topicColumns + ") VALUES (" + slots(14) + ")",
	alterTopic:        "UPDATE topics SET mask = ?2, max_age = ?3, max_count = ?4, max_bytes = ?5, updated = ?6 WHERE id = ?1",
	moveTopic:         "UPDATE topics SET first = ?2, next = ?3, bytes = ?4, last_time = ?5 WHERE id = ?1",
	deleteTopic:       "DELETE FROM topics WHERE id = ?1",
	deleteTopicParked: "DELETE FROM parked WHERE group_id IN (SELECT id FROM groups WHERE topic_id = ?1)",
	deleteTopicGroups: "DELETE FROM groups WHERE topic_id = ?1",

	insertGroup: "INSERT INTO groups (" + groupColumns + ") VALUES (" + slots(16) + ")",
	alterGroup: "UPDATE groups SET filter = ?2, mask = ?3, ack_timeout = ?4, ack_window = ?5, max_deliver = ?6," +
		" version = ?7, updated = ?8 WHERE id = ?1",
	moveGroup: "UPDATE groups SET cursor = ?2, read = ?3, settled = ?4 WHERE id = ?1",
	relocateGroup: "UPDATE groups SET cursor = ?2, read = ?2, settled = '', epoch = ?3, updated = max(updated, ?4)" +
		" WHERE id = ?1",
	deleteGroup:       "DELETE FROM groups WHERE id = ?1",
	deleteGroupParked: "DELETE FROM parked WHERE group_id = ?1",
	putParked:         `INSERT OR REPLACE INTO parked (group_id, "offset", count, due, cause) VALUES (?1, ?2, ?3, ?4, ?5)`,
	deleteParked:      `DELETE FROM parked WHERE group_id = ?1 AND "offset" = ?2`,

	putDropped:    "INSERT OR REPLACE INTO dropped (lo, hi) VALUES (?1, ?2)",
	deleteDropped: "DELETE FROM dropped WHERE lo = ?1",
	insertJournal: "INSERT INTO cursor_journal (" + journalColumns + ") VALUES (" + slots(13) + ")",
	insertAudit:   "INSERT INTO audit (" + auditColumns + ") VALUES (" + slots(6) + ")",

	checkpointLook:    "PRAGMA wal_checkpoint(NOOP)",
	checkpointPassive: "PRAGMA wal_checkpoint(PASSIVE)",
	checkpointRestart: "PRAGMA wal_checkpoint(RESTART)",

	selectTopics:    "SELECT " + topicColumns + " FROM topics ORDER BY id",
	selectGroups:    "SELECT " + groupColumns + " FROM groups ORDER BY id",
	selectParked:    `SELECT group_id, "offset", count, due, cause FROM parked ORDER BY group_id, "offset"`,
	selectDropped:   "SELECT lo, hi FROM dropped",
	selectSequences: "SELECT name, seq FROM sqlite_sequence",
	selectBounds:    "SELECT first, next FROM topics WHERE id = ?1",
	selectMessages:  "SELECT " + messageColumns + fromOffset,
	selectBrief:     "SELECT key, time, tag, id, headers, crc, ifnull(length(body), 0)" + fromOffset,
	selectTimeFrom:  "SELECT key, time FROM messages WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1",
	selectID:        "SELECT key FROM messages WHERE key >= ?1 AND key < ?2 AND id = ?3 ORDER BY key DESC LIMIT 1",
	selectJournal:   "SELECT " + journalColumns + " FROM cursor_journal WHERE group_id = ?1 ORDER BY id DESC LIMIT ?2",
	selectAudit:     "SELECT " + auditColumns + " FROM audit ORDER BY id DESC LIMIT ?1",
}

// insertSQL inserts n messages.
func insertSQL(n int) string {
	row := "(" + slots(messageWidth) + ")"
	return "INSERT INTO messages (" + messageColumns + ") VALUES " + row + strings.Repeat(", "+row, n-1)
}

// messageWidth is how many columns a message has.
const messageWidth = 7

// slots is a list of n parameters.
func slots(n int) string { return "?" + strings.Repeat(", ?", n-1) }
