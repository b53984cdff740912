package daemon

import (
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/server"
)

// reservedFiles is what the broker itself keeps open, with room to spare.
const reservedFiles = 64

// connectionBytes is what a connection takes that does nothing, with what the collector adds.
const connectionBytes = 48 << 10

// maxConnections is how many connections there may be: what is set, or else as many as there
// are files and memory for.
func maxConnections(cfg *config.Config) int {
	if cfg.MaxConnections > 0 {
		return cfg.MaxConnections
	}
	most := int(max(memoryOf(cfg)/connectionBytes, reservedFiles))
	if limit := openFiles(); limit > 2*reservedFiles {
		return int(min(limit-reservedFiles, uint64(most)))
	}
	return reservedFiles
}

// addressLimits are what the clients of one address may have. Unless it is set, an address
// has a quarter of the connections.
func addressLimits(cfg *config.Config) server.AddressLimits {
	l := server.AddressLimits{
		Connections: cfg.AddressConnections, Rate: cfg.AddressRate, Sockets: cfg.AddressSockets, Loopback: cfg.LimitLoopback, Proxies: cfg.Proxies(),
	}
	if l.Connections == 0 {
		l.Connections = max(maxConnections(cfg)/4, 1)
	}
	return l
}
