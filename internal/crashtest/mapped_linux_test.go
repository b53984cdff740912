package crashtest

import (
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// mappedPort is where the servers are reached that listen at another port.
const mappedPort = "9999"

// maps has the machine send what others send to one port to another one, as a router or a container host does.
// What is not sent to the first one is dropped, and the machine does not reach itself by it.
func (h *host) maps(port, to string) {
	h.t.Helper()
	cmd := h.command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`
table ip mapped {
	chain before {
		type nat hook prerouting priority -100
		tcp dport ` + port + ` redirect to :` + to + `
	}
	chain in {
		type filter hook input priority 0
		iif lo accept
		tcp dport ` + to + ` ct status dnat accept
		tcp dport ` + to + ` drop
	}
}
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("nft: %v: %s", err, out)
	}
}

// get reads what the API of a server says.
func (s *set) get(addr, path string, v any) bool {
	s.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && (v == nil || json.NewDecoder(resp.Body).Decode(v) == nil)
}

// up are the servers that a server says are up, sorted.
func (s *set) up(at string) (addrs []string) {
	var answer struct {
		Servers []struct{ Address, State string }
	}
	s.get(at, "/api/v1/servers", &answer)
	for _, server := range answer.Servers {
		if server.State == "up" {
			addrs = append(addrs, server.Address)
		}
	}
	return slices.Sorted(slices.Values(addrs))
}

// told are the servers that a client is told of, sorted.
func (s *set) told(by string) (addrs []string) {
	s.t.Helper()
	cl, err := zbus.Dial(s.t.Context(), by, zbus.Options{AllServers: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	for _, server := range cl.Servers() {
		addrs = append(addrs, server.Address)
	}
	return slices.Sorted(slices.Values(addrs))
}

// conditions are what a server says is wrong with it.
func (s *set) conditions(at string) (texts []string) {
	var answer struct {
		Conditions []struct{ Text string }
	}
	s.get(at, "/api/v1/server", &answer)
	for _, c := range answer.Conditions {
		texts = append(texts, c.Text)
	}
	return texts
}

func (s *set) until(what string, so func() bool) {
	s.t.Helper()
	for limit := time.Now().Add(time.Minute); !so(); holdsFor(20 * time.Millisecond) {
		if time.Now().After(limit) {
			s.t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// advertises starts a server that advertises another address from now on.
func (s *set) advertises(i int, addr string) {
	s.t.Helper()
	p := s.servers[i]
	p.kill()
	base := p.command
	p.command = func() *exec.Cmd {
		cmd := base()
		cmd.Args = append(cmd.Args, "--advertise="+addr)
		return cmd
	}
	s.hosts[i].run("nft", "delete", "table", "ip", "mapped") // start asks at the other port whether it runs
	p.start()
	s.hosts[i].maps(mappedPort, "15555")
}

// Servers behind a mapping of ports, that are not reached where they listen: they join each other, pass on, and
// clients and browsers reach them, by what they advertise. A wrong address is explained.
func TestServersBehindMappedPorts(t *testing.T) {
	t.Parallel()
	faultreport.Scale(t, 1, 1)
	n := inNetwork(t)
	if n == nil {
		return
	}
	s := newSet(t, n, 2, mappedPort)
	for i, p := range s.servers {
		p.start()
		s.hosts[i].maps(mappedPort, "15555")
	}
	if c, err := net.DialTimeout("tcp", s.hosts[1].addr+":15555", time.Second); err == nil {
		_ = c.Close()
		t.Fatal("a server is reached where it listens: nothing is tested")
	}
	whole := func() bool { return slices.Equal(s.up(s.addrs[0]), s.addrs) && slices.Equal(s.up(s.addrs[1]), s.addrs) }
	s.until("both list both", whole)
	for _, a := range s.addrs {
		s.until("nothing is wrong", func() bool { return len(s.conditions(a)) == 0 })
		if !s.get(a, "/ui/", nil) {
			t.Errorf("no console at %s", a)
		}
	}
	s.works()
	r := faultreport.Record{Test: "set-mapped", Fault: "two servers behind mapped ports, which are reached at no other address; then with addresses that lead nowhere, to another server, or to the machine itself", Promise: "servers and clients use what is advertised, and the server says what is wrong with an address"}
	for addr, want := range map[string]string{
		s.hosts[1].addr + ":9998": "can't connect back to " + s.hosts[1].addr + ":9998, which it advertises (--advertise)",
		s.addrs[0]:                "give one of them another, with --advertise",
		"127.0.0.1:15555":         "an address of this machine alone: the server there has to be given one that others can connect to, with --advertise",
	} {
		s.advertises(1, addr)
		s.until(addr+" is explained", func() bool {
			return slices.ContainsFunc(s.conditions(s.addrs[1]), func(text string) bool { return strings.Contains(text, want) })
		})
		s.until("clients are not told of it", func() bool { return slices.Equal(s.told(s.addrs[0]), s.addrs[:1]) })
		r.Runs++
	}
	s.advertises(1, s.addrs[1])
	s.until("both list both again", whole)
	r.Add("wrong addresses, explained", r.Runs)
	r.Runs++
	r.Save(t)
}

// works uses a topic of one server by way of the other, and both with one client.
func (s *set) works() {
	s.t.Helper()
	owner, err := zbus.DialServer(s.t.Context(), s.addrs[1], zbus.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer owner.Close()
	if _, err := owner.DeclareTopic(s.t.Context(), zbus.TopicSpec{Name: "alone"}); err != nil {
		s.t.Fatal(err)
	}
	other, err := zbus.DialServer(s.t.Context(), s.addrs[0], zbus.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer other.Close()
	s.until("the other server passes on", func() bool {
		_, err := other.Publish(s.t.Context(), "alone", zbus.Message{Body: []byte("hello")})
		return err == nil
	})
	var topic struct{ Name string }
	if !s.get(s.addrs[0], "/api/v1/topics/alone", &topic) || topic.Name != "alone" {
		s.t.Errorf("over HTTP: %+v", topic)
	}
	both, err := zbus.Dial(s.t.Context(), s.addrs[0], zbus.Options{AllServers: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer both.Close()
	s.until("a client is connected to both", func() bool {
		return !slices.ContainsFunc(s.addrs, func(a string) bool { return both.Server(a) == nil || both.Server(a).Address() == "" })
	})
	if _, err := both.Publish(s.t.Context(), "alone", zbus.Message{}); err != nil {
		s.t.Error(err)
	}
}
