package postgres

// statement names an SQL text that connections keep prepared.
type statement int

const (
	turn statement = iota
	standbys

	insertBlock
	deleteBlocks
	putDropped
	deleteDropped

	setLast

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

	insertJournal
	insertAudit
	putClock
	putDocument
	deleteDocument
	insertHistory
	deleteHistory

	selectTopics
	selectGroups
	selectParked
	selectClock
	selectDocuments
	selectDropped
	selectKept
	selectLast
	selectMarks
	selectBlocks
	selectBrief
	selectBlockAt
	selectBlocksDown
	selectJournal
	selectEntry
	selectAudit
	selectHistory
	selectHistorySizes

	statements // how many there are
)

const (
	topicColumns = "id, name, folded, kind, replies, paused, mask, creator, owner, created, updated, max_age, max_count, max_bytes," +
		" first, dropped, next, total, last_time"

	groupColumns = "id, topic, name, folded, filter, settle, exclusive, paused, ephemeral, mask, creator, created, updated," +
		" ack_timeout, ack_window, max_deliver, version, epoch, cursor, read, settled"

	blockColumns = "topic, first, n, time, last_time, total, meta" // also the order of rows in queries; bodies come behind

	journalColumns = "id, topic, group_id, time, kind, actor, address, token, reason," +
		" from_cursor, from_read, from_settled, to_offset, filter_from, filter_to"

	auditColumns = "id, time, actor, address, token, action, target, detail"

	clockColumns = "boot, since, last, ahead, jump, held"

	// The blocks of topic $1 from the one that holds offset $2 upwards, of those that begin
	// below $3.
	fromOffset = " FROM blocks WHERE topic = $1 AND first < $3 AND" +
		" first >= coalesce((SELECT first FROM blocks WHERE topic = $1 AND first <= $2 ORDER BY first DESC LIMIT 1), $2) ORDER BY first LIMIT $4"
)

// sqlText has a text for each statement. turn divides by zero unless the row is as it should be,
// which ends the transaction.
func sqlText(st statement) string {
	return [statements]string{
		turn: "WITH turn AS (UPDATE brokers SET seq = $4::bigint, seen = clock_timestamp()" +
			" WHERE name = $1 AND holder = $2 AND epoch = $3 AND seq = $4::bigint - 1 RETURNING 1) SELECT 1 / count(*) FROM turn",

		// A server that was just told of standbys waits for them only when its checkpointer has heard of it,
		// which may be in the middle of a checkpoint.
		standbys: "SELECT current_setting('synchronous_standby_names') <> '', clock_timestamp() - pg_conf_load_time() > interval '10 seconds'",

		insertBlock: "INSERT INTO blocks (" + blockColumns + ", bodies) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		// Those that end in a span: so each is deleted by one step of a purge, whatever the steps.
		// $4 is not above the first offset at which such a block can begin.
		deleteBlocks:  "DELETE FROM blocks WHERE topic = $1 AND first >= $4 AND first < $3 AND first + n > $2 AND first + n <= $3",
		putDropped:    "INSERT INTO dropped (topic, lo, hi) VALUES ($1, $2, $3) ON CONFLICT (topic, lo) DO UPDATE SET hi = excluded.hi",
		deleteDropped: "DELETE FROM dropped WHERE topic = $1 AND lo = $2",

		setLast: "UPDATE ids SET last = $2 WHERE kind = $1",

		insertTopic: "INSERT INTO topics (" + topicColumns + ") VALUES" +
			" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
		alterTopic: "UPDATE topics SET replies = $2, paused = $3, mask = $4, owner = $5, updated = $6, max_age = $7, max_count = $8, max_bytes = $9" +
			" WHERE id = $1",
		moveTopic:          "UPDATE topics SET first = $2, dropped = $3, next = $4, total = $5, last_time = $6 WHERE id = $1",
		deleteTopic:        "DELETE FROM topics WHERE id = $1",
		deleteTopicParked:  "DELETE FROM parked WHERE group_id IN (SELECT id FROM groups WHERE topic = $1)",
		deleteTopicGroups:  "DELETE FROM groups WHERE topic = $1",
		deleteTopicKept:    "DELETE FROM kept_ids WHERE topic = $1",
		deleteTopicHistory: "DELETE FROM history WHERE topic = $1",
		putKept:            "INSERT INTO kept_ids (topic, last, ids) VALUES ($1, $2, $3) ON CONFLICT (topic, last) DO UPDATE SET ids = excluded.ids",
		forgetKept:         "DELETE FROM kept_ids WHERE topic = $1 AND last < $2",

		insertGroup: "INSERT INTO groups (" + groupColumns + ") VALUES" +
			" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
		alterGroup: "UPDATE groups SET filter = $2, settle = $3, exclusive = $4, paused = $5, ephemeral = $6, mask = $7, updated = $8," +
			" ack_timeout = $9, ack_window = $10, max_deliver = $11, version = $12 WHERE id = $1",
		moveGroup:          "UPDATE groups SET cursor = $2, read = $3, settled = $4 WHERE id = $1",
		relocateGroup:      "UPDATE groups SET cursor = $2, read = $3, settled = $4, epoch = $5, updated = greatest(updated, $6) WHERE id = $1",
		deleteGroup:        "DELETE FROM groups WHERE id = $1",
		deleteGroupParked:  "DELETE FROM parked WHERE group_id = $1",
		deleteGroupHistory: "DELETE FROM history WHERE topic = $1 AND group_id = $2",
		putParked: `INSERT INTO parked (group_id, "offset", count, due, cause) VALUES ($1, $2, $3, $4, $5)` +
			` ON CONFLICT (group_id, "offset") DO UPDATE SET count = excluded.count, due = excluded.due, cause = excluded.cause`,
		deleteParked: `DELETE FROM parked WHERE group_id = $1 AND "offset" = $2`,

		insertJournal: "INSERT INTO cursor_journal (" + journalColumns + ") VALUES" +
			" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
		insertAudit: "INSERT INTO audit (" + auditColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		putClock: "INSERT INTO clock (one, " + clockColumns + ") VALUES (1, $1, $2, $3, $4, $5, $6) ON CONFLICT (one) DO UPDATE SET" +
			" boot = excluded.boot, since = excluded.since, last = excluded.last, ahead = excluded.ahead, jump = excluded.jump, held = excluded.held",
		putDocument:    "INSERT INTO documents (kind, name, value) VALUES ($1, $2, $3) ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value",
		deleteDocument: "DELETE FROM documents WHERE kind = $1 AND name = $2",
		insertHistory:  "INSERT INTO history (id, topic, group_id, level, data) SELECT coalesce(max(id), 0) + 1, $1::bigint, $2::bigint, $3::bigint, $4::bytea FROM history",
		deleteHistory:  "DELETE FROM history WHERE topic = $1 AND group_id = $2 AND level = $3 AND id <= $4",

		selectTopics: "SELECT " + topicColumns + ", b.stop, b.total_then, b.time_then FROM topics LEFT JOIN LATERAL" +
			" (SELECT first + n AS stop, total AS total_then, last_time AS time_then FROM blocks WHERE topic = topics.id ORDER BY first DESC LIMIT 1) b ON true" +
			" ORDER BY id",
		selectGroups:    "SELECT " + groupColumns + " FROM groups ORDER BY id",
		selectParked:    `SELECT group_id, "offset", count, due, cause FROM parked ORDER BY group_id, "offset"`,
		selectClock:     "SELECT " + clockColumns + " FROM clock",
		selectDocuments: `SELECT kind, name, value FROM documents ORDER BY kind COLLATE "C", name COLLATE "C"`,
		selectDropped:   "SELECT topic, lo, hi FROM dropped",
		selectKept:      "SELECT topic, last, ids FROM kept_ids ORDER BY topic, last",
		selectLast:      "SELECT kind, last FROM ids",
		selectMarks:     "SELECT first FROM topics WHERE id = $1",
		// Of these no more than take $5 bytes, and the one that goes beyond.
		selectBlocks: "SELECT " + blockColumns + ", bodies FROM (SELECT *, sum(size) OVER (ORDER BY first) - size AS before" +
			" FROM (SELECT " + blockColumns + ", bodies, length(meta) + length(bodies) AS size" + fromOffset + ") few) fit" +
			" WHERE before < $5::bigint ORDER BY first",
		selectBrief: "SELECT " + blockColumns + fromOffset,
		selectBlockAt: "SELECT " + blockColumns + " FROM blocks WHERE topic = $1 AND first <= $2" +
			" ORDER BY first DESC LIMIT 1",
		selectBlocksDown: "SELECT " + blockColumns + " FROM blocks WHERE topic = $1 AND first < $2 ORDER BY first DESC LIMIT $3",
		selectJournal:    "SELECT " + journalColumns + " FROM cursor_journal WHERE group_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
		selectEntry:      "SELECT " + journalColumns + " FROM cursor_journal WHERE id = $1",
		selectAudit:      "SELECT " + auditColumns + " FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2",
		selectHistory:    "SELECT id, level, data FROM history WHERE topic = $1 AND group_id = $2 AND level BETWEEN $3 AND $4 ORDER BY level DESC, id",
		selectHistorySizes: "SELECT topic, group_id, sum(length(data) + $1::bigint)::bigint, max(id) FROM history" +
			" GROUP BY topic, group_id",
	}[st]
}
