//go:build !linux

package daemon

import "time"

// uptime would tell how long the machine has been running; nil: it is not known.
func uptime() func() (boot string, up time.Duration) { return nil }
