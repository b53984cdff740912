// Package zbus is the client of zbus, a message queue and RPC broker in one
// binary on one port, with its messages in SQLite.
//
// A broker is layers that import one way: sockets and HTTP (internal/server)
// speak frames (internal/wire) and call topics and consume groups
// (internal/broker), which keep what they know in a store (internal/storage).
// Nothing points back: news travels up through values handed in, and only
// internal/daemon knows everybody. An answer is given after the commit that it
// promises, never before.
package zbus
