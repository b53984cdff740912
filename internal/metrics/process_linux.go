package metrics

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ticks is how many of the units in which Linux shows times to programs are a second.
const ticks = 100

// writeProcess writes the series of this process, under the names of Prometheus' own client.
// What the system does not tell is left out.
func writeProcess(w text) {
	writeStat(w)
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		w.single("process_open_fds", gauge, "File descriptors that are open.", float64(len(all)))
	}
	for _, f := range []struct {
		name, help string
		resource   int
	}{
		{"process_max_fds", "File descriptors that may be open at a time.", syscall.RLIMIT_NOFILE},
		{"process_virtual_memory_max_bytes", "Address space that the process may have.", syscall.RLIMIT_AS},
	} {
		var limit syscall.Rlimit
		if syscall.Getrlimit(f.resource, &limit) == nil {
			w.single(f.name, gauge, f.help, float64(limit.Cur))
		}
	}
	if in, out, ok := network(); ok {
		w.single("process_network_receive_bytes_total", counter, "What its network namespace has received.", in)
		w.single("process_network_transmit_bytes_total", counter, "What its network namespace has sent.", out)
	}
}

// The fields of /proc/self/stat, counted from the one behind the name.
const (
	statUser, statSystem, statStart, statVirtual, statResident = 11, 12, 19, 20, 21
)

func writeStat(w text) {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	// The name is in parentheses, and may have any character.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) <= statResident {
		return
	}
	number := func(i int) float64 { n, _ := strconv.ParseFloat(fields[i], 64); return n }
	w.single("process_cpu_seconds_total", counter, "Processor time, for the process and for the system on its behalf.", (number(statUser)+number(statSystem))/ticks)
	w.single("process_virtual_memory_bytes", gauge, "Address space of the process.", number(statVirtual))
	w.single("process_resident_memory_bytes", gauge, "Memory of the process that is in RAM.", number(statResident)*float64(os.Getpagesize()))
	if boot, ok := bootTime(); ok {
		w.single("process_start_time_seconds", gauge, "When the process started, in Unix time.", boot+number(statStart)/ticks)
	}
}

// bootTime is when the system was started, in seconds of Unix time.
func bootTime() (seconds float64, ok bool) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		if _, err := fmt.Sscanf(line, "btime %f", &seconds); err == nil {
			return seconds, true
		}
	}
	return 0, false
}

// network is how many bytes the network namespace of the process has received and sent.
func network() (in, out float64, ok bool) {
	raw, err := os.ReadFile("/proc/self/net/netstat")
	if err != nil {
		return 0, 0, false
	}
	var names []string
	for line := range strings.Lines(string(raw)) {
		values := strings.Fields(line)
		if len(values) == 0 || values[0] != "IpExt:" {
			continue
		}
		if names == nil { // the values are on the next such line
			names = values
			continue
		}
		for i := range min(len(names), len(values)) {
			n, err := strconv.ParseFloat(values[i], 64)
			switch {
			case err != nil:
			case names[i] == "InOctets":
				in, ok = n, true
			case names[i] == "OutOctets":
				out = n
			}
		}
	}
	return in, out, ok
}
