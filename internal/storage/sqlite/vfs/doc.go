// Package vfs is how SQLite reads and writes the files of a store: the system's own file
// system of SQLite with some of its functions replaced by ours, one file system a connection.
// Whatever shares memory with the C code that SQLite was, or knows its libc, is here.
//
//	connection    file system      replaces                   so that
//	writes        [WALWriter]      log: write, sync, …        a commit's frames are one write
//	                               database: lock             the write lock is taken once
//	copies        [CheckpointIO]   log: read                  it is read in chunks of 64 KiB
//	                               database: write, control   pages that follow are one write
//	reads         [Readahead]      database: read, lock       pages that follow are one read
//	all           [FS]             read, write                errors of the disk are called so
//
// Each of them leaves the bytes in the files, and their order, as SQLite has them: a store
// can be opened without them at any time.
package vfs
