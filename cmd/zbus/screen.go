package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
)

// writeScreen tells a person at a terminal what runs where, how safe it is and
// what to try first. That it cannot be written is no reason to stop a broker.
func writeScreen(w io.Writer, cfg *config.Config, r daemon.Ready) {
	addrs := r.Addrs
	urls := make([]string, len(addrs))
	for i, a := range addrs {
		urls[i] = scheme(cfg) + a.String()
	}
	fmt.Fprintf(w, `zbus %s
listening   %s
data        %s
durability  %s
access      %s
`, version(), strings.Join(urls, "  "), dataText(cfg), durabilityText(cfg), accessText(r))
	if len(addrs) > 0 {
		at := scheme(cfg) + reachable(addrs[0])
		if r.Setup != "" {
			fmt.Fprintf(w, "setup       %s/ui/setup#%s\n            sets the first administrator; good for 15 minutes\n", at, r.Setup)
			fmt.Fprint(w, "stop        Ctrl-C\n")
			return
		}
		fmt.Fprintf(w, `
publish     curl %[1]s/declare/hello && curl -d 'a first message' %[1]s/produce/hello
consume     curl '%[1]s/consume/hello?timeout=1000'
`, at)
	}
	fmt.Fprint(w, "stop        Ctrl-C\n")
}

// dataText is where the messages are.
func dataText(cfg *config.Config) string {
	if cfg.Store != "" {
		return postgres.Describe(cfg.Store)
	}
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		data = cfg.Data
	}
	return fmt.Sprintf("%s (%s)", data, formatBytes(diskUsage(cfg.Data)))
}

func accessText(r daemon.Ready) string {
	if r.Open {
		return "off: all clients may do everything; zbus account add --admin NAME turns it on"
	}
	return "on"
}

func durabilityText(cfg *config.Config) string {
	switch {
	case cfg.Store != "" && cfg.Durability == config.Relaxed:
		return "relaxed: an answered publish survives a killed broker; a crash of the database may cost the last moments"
	case cfg.Store != "":
		return "an answered publish is as durable as the database's standbys make it: zbus store check"
	}
	if cfg.Durability == config.Relaxed {
		return fmt.Sprintf("relaxed: an answered publish survives a killed process; power loss may cost the last %s",
			cfg.SyncInterval)
	}
	return "fsync: an answered publish survives power loss"
}

func scheme(cfg *config.Config) string {
	if cfg.TLS() {
		return "https://"
	}
	return "http://"
}

// reachable is an address to use on this machine: a broker that listens
// everywhere also listens on the loopback interface.
func reachable(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return a.String()
	}
	return fmt.Sprintf("127.0.0.1:%d", at.Port())
}

// diskUsage is the size of the files in a directory, in bytes. What cannot be
// read counts as nothing: the number only informs.
func diskUsage(dir string) (total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
	}
	return total
}

func formatBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if f /= 1 << 10; f < 1<<10 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f TiB", f/(1<<10))
}
