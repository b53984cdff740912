package crashtest

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// network is a bridge with hosts, each in a network namespace of its own. The process of the test
// is moved into the one of the bridge: see inNetwork.
type network struct {
	t    *testing.T
	hub  string
	addr string // of the bridge, where the clients are
}

// hubVariable names the namespace to the process that runs in it.
const hubVariable = "ZBUS_TEST_HUB"

// inNetwork runs the test once more, in a process inside of a network of its own, and returns that
// network there. In the process that everything begins in it returns nil, when the other has
// ended.
func inNetwork(t *testing.T) *network {
	t.Helper()
	if hub := os.Getenv(hubVariable); hub != "" {
		return &network{t: t, hub: hub, addr: "10.213.0.254"}
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil || os.Getuid() != 0 {
			t.Skip("network namespaces need root, ip and nft")
		}
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(t.Name())) // others may run at the same time
	hub := fmt.Sprintf("zbus-%d-%x", os.Getpid(), sum.Sum32())
	run(t, "ip", "netns", "add", hub)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", hub).Run() })
	within := func(args ...string) { run(t, "ip", append([]string{"netns", "exec", hub}, args...)...) }
	within("ip", "link", "set", "lo", "up")
	within("ip", "link", "add", "bridge", "type", "bridge")
	within("ip", "addr", "add", "10.213.0.254/24", "dev", "bridge")
	within("ip", "link", "set", "bridge", "up")
	again := exec.Command("ip", "netns", "exec", hub, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=0")
	again.Env = append(os.Environ(), hubVariable+"="+hub)
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return nil
}

// run runs a command that has to work.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// host is a machine of the network.
type host struct {
	t     *testing.T
	space string
	addr  string
	cable string // the end in the hub
}

// host adds a machine, with a number from 1.
func (n *network) host(number int) *host {
	n.t.Helper()
	h := &host{t: n.t, space: fmt.Sprintf("%s-%d", n.hub, number), addr: fmt.Sprintf("10.213.0.%d", number), cable: fmt.Sprintf("host%d", number)}
	run(n.t, "ip", "netns", "add", h.space)
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.space).Run() })
	run(n.t, "ip", "link", "add", h.cable, "type", "veth", "peer", "name", "net", "netns", h.space)
	run(n.t, "ip", "link", "set", h.cable, "master", "bridge", "up")
	h.run("ip", "addr", "add", h.addr+"/24", "dev", "net")
	h.run("ip", "link", "set", "net", "up")
	h.run("ip", "link", "set", "lo", "up")
	h.heal()
	return h
}

// command runs inside of the machine.
func (h *host) command(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", h.space}, args...)...)
}

func (h *host) run(args ...string) {
	h.t.Helper()
	if out, err := h.command(args...).CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// pull pulls the cable of the machine, or puts it back: nothing comes in or out without it.
func (h *host) pull(out bool) {
	h.t.Helper()
	run(h.t, "ip", "link", "set", h.cable, map[bool]string{true: "down", false: "up"}[out])
}

// rules are those of the machine's firewall, in place of the ones before. Each is about packets
// that come in.
func (h *host) rules(rules ...string) {
	h.t.Helper()
	text := "add table inet cut\ndelete table inet cut\ntable inet cut { chain in { type filter hook input priority 0;\n" + strings.Join(rules, "\n") + "\n}\n}\n"
	cmd := h.command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("nft: %v: %s\n%s", err, out, text)
	}
}

// heal lets everything through.
func (h *host) heal() { h.rules() }

// deaf drops all that comes from an address.
func deaf(addr string) string { return "ip saddr " + addr + " drop" }

// lossy drops a share of all packets, in percent.
func lossy(percent int) string { return fmt.Sprintf("numgen random mod 100 < %d drop", percent) }
