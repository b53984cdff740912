// Package wal reads the files of SQLite's write-ahead log as they lie on the disk: what is
// whole in the log, what is behind that, and what the index says that a killed process had
// written and copied. It changes nothing, opens no database, and takes no locks: the
// caller makes sure that no writer is active.
//
//	NAME-wal   | head: salts of the round | frame 1 | frame 2 | … | frames of an older round …
//	                                        `- head of 24 bytes: page, size if it ends a
//	                                           transaction, salts, running checksum; the page
//	NAME-shm   | head | the same again | how far the last checkpoint got | …
//
// A [Round] is one use of the log from its beginning. SQLite takes frames up to the first one
// whose checksum or salts do not hold, and there up to the last end of a transaction; what it
// passes over without a word is what [Scan] is for.
package wal
