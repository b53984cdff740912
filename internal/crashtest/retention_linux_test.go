package crashtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

const (
	// short is a topic that retention keeps short. Ids are known for longer than messages
	// are there.
	short     = "short"
	shortMost = 50
	shortLoad = 1000 // messages stored at once, of which all but shortMost go
)

// trimmed are the points of retention: it writes to the log when it drops messages and keeps
// their ids, and again when what is dropped is deleted.
var trimmed = []point{
	{"retention-written", trimming, "pwrite64", logFile, 8},
	{"retention-synced", trimming, "fdatasync", logFile, 2},
}

// TestKilledWhileRetentionWorks kills the broker while messages are dropped.
func TestKilledWhileRetentionWorks(t *testing.T) {
	kills := faultreport.Scale(t, 4, 100)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("NOT TESTED: kills while retention works: %v", err)
	}
	r := faultreport.Record{
		Test: "kill-retention", Fault: "SIGKILL at a write or sync while retention drops messages",
		Promise: "no offset is missing or given twice, and the ids of dropped messages are still known",
	}
	reached, dropped := 0, 0
	p := realBroker(t, "fsync")
	p.start()
	f := &filling{process: p}
	f.must("POST", "topics", fmt.Sprintf(`{"name": %q, "retention": {"maxCount": "%d"}}`, short, shortMost))
	answered, sent := 0, 0
	// A kill can come before anything is dropped: there are more until one has not.
	for n := 0; n < kills || dropped == 0 && n < 20*kills; n++ {
		r.Runs = n + 1
		from := sent
		sent += shortLoad
		ok := false
		if p.attachAt(trimmed[n%len(trimmed)], func() { ok = p.shortMessages(from, sent) == "" }) {
			reached++
		}
		p.start()
		first, end := p.shortTopic(&r)
		dropped += first
		switch {
		case ok && end != sent, end != from && end != sent:
			r.Broken++
			t.Errorf("the topic ends at %d after %d messages of which %d were answered", end, sent, from)
		case !ok && end == from: // not stored: its messages come again
			sent = from
		}
		if answered = sent; answered == 0 {
			continue
		}
		if wrong := p.shortMessages(max(0, answered-2*shortLoad), answered); wrong != fmt.Sprint(min(answered, 2*shortLoad), " duplicates") {
			r.Broken++
			t.Errorf("messages sent again: %s", wrong)
		}
	}
	r.Add("killed while messages were dropped", reached)
	r.Add("messages stored", answered)
	r.Save(t)
	if reached == 0 || dropped == 0 {
		t.Error("nothing was at stake")
	}
}

// shortMessages stores messages whose ids are their offsets. It returns what is wrong with
// the answer: "" when all are new and where they belong.
func (p *process) shortMessages(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, `,{"id": "%d", "body": "message %d"}`, n, n)
	}
	resp, err := http.Post("http://"+p.address+"/api/v1/topics/"+short+"/messages", "application/json", strings.NewReader("["+b.String()[1:]+"]"))
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var got struct {
		Results []struct {
			ID, Offset string
			Duplicate  bool
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode/100 != 2 {
		return fmt.Sprint(resp.Status, " ", err)
	}
	again := 0
	for _, m := range got.Results {
		if m.ID != m.Offset {
			return fmt.Sprintf("%s has offset %s", m.ID, m.Offset)
		}
		if m.Duplicate {
			again++
		}
	}
	if again > 0 {
		return fmt.Sprint(again, " duplicates")
	}
	return ""
}

// shortTopic reads the topic, and returns its first offset and its end.
func (p *process) shortTopic(r *faultreport.Record) (first, end int) {
	p.t.Helper()
	first, end = -1, 0
	for _, line := range strings.Split(strings.TrimSpace(p.messagesOf(short)), "\n") {
		var offset, id, number int
		if _, err := fmt.Sscanf(line, short+" %d %d message %d", &offset, &id, &number); line != "" && (err != nil || id != offset || number != id || first >= 0 && offset != end) {
			r.Broken++
			p.t.Errorf("%q after offset %d: %v", line, end-1, err)
		}
		if line == "" {
			continue
		}
		if first < 0 {
			first = offset
		}
		end = offset + 1
	}
	return max(first, 0), end
}
