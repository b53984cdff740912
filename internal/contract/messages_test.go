package contract

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

func TestPublishedMessageComesBackAsItWasGiven(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	one := c.post("/topics/T/messages", object{
		"id": "m-1", "tag": "a.b", "key": "k", "headers": object{"Trace": "7"}, "body": "text",
	}).want(201)
	one.is("offset", 0, "count", 1, "duplicate", nil, "results.0.id", "m-1", "results.0.offset", 0)
	c.get("/topics/T/messages/0").is(
		"id", "m-1", "tag", "a.b", "key", "k", "headers.trace", "7", "body", "text", "size", 4, "bodyBase64", nil, "truncated", nil)

	raw := base64.StdEncoding.EncodeToString([]byte{0xff, 0, 0xfe})
	c.post("/topics/T/messages", object{"bodyBase64": raw}).want(201).is("offset", 1)
	c.get("/topics/T/messages/1").is("bodyBase64", raw, "body", nil, "tag", nil, "key", nil, "size", 3)
}

func TestPublishSaysWhatTheMessageSurvives(t *testing.T) {
	for durability, mode := range map[string]config.Durability{
		"fsync": config.Fsync, "relaxed": config.Relaxed,
	} {
		c := start(t, func(c *config.Config) { c.Durability = mode }).client(t)
		c.post("/topics", object{"name": "T"}).want(201)
		c.post("/topics", object{"name": "M", "kind": "memory"}).want(201)
		c.post("/topics/T/messages", object{"id": "x"}).want(201).is("durability", durability)
		c.post("/topics/T/messages", object{"id": "x"}).want(200).is("durability", durability)
		c.post("/topics/T/messages", lines(`{"body":"1"}`)).want(201).is("durability", durability)
		c.post("/topics/M/messages", object{"body": "1"}).want(201).is("durability", "memory")
		c.get("/server").is("durability", durability)
	}
}

func TestKnownIdIsNotStoredAgain(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	first := c.post("/topics/T/messages", object{"id": "x", "body": "1"}).want(201)
	again := c.post("/topics/T/messages", object{"id": "x", "body": "2"}).want(200)
	again.is("duplicate", true, "offset", 0, "results.0.time", first.str("results.0.time"))
	c.post("/topics/T/messages", list{object{"id": "x"}, object{"id": "y"}}).want(201).
		is("results.0.duplicate", true, "results.0.offset", 0, "results.1.duplicate", nil, "results.1.offset", 1, "count", 2)
	c.get("/topics/T").is("nextOffset", 2)
}

func TestArrayIsStoredAllOrNothing(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", list{object{"body": "a"}, object{"body": "b", "bodyBase64": "Yg=="}}).
		refused(400, "invalid", "message 2", "bodyBase64")
	c.get("/topics/T").is("nextOffset", 0)
	c.post("/topics/T/messages", list{object{"body": "a"}, object{"body": "b"}}).want(201).is("results.1.offset", 1)
}

func TestLinesAreStoredAndAWrongOneIsNamed(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	many := strings.Repeat(`{"body":"x"}`+"\n", 2500)
	c.post("/topics/T/messages", lines(many)).want(201).is("count", 2500, "offset", 2499-499)
	c.get("/topics/T").is("nextOffset", 2500)

	bad := c.post("/topics/T/messages", lines(`{"body":"1"}`+"\n\n"+`{"body":"2"}`+"\n"+`{"bdy":"3"}`+"\n"+`{"body":"4"}`))
	bad.refused(400, "invalid", "line 4", `"bdy"`).is("stored", 2)
	c.post("/topics/T/messages", lines(many+`{"tag":5}`)).refused(400, "invalid", "line 2501", "tag").is("stored", 2500)
	c.get("/topics/T").is("nextOffset", 5002)
	c.post("/topics/T/messages", lines(`{"id":"a"}`)).want(201)
	c.post("/topics/T/messages", lines(`{"id":"a"}`)).want(200).is("duplicate", true, "offset", 5002)
	c.post("/topics/T/messages", lines(`{"id":""}`)).refused(400, "invalid", "line 1").is("stored", 0)
	c.post("/topics/T/messages", lines("\n"+many+" \r\n\n"+`{}`+"\n\n"+`{"id":""}`)).refused(400, "invalid", "line 2506: ").is("stored", 2000)
}

func TestLineOverTheLimitIsRefusedAsABodyIs(t *testing.T) {
	c := start(t, func(cfg *config.Config) { cfg.MaxBody = 4 << 10 }).client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	fits := `{"body":"` + text(4<<10) + `"}` + "\n"
	long := text(100 << 10)
	c.post("/topics/T/messages", lines(fits+"\n"+fits+`{"body":"`+long)).refused(413, "too_large", "line 4", "8192").is("stored", 2)
	c.post("/topics/T/messages", lines(long+"\n"+fits)).refused(413, "too_large", "line 1", "8192").is("stored", 0)
	c.post("/topics/T/messages", lines(strings.Repeat(" ", 8192-len(fits))+fits)).want(201)
	c.post("/topics/T/messages", lines(strings.Repeat(" ", 8192-len(fits)+2)+fits)).refused(413, "too_large", "line 1")
}

func TestLineWithoutAnEndTakesNoMoreRoomThanABody(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+b.addr+base+"/topics/T/messages", in)
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		wire := &http.Transport{}
		defer wire.CloseIdleConnections()
		if resp, err := wire.RoundTrip(req); err == nil {
			answered <- resp
			_ = resp.Body.Close()
		}
		_ = in.Close()
	}()
	part := bytes.Repeat([]byte("x"), 1<<20)
	for range 79 {
		if _, err := out.Write(part); err != nil {
			break // it has been answered
		}
	}
	select {
	case resp := <-answered:
		if resp == nil || resp.StatusCode != 413 {
			t.Errorf("got %v, want 413", resp)
		}
	case <-time.After(patience):
		t.Error("a line of 79 MiB is waited for")
	}
	c.post("/topics/T/messages", object{"body": "x"}).want(201)
}

func TestBrowsingShowsMessagesByEveryCondition(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/groups", object{"name": "g", "filter": "a.*", "start": "earliest"}).want(201)
	stored := c.post("/topics/T/messages", list{
		object{"id": "m0", "tag": "a.x", "body": "red"},
		object{"id": "m1", "tag": "b.x", "body": "green", "headers": object{"h": "1"}},
		object{"id": "m2", "tag": "a.y", "body": "blue", "headers": object{"h": "2"}},
		object{"id": "m3", "body": "grey"},
	}).want(201)
	for _, x := range []struct{ query, want string }{
		{"", "m0 m1 m2 m3"},
		{query("from", "2"), "m2 m3"},
		{query("dir", "prev"), "m3 m2 m1 m0"},
		{query("dir", "prev", "from", "1"), "m1 m0"},
		{query("id", "m2"), "m2 m3"},
		{query("time", stored.str("results.0.time")), "m0 m1 m2 m3"},
		{query("time", "1"), "m0 m1 m2 m3"},
		{query("tag", "a.*;b.*"), "m0 m1 m2"},
		{query("text", "gre"), "m1 m3"},
		{query("header", "h"), "m1 m2"},
		{query("header", "h=2"), "m2"},
		{query("group", "g"), "m0 m2"},
		{query("limit", "2"), "m0 m1"},
		{query("from", "99"), ""},
	} {
		r := c.get("/topics/T/messages" + x.query)
		if got := strings.Join(r.each("messages", "id"), " "); got != x.want {
			t.Errorf("%s: got %s, want %s", x.query, got, x.want)
		}
		r.is("firstOffset", 0, "nextOffset", 4)
	}
	c.get("/topics/T/messages"+query("limit", "2")).is("more", true, "scannedTo", 2, "scanned", 2)
	c.get("/topics/T/messages"+query("from", "2")).is("more", false, "scannedTo", 4)
	c.get("/topics/T/messages"+query("fates", "true")).is("messages.0.fates.0.fate", "pending", "messages.1.fates.0.fate", "filtered")
}

func TestMessageTellsItsFateInEveryGroup(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", list{object{"tag": "a.x"}, object{"tag": "a.y"}, object{"tag": "b"}, object{"tag": "a.z"}}).want(201)
	c.post("/topics/T/groups", object{"name": "e", "settle": "explicit", "filter": "a.*", "start": "earliest"}).want(201)
	c.post("/topics/T/groups", object{"name": "late", "start": "latest"}).want(201)
	taken := c.post("/topics/T/groups/e:pull", object{"max": 2, "timeout": 5000}).want(200)
	c.post("/topics/T/groups/e:ack", object{"handles": list{taken.str("deliveries.0.handle")}}).want(200)
	for offset, want := range map[string]string{"0": "settled", "1": "inFlight", "2": "filtered", "3": "pending"} {
		r := c.get("/topics/T/messages/" + offset)
		r.is("fates.0.group", "e", "fates.0.fate", want, "fates.1.group", "late", "fates.1.fate", "beforeCursor")
		if want == "filtered" {
			r.is("fates.0.part", 1, "fates.0.pattern", "a.*")
		}
	}
	c.post("/topics/T/groups/e:nack", object{"handles": list{taken.str("deliveries.1.handle")}, "delay": 60_000}).want(200)
	c.get("/topics/T/messages/1").is("fates.0.fate", "returned", "fates.0.deliveries", 1)
}

func TestHistogramAndTagsCountTheLog(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.get("/topics/T/histogram").is("axis", "offset")
	var some list
	for i := range 30 {
		some = append(some, object{"tag": []string{"a", "b", ""}[i%3]})
	}
	c.post("/topics/T/messages", some).want(201)
	for _, axis := range []string{"offset", "time"} {
		h := c.get("/topics/T/histogram" + query("axis", axis, "buckets", "7", "filter", "a", "from", "3", "to", "27"))
		total, matched := int64(0), int64(0)
		for i := range h.list("buckets") {
			at := "buckets." + string(rune('0'+i)) + "."
			total += h.num(at + "count")
			if h.at(at+"matched") != nil {
				matched += h.num(at + "matched")
			}
		}
		if total != 24 || matched != 8 {
			t.Errorf("%s: %d messages, %d matched; want 24 and 8: %s", axis, total, matched, h.raw)
		}
		if n := len(c.get("/topics/T/histogram" + query("axis", axis, "buckets", "100")).list("buckets")); n > 30 {
			t.Errorf("%s: %d buckets for 30 messages", axis, n)
		}
	}
	if got := c.get("/topics/T/histogram"+query("buckets", "20")).each("buckets", "count"); strings.Join(got, " ") != strings.TrimSpace(strings.Repeat("2 ", 15)) {
		t.Errorf("buckets of %q messages, want 2 each", got)
	}
	tags := c.get("/topics/T/tags" + query("last", "29"))
	tags.is("scanned", 29, "distinct", 3)
	names := tags.each("tags", "tag")
	slices.Sort(names)
	if !slices.Equal(names, []string{"", "a", "b"}) {
		t.Errorf("tags %q", names)
	}
}

func TestLargeBodiesAreCutInListsOnly(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	long := strings.Repeat("é", 5000)
	c.post("/topics/T/messages", object{"body": long}).want(201)
	brief := c.get("/topics/T/messages")
	brief.is("messages.0.truncated", true, "messages.0.size", 10_000)
	if got := brief.str("messages.0.body"); !strings.HasPrefix(long, got) || len(got) < 1000 {
		t.Errorf("a body of %d bytes in the list", len(got))
	}
	c.get("/topics/T/messages/0").is("body", long, "truncated", nil)
}

func TestTransactionDoesAllOrNothing(t *testing.T) {
	c := startClient(t)
	for _, name := range []string{"in", "out"} {
		c.post("/topics", object{"name": name}).want(201)
	}
	c.post("/topics/in/messages", list{object{}, object{}, object{}}).want(201)
	c.post("/topics/in/groups", object{"name": "w", "settle": "explicit", "start": "earliest"}).want(201)
	c.post("/topics/in/groups", object{"name": "r", "start": "latest"}).want(201)
	handle := c.post("/topics/in/groups/w:pull", object{"timeout": 5000}).want(200).str("deliveries.0.handle")
	move := object{"topic": "in", "group": "r", "to": object{"offset": "1"}, "reason": "again"}
	ack := object{"topic": "in", "group": "w", "handles": list{handle}}
	message := object{"topic": "out", "id": "o-1", "body": "done"}

	c.post("/messages:transaction", object{
		"messages": list{message}, "acks": list{object{"topic": "in", "group": "w", "handles": list{"0.0.0"}}}, "relocations": list{move},
	}).refused(400, "invalid", "handle")
	for _, twice := range []object{
		{"acks": list{ack, ack}},
		{"relocations": list{move, move}},
		{"acks": list{ack}, "relocations": list{object{"topic": "in", "group": "w", "to": "latest"}}},
	} {
		c.post("/messages:transaction", twice).refused(400, "invalid", "name each group once")
	}
	c.get("/topics/out").is("nextOffset", 0)
	c.get("/topics/in/groups/r").is("cursor", 3)

	done := c.post("/messages:transaction", object{"messages": list{message}, "acks": list{ack}, "relocations": list{move}}).want(200)
	done.is("messages.0.id", "o-1", "messages.0.offset", 0, "acks", 1, "relocations.0.kind", "relocate",
		"relocations.0.from", 3, "relocations.0.to", 1, "relocations.0.reason", "again")
	c.get("/topics/out/messages/0").is("body", "done")
	c.get("/topics/in/groups/w").is("cursor", 1, "inFlight", 0)
	c.get("/topics/in/groups/r").is("cursor", 1)
}

func TestBodyOfAFormsTypeIsJSON(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	// As curl -d sends it. The contract has no forms.
	form := header{"Content-Type", "application/x-www-form-urlencoded"}
	c.post("/topics/T/messages", object{"body": "x"}, form, anyway).want(201)
	c.get("/topics/T/messages/0").is("body", "x")
	c.post("/topics/T/messages", object{"body": "x"}, header{"Content-Type", "text/xml"}, anyway).refused(415, "invalid", "application/json")
}

// A page with fates is large when there are many groups: it ends before that, and goes
// on where it says.
func TestPageWithTheFatesOfManyGroupsIsCut(t *testing.T) {
	t.Parallel()
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	const groups, messages, most = 40, 400, 3 << 20
	for i := range groups {
		c.post("/topics/T/groups", object{"name": strings.Repeat("g", 190) + strconv.Itoa(i), "start": "earliest"}).want(201)
	}
	c.post("/topics/T/messages", make([]struct{}, messages)).want(201)
	for _, dir := range []string{"next", "prev"} {
		var all []string
		pages := 0
		for q, more := query("fates", "true", "limit", "1000", "dir", dir), true; more; pages++ {
			r := c.get("/topics/T/messages" + q)
			if n := len(r.raw); n > most {
				t.Fatalf("%s: an answer of %d bytes", dir, n)
			}
			page := r.each("messages", "offset")
			if n := len(r.list("messages.0.fates")); n != groups {
				t.Fatalf("%s: %d fates, want %d", dir, n, groups)
			}
			r.is("scanned", len(page))
			all, more = append(all, page...), r.at("more") == true
			q = query("fates", "true", "limit", "1000", "dir", dir, "from", r.str("scannedTo"))
		}
		if dir == "prev" {
			slices.Reverse(all)
		}
		for i, offset := range all {
			if offset != strconv.Itoa(i) || len(all) != messages {
				t.Fatalf("%s: message %d of %d is %s", dir, i, len(all), offset)
			}
		}
		if pages < 2 || pages > 20 {
			t.Errorf("%s: %d pages", dir, pages)
		}
	}
	one := c.get("/topics/T/messages" + query("fates", "true", "limit", "10"))
	if n := len(one.list("messages")); n != 10 {
		t.Errorf("%d messages, want 10", n)
	}
}

// A large body of control characters would be six times as large as text.
func TestALargeBodyThatSwellsAsTextIsBase64(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	for _, body := range [][]byte{make([]byte, 2<<20), bytes.Repeat([]byte("<"), 2<<20), bytes.Repeat([]byte("x<\n"), 1<<20), make([]byte, 1<<20)} {
		c.post("/topics/T/messages", object{"bodyBase64": body}).want(201)
	}
	for offset, want := range []string{"bodyBase64", "bodyBase64", "bodyBase64", "body"} {
		r := c.get(fmt.Sprint("/topics/T/messages/", offset))
		if _, ok := r.value.(map[string]any)[want]; !ok {
			t.Errorf("message %d has no %s", offset, want)
		}
	}
}

// Large bodies are answered in pieces, which nothing shows.
func TestALargeBodyComesWhole(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	texts := []string{strings.Repeat("aä€😀\"\\\n", 150_000), strings.Repeat("€", 1<<20)}
	for _, text := range texts {
		c.post("/topics/T/messages", object{"body": text, "tag": "a", "headers": object{"trace": "7"}}).want(201)
	}
	raw := make([]byte, 1<<20+1)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	c.post("/topics/T/messages", object{"bodyBase64": raw}).want(201)
	for offset, text := range texts {
		c.get(fmt.Sprint("/topics/T/messages/", offset)).
			is("body", text, "size", len(text), "tag", "a", "headers.trace", "7", "truncated", nil, "bodyBase64", nil)
	}
	c.get("/topics/T/messages/2").is("bodyBase64", base64.StdEncoding.EncodeToString(raw), "size", len(raw), "body", nil)
}
