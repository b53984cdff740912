// Package server has the one port: it tells the protocols on it apart, serves the sessions of the
// zbus protocol, over TCP and WebSocket, and has what is around all of HTTP. The API and its own
// WebSocket are packages api and live.
//
// # A connection
//
// The first bytes decide who serves a connection ([Server.serve]): TLS is
// unwrapped and looked at again; a message with a cmd header, without a Host, or
// whose path starts with a command belongs to a zbus session; the rest is HTTP,
// WebSocket upgrades included. A session that is asked for something else
// between two messages hands the connection over to the HTTP side with the bytes
// that it has read. One parser reads a connection at any time.
//
// # A session
//
// A reader goroutine takes every frame that is in its buffer, runs the commands
// in order and hands all publishes of one read to the broker together. A writer
// goroutine takes what has queued up (replies, deliveries, routed messages),
// encodes it and sends it with one write. Replies are matched by id, so they
// leave in the order in which they become known. Nothing but the writer ever
// waits for the socket to take bytes.
package server
