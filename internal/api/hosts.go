package api

import "github.com/rushmore/zbus-go/internal/auth"

// CheckHost refuses a request by the Host that it names, unless that is one of this
// server's. hosts are those of Options.
func CheckHost(host string, hosts []string) error {
	if !auth.KnownHost(host, hosts) {
		return &misdirected{"this server does not go by the name " + host + ": use its address, or start it with --advertise"}
	}
	return nil
}
