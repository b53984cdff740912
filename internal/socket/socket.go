// Package socket reads and writes a TCP connection with as few system calls, and as
// little of the scheduler, as one goroutine a connection allows.
//
// A connection of package net finds out that it has read everything by reading once
// more: two reads for each request of a client that waits for its answer. And around
// each call the runtime makes ready to give the goroutine's processor to another one,
// in case that the call takes long, which reading from and writing to a socket that
// does not block never does. On Linux a [Conn] saves both; elsewhere it does what
// package net does.
//
// A read that did not fill its buffer has taken all there was, so the next one waits
// without asking first. What says that there is more to read comes once, and says it
// of bytes and of the end of the stream alike: if both were there when the bytes were
// read, the end would not be noticed. [Hangups] is told of that separately.
package socket

import (
	"net"
	"time"
)

// WatchInterval is how often a Watcher has to be asked about each peer.
const WatchInterval = 2500 * time.Millisecond

// KeepAlive is how often a peer to which there is nothing to send is asked whether it is
// there: 25 seconds after its last word it counts as vanished.
func KeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// CloseWrite ends what is sent and leaves what is received, where the connection
// can do that.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
