// Package cluster has servers know of each other. Every server is a tracker as well: it
// keeps a table of the servers that have joined it, and its clients are told of all of them.
//
// A server joins each tracker that it was told of, by a connection that it opens again for
// as long as it runs (link). It says there what it is and which topics it has. The tracker
// connects back to the address that the server has named, and lists the server while that
// connection lasts (member). The server proves there that the address is its own: it answers
// for a secret that only the one that joined knows. What the tracker knows is in memory alone:
// after a restart the servers join it again.
//
// The package knows sockets and frames, and nothing of topics but the JSON that clients read. What
// clients are told is made in package server: track.go has the commands, tracker.go who is told, and
// tracker_table.go and tracker_known.go what.
package cluster
