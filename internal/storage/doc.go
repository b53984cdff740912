// Package storage is the contract between the broker and whatever keeps its
// messages, and the group-commit [Writer] that works on any such [Store].
//
// # Model
//
// A topic is an append-only log. Its messages carry offsets 0, 1, 2, … without
// holes; an offset is never given twice. The log starts at Topic.First: what
// lies below was dropped by retention or by emptying the topic, and its rows
// are deleted later, in small steps ([Purge]).
//
// A group is a cursor into one topic. Every offset below Group.Cursor is
// settled (consumed, filtered out or moved elsewhere). Offsets in
// [Cursor, Read) were handed to a consumer at least once; those of them that
// are settled already are listed in Group.Settled. Messages that came back, and
// those that are in flight for another time, have a [Parked] row with their
// delivery count. Without one a message there was delivered once.
//
// # Changes
//
// Every change is a value of type [Op]. [Store.Commit] takes a list of them
// and makes them durable in one transaction; a single bad one fails alone.
// [Syncer.Sync] then makes the commit survive a power loss. Nothing is answered,
// announced or delivered before that.
package storage
