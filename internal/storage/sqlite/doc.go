// Package sqlite keeps topics, groups and messages in one SQLite file.
//
// # Connections
//
// One connection writes; it belongs to the goroutine that calls Commit,
// Maintain and Close. A second one, of a goroutine of the Store, copies the
// write-ahead log into the database while commits continue. Up to four read-only
// connections serve everything else, each for one short statement at a time, so
// that no reader holds the log back.
//
// # Changes
//
// The numbers that decide whether an op is allowed (next offsets, epochs,
// names) are kept in memory by the writing goroutine: the catalog of package rules. Commit
// first plans all ops against the catalog, which changes it and yields rows and
// statements, then runs these in one transaction. When the transaction fails
// the catalog is taken back step by step.
//
// # Messages
//
// A row of the table "blocks" holds the messages that one commit appended to a
// topic: see block. Its key is the topic's id times 2⁴⁰ plus the offset of the
// first of them, so that a topic is one span of the table and there is no second
// index. Where a topic stands is what its last block says. What can no longer be reached
// is noted as a span of keys in the table "dropped"; its blocks are
// deleted later. Blocks that are not all that their commit wrote have their contents
// in a table of that name, in the order in which they were written: see insertBlock.
//
// A commit that appends a little to each of several topics puts all of it into one
// row of the table "fresh", as a piece for each: see freshRow. Pieces are merged into
// blocks between commits. A topic's blocks are all below its pieces; these are in
// memory as well, for the writing goroutine in the catalog, for readers in [recent].
//
// # The log
//
// The writing connection has a VFS of its own, which writes the frames of a
// transaction in one go: see vfs.WALWriter. So has the one that copies, which reads and
// writes more than a page at a time: see vfs.CheckpointIO. And so have those that read, which
// read ahead: see vfs.Readahead. [Options.PlainIO] goes without them.
package sqlite
