package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// vanishedLimit is how long a client whose network has gone may hold messages.
const vanishedLimit = 30 * time.Second

// networks runs a broker in a network of its own, to which two cables lead. It returns
// the address of the broker on each and a function that pulls the second.
func networks(t *testing.T) (good, doomed string, pull func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	ip := func(args string) error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	}
	id := os.Getpid() % 50_000
	space := fmt.Sprintf("zbus%d", id)
	if err := ip("netns add " + space); err != nil {
		t.Skipf("NOT TESTED: no network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := ip("netns del " + space); err != nil { // and the cables with it
			t.Error(err)
		}
	})
	var ours, theirs [2]string
	for i := range ours {
		a, b := fmt.Sprintf("zb%d%c", id, 'a'+i), fmt.Sprintf("zc%d%c", id, 'a'+i)
		prefix := fmt.Sprintf("10.%d.%d.", 100+id/250, id%250)
		ours[i], theirs[i] = prefix+fmt.Sprint(4*i+1), prefix+fmt.Sprint(4*i+2)
		for _, args := range []string{
			"link add " + a + " type veth peer name " + b + " netns " + space,
			"addr add " + ours[i] + "/30 dev " + a, "link set " + a + " up",
			"-n " + space + " addr add " + theirs[i] + "/30 dev " + b, "-n " + space + " link set " + b + " up",
		} {
			if err := ip(args); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := command(t, nil, "--listen="+theirs[0]+":15555,"+theirs[1]+":15555", "--insecure")
	cmd.Args = append([]string{"ip", "netns", "exec", space}, cmd.Args...)
	cmd.Path = must(exec.LookPath("ip"))
	start(t, cmd)
	return theirs[0] + ":15555", theirs[1] + ":15555", func() {
		if err := ip(fmt.Sprintf("link set zb%db down", id)); err != nil {
			t.Fatal(err)
		}
	}
}

func must(path string, err error) string {
	if err != nil {
		return ""
	}
	return path
}

// Two consumers vanish: one that has been sent a message since, which cannot be
// acknowledged, and one that has not. What they hold goes to others in time. A third
// one, which does not read, is there all the while and stays.
func TestWhatAVanishedConsumerHoldsGoesToOthersWithin30Seconds(t *testing.T) {
	t.Parallel()
	good, doomed, pull := networks(t)
	admin := dial(t, good, false)
	send := func(c net.Conn, request string) {
		t.Helper()
		say(t, c, request)
		hear(t, c, "HTTP/1.1 200 OK\r\n")
		hear(t, c, "\r\n\r\n")
	}
	fill(t, good, "Large")
	for _, topic := range []string{"idle", "busy"} {
		// Explicit, with an ack timeout that is not what helps.
		send(admin, native("declare", "topic: "+topic, "consume_group: g", "group_mask: 64", "group_ack_timeout: 600000"))
		send(admin, native("produce", "topic: "+topic))
	}
	var gone []net.Conn
	for _, topic := range []string{"idle", "busy"} {
		c := dial(t, doomed, false)
		send(c, native("consume", "topic: "+topic, "consume_group: g", "window: 10", "id: c"))
		gone = append(gone, c)
	}
	lazy := dial(t, good, false)
	say(t, lazy, native("consume", "topic: Large", "window: 10", "id: c"))
	unread(t, lazy)

	record := faultreport.Record{
		Test: "vanished-consumers", Fault: "the cable of two consumers is pulled, one idle and one that was being sent a message",
		Promise: "what they hold goes to others within 30 s; a consumer that only does not read stays", Runs: 1,
	}
	pull()
	began := time.Now()
	send(admin, native("produce", "topic: busy"))
	for _, topic := range []string{"idle", "busy"} {
		c := dial(t, good, false)
		say(t, c, native("consume", "topic: "+topic, "consume_group: g", "window: 10", "id: c"))
		_ = c.SetReadDeadline(began.Add(2 * vanishedLimit))
		var text strings.Builder
		want := map[string]int{"idle": 1, "busy": 2}[topic]
		for one := make([]byte, 1); strings.Count(text.String(), "\r\n\r\n") < want; {
			if _, err := io.ReadFull(c, one); err != nil {
				t.Fatalf("%s: %v after %s, heard %q", topic, err, time.Since(began), text.String())
			}
			text.Write(one)
		}
		took := time.Since(began)
		record.Add(topic+", s", fmt.Sprintf("%.1f", took.Seconds()))
		if took > vanishedLimit {
			record.Broken++
		}
	}
	for _, c := range gone {
		_ = c.Close()
	}
	// Longer than any limit above has this one not read.
	time.Sleep(time.Until(began.Add(vanishedLimit + 5*time.Second)))
	_ = lazy.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.CopyN(io.Discard, lazy, 16<<20); err != nil {
		t.Errorf("a consumer that did not read for a while was cut: %v", err)
		record.Broken++
	}
	record.Save(t)
}
