package zbustest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports below those that systems hand out to sockets that ask for any.
const (
	lowest = 11_000
	many   = 20_000
)

// FreeAddr is a free address of this machine for a server that is started there again. No connection and no
// listener gets its port by chance while the server is away, as happens with ports that the system chose.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := FindAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// FindAddr is FreeAddr where there is no test at hand.
func FindAddr() (addr string, err error) {
	for range 1000 {
		addr = fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(many))
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err == nil {
			return addr, ln.Close()
		}
	}
	return "", fmt.Errorf("no port is free: %w", err)
}
