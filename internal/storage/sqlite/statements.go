package sqlite

import (
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// statement names an SQL text that connections keep prepared.
type statement int

const (
	begin statement = iota
	commit
	rollback
	savepoint
	release
	rollbackTo

	insertBlock
	insertContents
	insertBlockApart
	deleteContents
	deleteBlocks
	insertFresh
	deleteFresh

	insertTopic
	alterTopic
	moveTopic
	deleteTopic
	deleteTopicParked
	deleteTopicGroups
	deleteTopicKept
	deleteTopicHistory
	putKept
	forgetKept

	insertGroup
	alterGroup
	moveGroup
	relocateGroup
	deleteGroup
	deleteGroupParked
	deleteGroupHistory
	putParked
	deleteParked

	sumTopic
	sumGroup
	sumParked

	putDropped
	deleteDropped
	insertJournal
	insertAudit
	putClock
	putDocument
	deleteDocument
	insertHistory
	deleteHistory

	setGeneration

	checkpointPassive
	checkpointRestart

	selectTopics
	selectGroups
	selectParked
	selectClock
	selectDocuments
	selectDropped
	selectKept
	selectSequences
	selectLastIDs
	selectMarks
	selectFresh
	selectBlocks
	selectBrief
	selectBlockAt
	selectWholeBlockAt
	selectFirstKey
	selectKeyAfter
	selectBlocksDown
	selectContents
	selectBriefContents
	selectJournal
	selectEntry
	selectAudit
	selectHistory
	selectHistorySizes
	selectPages

	statements // how many there are
)

const (
	blockColumns = "key, n, time, total, meta" // also the order of rows in queries; bodies come behind

	topicColumns = "id, name, mask, creator, created, updated, first, dropped, next, total, last_time, max_age, max_count, max_bytes, memory, paused, definition_sum, lost, place_sum, kind, replies, owner"

	groupColumns = "id, topic_id, name, filter, mask, creator, created, updated, " +
		"ack_timeout, ack_window, max_deliver, version, epoch, cursor, read, settled, definition_sum, place_sum, settle, exclusive, paused, ephemeral"

	journalColumns = "id, topic_id, group_id, time, kind, actor, reason, " +
		"from_cursor, from_read, from_settled, to_offset, filter_from, filter_to, address, token"

	auditColumns = "id, time, actor, action, target, detail, address, token"

	clockColumns = "boot, since, last, ahead, jump, held, sum"

	// The blocks of a topic from the one that holds key ?2 upwards. Its span of
	// keys starts at ?1·2⁴⁰ and ends before ?3.
	fromKey = " FROM blocks WHERE key >= ifnull((SELECT max(key) FROM blocks WHERE key >= (?1 << 40) AND key <= ?2), ?2)" +
		" AND key < ?3 ORDER BY key"

	ofBlock = " FROM contents WHERE id = (SELECT contents FROM blocks WHERE key = ?1)"

	// The blocks that end in a span of keys: so each is deleted by one step of a
	// purge, whatever the steps. ?3 is below the first key that may begin such one.
	ending = "key > ?3 AND key < ?2 AND key + n > ?1 AND key + n <= ?2"
)

var sqlText = [statements]string{
	begin:      "BEGIN IMMEDIATE",
	commit:     "COMMIT",
	rollback:   "ROLLBACK",
	savepoint:  "SAVEPOINT op",
	release:    "RELEASE op",
	rollbackTo: "ROLLBACK TO op",

	insertBlock:    "INSERT INTO blocks (" + blockColumns + ", bodies) VALUES (" + slots(6) + ")",
	insertContents: "INSERT INTO contents (meta, bodies) VALUES (?1, ?2)",
	insertBlockApart: "INSERT INTO blocks (" + blockColumns + ", bodies, contents) VALUES (" + slots(4) +
		", x'', x'', last_insert_rowid())",
	deleteContents: "DELETE FROM contents WHERE id IN (SELECT contents FROM blocks WHERE contents IS NOT NULL AND " + ending + ")",
	deleteBlocks:   "DELETE FROM blocks WHERE " + ending,
	insertFresh:    "INSERT INTO fresh (seq, pieces, bodies) VALUES (?1, ?2, ?3)",
	deleteFresh:    "DELETE FROM fresh WHERE seq <= ?1 AND seq > ?2",

	insertTopic:        "INSERT INTO topics (" + topicColumns + ") VALUES (" + slots(22) + ")",
	alterTopic:         "UPDATE topics SET mask = ?2, max_age = ?3, max_count = ?4, max_bytes = ?5, updated = ?6, paused = ?7, kind = ?8, replies = ?9, definition_sum = ?10, owner = ?11 WHERE id = ?1",
	moveTopic:          "UPDATE topics SET first = ?2, dropped = ?3, next = ?4, total = ?5, last_time = ?6, lost = ?7, place_sum = ?8 WHERE id = ?1",
	deleteTopic:        "DELETE FROM topics WHERE id = ?1",
	deleteTopicParked:  "DELETE FROM parked WHERE group_id IN (SELECT id FROM groups WHERE topic_id = ?1)",
	deleteTopicGroups:  "DELETE FROM groups WHERE topic_id = ?1",
	deleteTopicKept:    "DELETE FROM kept_ids WHERE topic_id = ?1",
	deleteTopicHistory: "DELETE FROM history WHERE topic_id = ?1",
	putKept:            "INSERT OR REPLACE INTO kept_ids (topic_id, last, ids) VALUES (?1, ?2, ?3)",
	forgetKept:         "DELETE FROM kept_ids WHERE topic_id = ?1 AND last < ?2",

	insertGroup: "INSERT INTO groups (" + groupColumns + ") VALUES (" + slots(22) + ")",
	alterGroup: "UPDATE groups SET filter = ?2, mask = ?3, ack_timeout = ?4, ack_window = ?5, max_deliver = ?6," +
		" version = ?7, updated = ?8, settle = ?9, exclusive = ?10, paused = ?11, ephemeral = ?12, definition_sum = ?13 WHERE id = ?1",
	moveGroup: "UPDATE groups SET cursor = ?2, read = ?3, settled = ?4, place_sum = ?5 WHERE id = ?1",
	relocateGroup: "UPDATE groups SET cursor = ?2, read = ?5, settled = ?6, epoch = ?3, updated = max(updated, ?4), place_sum = ?7" +
		" WHERE id = ?1",
	deleteGroup:        "DELETE FROM groups WHERE id = ?1",
	deleteGroupParked:  "DELETE FROM parked WHERE group_id = ?1",
	deleteGroupHistory: "DELETE FROM history WHERE topic_id = ?1 AND group_id = ?2",
	putParked:          `INSERT OR REPLACE INTO parked (group_id, "offset", count, due, cause, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
	deleteParked:       `DELETE FROM parked WHERE group_id = ?1 AND "offset" = ?2`,

	sumTopic:  "UPDATE topics SET definition_sum = ?2, place_sum = ?3, kind = ?4, replies = ?5 WHERE id = ?1",
	sumGroup:  "UPDATE groups SET definition_sum = ?2, place_sum = ?3, settle = ?4, exclusive = ?5, paused = ?6, ephemeral = ?7 WHERE id = ?1",
	sumParked: `UPDATE parked SET sum = ?3 WHERE group_id = ?1 AND "offset" = ?2`,

	putDropped:    "INSERT OR REPLACE INTO dropped (lo, hi) VALUES (?1, ?2)",
	deleteDropped: "DELETE FROM dropped WHERE lo = ?1",
	insertJournal: "INSERT INTO cursor_journal (" + journalColumns + ") VALUES (" + slots(15) + ")",
	insertAudit:   "INSERT INTO audit (" + auditColumns + ") VALUES (" + slots(8) + ")",
	putClock:      "INSERT OR REPLACE INTO clock (id, " + clockColumns + ") VALUES (1, " + slots(7) + ")",

	putDocument:    "INSERT OR REPLACE INTO documents (kind, name, value, sum) VALUES (" + slots(4) + ")",
	deleteDocument: "DELETE FROM documents WHERE kind = ?1 AND name = ?2",

	insertHistory: "INSERT INTO history (topic_id, group_id, level, size, data, sum) VALUES (" + slots(6) + ")",
	deleteHistory: "DELETE FROM history WHERE topic_id = ?1 AND group_id = ?2 AND level = ?3 AND id <= ?4",

	setGeneration: "UPDATE identity SET generation = ?1",

	checkpointPassive: "PRAGMA wal_checkpoint(PASSIVE)",
	checkpointRestart: "PRAGMA wal_checkpoint(RESTART)",

	selectTopics:    "SELECT " + topicColumns + " FROM topics ORDER BY id",
	selectGroups:    "SELECT " + groupColumns + " FROM groups ORDER BY id",
	selectParked:    `SELECT group_id, "offset", count, due, cause, sum FROM parked ORDER BY group_id, "offset"`,
	selectClock:     "SELECT " + clockColumns + " FROM clock",
	selectDocuments: "SELECT kind, name, value, sum FROM documents ORDER BY kind, name",
	selectDropped:   "SELECT lo, hi FROM dropped",
	selectKept:      "SELECT topic_id, last, ids FROM kept_ids ORDER BY topic_id, last",
	selectSequences: "SELECT name, seq FROM sqlite_sequence",
	selectLastIDs: "SELECT ifnull((SELECT max(id) FROM topics), 0), ifnull((SELECT max(id) FROM groups), 0)," +
		" ifnull((SELECT max(id) FROM cursor_journal), 0), ifnull((SELECT max(id) FROM audit), 0)",
	selectMarks:         "SELECT first, next FROM topics WHERE id = ?1",
	selectFresh:         "SELECT seq, pieces, bodies FROM fresh ORDER BY seq",
	selectBlocks:        "SELECT " + blockColumns + ", bodies" + fromKey,
	selectBrief:         "SELECT " + blockColumns + fromKey,
	selectBlockAt:       "SELECT " + blockColumns + " FROM blocks WHERE key >= (?1 << 40) AND key <= ?2 ORDER BY key DESC LIMIT 1",
	selectWholeBlockAt:  "SELECT " + blockColumns + ", bodies FROM blocks WHERE key >= (?1 << 40) AND key <= ?2 ORDER BY key DESC LIMIT 1",
	selectFirstKey:      "SELECT key FROM blocks WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1",
	selectKeyAfter:      "SELECT key FROM blocks WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT 1",
	selectBlocksDown:    "SELECT " + blockColumns + " FROM blocks WHERE key >= (?1 << 40) AND key < ?2 ORDER BY key DESC",
	selectContents:      "SELECT meta, bodies" + ofBlock,
	selectBriefContents: "SELECT meta" + ofBlock,
	selectJournal:       "SELECT " + journalColumns + " FROM cursor_journal WHERE group_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
	selectEntry:         "SELECT " + journalColumns + " FROM cursor_journal WHERE id = ?1",
	selectAudit:         "SELECT " + auditColumns + " FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
	selectHistory:       "SELECT id, level, data, sum FROM history WHERE topic_id = ?1 AND group_id = ?2 AND level BETWEEN ?3 AND ?4 ORDER BY level DESC, id",
	selectHistorySizes:  "SELECT topic_id, group_id, sum(size + " + strconv.Itoa(storage.ChunkCost) + "), max(id) FROM history GROUP BY topic_id, group_id",
	selectPages:         "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
}

// slots is a list of n parameters.
func slots(n int) string { return "?" + strings.Repeat(", ?", n-1) }
