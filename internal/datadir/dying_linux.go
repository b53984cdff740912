package datadir

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// dying reports whether a process is known to be on its way out: it exits, or it was sent
// SIGKILL. On a busy machine, with much memory to free, that takes seconds.
func dying(pid int) bool {
	if pid <= 0 {
		return false
	}
	const exiting = 0x4 // PF_EXITING
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, rest, _ := strings.Cut(string(text), ") ") // a name may have spaces
		if fields := strings.Fields(rest); len(fields) > 6 {
			flags, err := strconv.ParseUint(fields[6], 10, 64)
			if err == nil && flags&exiting != 0 {
				return true
			}
		}
	}
	const kill = 1 << 8 // the bit of SIGKILL
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		if pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil && pending&kill != 0 {
			return true
		}
	}
	return false
}
