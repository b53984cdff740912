package daemon

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// uptime returns a function that tells how long the machine has been running, the time
// that it slept included, and in which of its boots; nil if the system does not say.
func uptime() func() (boot string, up time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	boot := strings.TrimSpace(string(id))
	var ts unix.Timespec
	if err != nil || boot == "" || unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return nil
	}
	return func() (string, time.Duration) {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it worked before
		return boot, time.Duration(ts.Nano())
	}
}
