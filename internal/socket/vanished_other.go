//go:build !linux

package socket

import (
	"net"
	"time"
)

// Peer is the other end of a connection. Here only keepalive watches it.
type Peer struct{}

// NewPeer is the peer of a connection.
func NewPeer(net.Conn) Peer { return Peer{} }

// Watcher finds no peers that have vanished here.
type Watcher struct{}

// NewWatcher creates a Watcher.
func NewWatcher() *Watcher { return &Watcher{} }

// Vanished reports false.
func (w *Watcher) Vanished(*Peer, time.Time) bool { return false }
