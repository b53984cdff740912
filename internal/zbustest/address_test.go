package zbustest_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
)

func TestAnAddressCanBeUsedAgainAndIsNoneThatTheSystemChooses(t *testing.T) {
	addr := zbustest.FreeAddr(t)
	for range 3 {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skipf("NOT TESTED: this system does not say which ports it chooses: %v", err)
	}
	if first, err := strconv.Atoi(strings.Fields(string(own))[0]); err != nil || port >= first {
		t.Errorf("port %d, and the system chooses from %d on (%v)", port, first, err)
	}
}
