package cluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// event is the body of a track_pub.
func event(t *testing.T, address string, live bool) []byte {
	t.Helper()
	info := cluster.ServerInfo{ServerAddress: cluster.Address{Address: address}, InfoVersion: 1 << 52, TrackerList: []cluster.Address{}, TopicTable: map[string]cluster.TopicInfo{"false": {}}}
	body, err := json.Marshal(map[string]any{"serverInfo": info, "live": live})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const forged = "a proof that no server has ever had"

// A server is what answers at its address for what it said: nobody can list another, change
// what another has said, or take it out.
func TestNobodySpeaksForAnotherServer(t *testing.T) {
	t.Parallel()
	all := set(t, 2)
	list := addrs(all)
	subscribe(t, list[0]).until(list...)
	alone := zbustest.Start(t)
	other, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing of itself
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	c := connect(t, list[0])
	for _, x := range []struct {
		address string
		live    bool
		status  int
		text    string
	}{
		{list[1], true, 503, "another server has this address"},
		{list[1], false, 200, ""}, // and nothing happens
		{alone.Addr, true, 503, "another server has this address"},
		{other.Addr().String(), true, 503, "can't connect back"},
		{"127.0.0.1:1", true, 503, "can't connect back"},
		{list[0], true, 400, "is the address of this server"},
		{"169.254.169.254:80", true, 400, "link-local"},
	} {
		if m := c.ask("track_pub", event(t, x.address, x.live), "proof", forged); m.Status != x.status || !strings.Contains(string(m.Body), x.text) {
			t.Errorf("%+v: %d %s", x, m.Status, m.Body)
		}
	}
	if m := c.ask("track_pub", event(t, alone.Addr, true)); m.Status != 400 {
		t.Errorf("without a proof: %d %s", m.Status, m.Body)
	}
	now := table(t, c.ask("tracker", nil))
	if got := names(now); !slices.Equal(got, slices.Sorted(slices.Values(list))) {
		t.Errorf("the table has %q, want %q", got, list)
	}
	if _, forged := now.ServerTable[list[1]].TopicTable["false"]; forged {
		t.Error("the table has what another said")
	}
}

func TestServersThatAreNotReachedAreFew(t *testing.T) {
	t.Parallel()
	b := zbustest.Start(t)
	c := connect(t, b.Addr)
	const most = 32
	for i := range most {
		if m := c.ask("track_pub", event(t, fmt.Sprintf("127.0.0.1:%d", i+1), true), "proof", forged); m.Status != 503 || !strings.Contains(string(m.Body), "can't connect back") {
			t.Fatalf("%d: %d %s", i, m.Status, m.Body)
		}
	}
	if m := c.ask("track_pub", event(t, "127.0.0.1:99", true), "proof", forged); m.Status != 503 || !strings.Contains(string(m.Body), "too many servers") {
		t.Errorf("one more: %d %s", m.Status, m.Body)
	}
}

// A tracker that takes connections and never answers, and one that is not there, are nothing
// to the broker.
func TestTrackerThatIsSlowHoldsUpNothing(t *testing.T) {
	t.Parallel()
	slow, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	b := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{slow.Addr().String(), "127.0.0.1:1"} })
	c := connect(t, b.Addr)
	began := time.Now()
	for i := range 20 {
		c.ok("declare", "topic", fmt.Sprint("t", i))
		c.ok("produce", "topic", fmt.Sprint("t", i))
	}
	if took := time.Since(began); took > soon {
		t.Errorf("20 topics and messages took %s", took)
	}
	began = time.Now()
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("the stop took %s", took)
	}
}

// request makes a request to the API, as the administrator once there is one.
func request(t *testing.T, addr, method, path, body string, admin bool) (v map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if admin {
		req.SetBasicAuth("boss", "a good password")
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, answer)
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return v
}

// guard gives a broker an administrator, and an account with a grant, whose token it returns.
func guard(t *testing.T, b *zbustest.Broker, name, grant string, first bool) (token string) {
	t.Helper()
	if first {
		request(t, b.Addr, "POST", "/accounts", `{"name":"boss","password":"a good password","roles":["admin"]}`, false)
	}
	request(t, b.Addr, "POST", "/accounts", `{"name":"`+name+`","grants":["`+grant+`"]}`, true)
	return request(t, b.Addr, "POST", "/tokens", `{"account":"`+name+`"}`, true)["token"].(string)
}

func TestWhereAccessIsOnJoiningNeedsTheGrant(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	join := guard(t, tracker, "servers", "join", true)
	narrow := guard(t, tracker, "reader", "consume:open.#", false)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(join+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := connect(t, tracker.Addr)
	if m := c.ask("track_pub", event(t, "127.0.0.1:1", true), "proof", forged); m.Status != 401 && m.Status != 403 {
		t.Errorf("without a token: %d %s", m.Status, m.Body)
	}
	if m := connect(t, tracker.Addr).ask("track_pub", event(t, "127.0.0.1:1", true), "proof", forged, "token", narrow); m.Status != 403 || !strings.Contains(string(m.Body), "join") {
		t.Errorf("without the grant: %d %s", m.Status, m.Body)
	}
	server := zbustest.Start(t, func(c *config.Config) { c.Trackers, c.TrackerTokenFile = []string{tracker.Addr}, file })
	owner := connect(t, server.Addr)
	owner.ok("declare", "topic", "open.a")
	owner.ok("declare", "topic", "secret")
	has := func(token string, topics ...string) func() bool {
		return func() bool {
			m := connect(t, tracker.Addr).ask("tracker", nil, "token", token)
			var got []string
			for name := range table(t, m).ServerTable[server.Addr].TopicTable {
				got = append(got, name)
			}
			slices.Sort(got)
			return slices.Equal(got, topics)
		}
	}
	full := guard(t, tracker, "watcher", "observe", false)
	eventually(t, "who may see everything sees both topics", has(full, "open.a", "secret"))
	eventually(t, "who may see one sees that one", has(narrow, "open.a"))
	// A server whose token is revoked leaves the table, though it runs on.
	id, _, _ := strings.Cut(strings.TrimPrefix(join, "zb_"), "_")
	ask(t, tracker.Addr, "DELETE", "/tokens/"+id, "", "Authorization", "Basic Ym9zczphIGdvb2QgcGFzc3dvcmQ=")
	eventually(t, "the server is no longer listed", func() bool {
		m := connect(t, tracker.Addr).ask("tracker", nil, "token", full)
		_, listed := table(t, m).ServerTable[server.Addr]
		return !listed
	})
}
