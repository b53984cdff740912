// Package broker holds topics, consume groups and delivery. It knows neither
// SQL nor sockets: messages come in through [Publishing.Publish], leave through the
// [Sink] of a subscriber, and everything that has to outlive the process goes
// through the storage writer.
//
// # A message in a group
//
//	            ┌─────────── filtered out ───────────┐
//	            │                                    ▼
//	log ──► waiting ──► in flight ──ack/written──► settled ──► cursor moves on
//	            ▲           │
//	            │   nack, timeout, connection lost, write failed
//	            └─ returned ◄┘──── too many deliveries ──► dead-letter topic
//
// A group's position is its cursor (all below is settled), the settled ranges above
// it, and the next offset to read. In an auto group a message is settled when it
// was written to the consumer's socket; in an explicit group when the consumer
// acked it and the ack was committed.
//
// # Who owns what
//
//   - A shard has one storage and all that is kept for the topics in it: the goroutine that
//     commits, the saver, dead letters, ids that are known, tails. A topic belongs to one, and
//     so does a commit. Broker has what is of no storage: names, the clock, timers.
//   - The registry of topics: Broker.mu. A topic's definition, groups and tail
//     of recent messages: Topic.mu. A group's position, in-flight messages and
//     subscriptions: Group.mu. Locks are taken in the order group, topic,
//     broker, saver, timers; none is held over I/O, a channel operation that can block,
//     or a call into a Sink.
//   - Topic.changes lets one administrative change of a topic and its groups happen
//     at a time, Broker.names one creation or removal of a topic, Topic.trimming one
//     trim. They alone are held while a commit is waited for; nobody who publishes,
//     delivers or acks takes them.
//   - A group's pump goroutine lives while the group has subscriptions. It alone
//     reads the log for the group. Who has the group's turn, the pump or a consumer
//     that has just given credit, decides who gets what and hands it over, so a
//     subscriber sees its deliveries in order. Sending comes after the turn.
//   - The saver goroutine of a shard writes the position of every group in it: within
//     20 ms of a change, at once for an ack that waits for its answer.
//   - The timers goroutine does what is due in any group: ack timeouts, delays that
//     are over, positions below the beginning of the log. It does not deliver.
//   - The housekeeping goroutine of a shard moves dead messages to their topics, and removes groups that
//     go with their last consumer. Another one deletes what is over the limits of topics (retention.go).
//   - Commit callbacks run on the one goroutine of a shard's storage writer that
//     answers, when the commit is synced. They only append to tails and wake
//     pumps.
package broker
