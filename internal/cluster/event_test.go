package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// golden is what a server sends, and what clients are given of it.
var golden = ServerInfo{
	ServerAddress: Address{"10.0.0.1:15555", false}, ServerVersion: "1.2", InfoVersion: 1796041300265000, TrackerList: []Address{},
	TopicTable: map[string]TopicInfo{
		"a/b": {
			TopicName: "a/b", Mask: 2, MessageDepth: 7, ConsumerCount: 3, CreatedTime: 1, LastUpdatedTime: 2,
			ServerAddress: Address{"10.0.0.1:15555", false}, ServerVersion: "1.2",
			ConsumeGroupList: []GroupInfo{
				{TopicName: "a/b", GroupName: `g"1`, Mask: 64, Filter: "x.*", MessageCount: 5, Estimated: true, Cursor: 2, InFlight: 1, AckTimeout: 30000, ConsumerCount: 3, ConsumerList: []string{"10.0.0.9:1"}, CreatedTime: 3, LastUpdatedTime: 4},
				{TopicName: "a/b", GroupName: "none", ConsumerList: []string{}},
			},
		},
		"empty": {TopicName: "empty", ConsumeGroupList: []GroupInfo{}, ServerAddress: Address{"10.0.0.1:15555", false}, ServerVersion: "1.2"},
	},
}

func text(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decoded(t *testing.T, body []byte) ServerInfo {
	t.Helper()
	var s ServerInfo
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return s
}

func TestEventIsPassedOnAsItCame(t *testing.T) {
	e, err := decode([]byte(`{"live":true,"certificate":null,"error":null,"serverInfo":`+string(text(t, golden))+`}`), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !e.live || e.info.Address != golden.ServerAddress || e.info.Version != "1.2" || e.info.Revision != golden.InfoVersion || e.info.Topics() != 2 {
		t.Errorf("%+v", e)
	}
	if got := decoded(t, e.info.Body); !reflect.DeepEqual(got, golden) {
		t.Errorf("\n got %+v\nwant %+v", got, golden)
	}
	// Who may see one topic is given that one.
	want := golden
	for _, name := range []string{"a/b", "empty", ""} {
		want.TopicTable = map[string]TopicInfo{}
		if topic, ok := golden.TopicTable[name]; ok {
			want.TopicTable[name] = topic
		}
		part := e.info.Append([]byte("+"), func(topic string) bool { return topic == name })
		if got := decoded(t, part[1:]); !reflect.DeepEqual(got, want) {
			t.Errorf("only %q:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

// Clients of the original walk lists unchecked, and publish to the server of a topic.
func TestWhatAnEventLacksIsNotNull(t *testing.T) {
	e, err := decode([]byte(`{"serverInfo":{"serverAddress":{"address":"h:1"},"trackerList":null,"other":[1,{}],
		"topicTable":{"t":{"serverAddress":{"address":"elsewhere:2"},"consumeGroupList":[{"groupName":"g","consumerList":null}]},"u":{"consumeGroupList":null},"v":null}},"live":true}`), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(e.info.Body, []byte("null")) || bytes.Contains(e.info.Body, []byte("elsewhere")) {
		t.Errorf("%s", e.info.Body)
	}
	for name, topic := range decoded(t, e.info.Body).TopicTable {
		if topic.TopicName != name || topic.ServerAddress.Address != "h:1" || topic.ConsumeGroupList == nil {
			t.Errorf("%s: %+v", name, topic)
		}
	}
}

func TestEventThatIsNoneIsRefused(t *testing.T) {
	info := func(address string) string {
		return `{"live":true,"serverInfo":{"serverAddress":{"address":"` + address + `"}}}`
	}
	for body, want := range map[string]string{
		"": "not an event", "{": "not an event", "[]": "must be an object", "1": "must be an object", `{"live":1}`: "not an event",
		"{}": "must be HOST:PORT", "null": "must be HOST:PORT", `{"serverInfo":null}`: "must be HOST:PORT",
		info("h"): "must be HOST:PORT", info(":1"): "must be HOST:PORT", info("h:0"): "must be HOST:PORT", info("h:65536"): "must be HOST:PORT",
		info("h/x:1"): "must be HOST:PORT", info(strings.Repeat("h", 254) + ":1"): "must be HOST:PORT",
		info("169.254.169.254:80"): "link-local", info("[fe80::1]:80"): "link-local", info("[fe80::1%eth0]:80"): "link-local",
		info("[::ffff:169.254.1.1]:80"): "link-local", info("0.0.0.0:80"): "unspecified", info("224.0.0.1:80"): "multicast", info("255.255.255.255:80"): "multicast",
		`{"serverInfo":{"serverAddress":{"address":"h:1"},"infoVersion":9007199254740992}}`:                         "infoVersion",
		`{"serverInfo":{"topicTable":{},"serverAddress":{"address":"h:1"}}}`:                                        "serverAddress: must come before",
		`{"serverInfo":{"serverAddress":{"address":"h:1"},"serverVersion":"a\u0000"}}`:                              "serverVersion",
		`{"serverInfo":{"serverAddress":{"address":"h:1"},"topicTable":{"t":{"consumeGroupList":{}}}}}`:             "must be a list",
		`{"serverInfo":{"serverAddress":{"address":"h:1"},"topicTable":{"t":{"consumeGroupList":[{"mask":"x"}]}}}}`: "not an event",
	} {
		if _, err := decode([]byte(body), 1<<20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// What a short text says may be long when it is written out: it is counted then.
func TestEventThatGrowsIsRefused(t *testing.T) {
	const limit = 64 << 10
	head := `{"live":true,"serverInfo":{"serverAddress":{"address":"h:1"},"topicTable":{`
	var topics strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&topics, `,"%d":{}`, i)
	}
	for name, body := range map[string]string{
		"groups": head + `"t":{"consumeGroupList":[{}` + strings.Repeat(`,{}`, 1000) + `]}}}}`,
		"topics": head + topics.String()[1:] + `}}}`,
	} {
		if len(body) > limit/4 {
			t.Fatalf("%s: %d bytes are too many for this test", name, len(body))
		}
		_, err := decode([]byte(body), limit)
		if no := (*Refusal)(nil); err == nil || !strings.Contains(err.Error(), "larger than what can be kept") {
			t.Errorf("%s: %v %v", name, err, no)
		}
	}
}

func FuzzEvent(f *testing.F) {
	body, _ := json.Marshal(golden)
	f.Add([]byte(`{"live":true,"serverInfo":` + string(body) + `}`))
	f.Add([]byte(`{"live":true,"serverInfo":{"serverAddress":{"address":"h:1"},"topicTable":{"t":{"consumeGroupList":[{}]},"t":null}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		const limit = 1 << 16
		e, err := decode(body, limit)
		if err != nil {
			return
		}
		if len(e.info.Body) > 2*limit || !json.Valid(e.info.Body) {
			t.Errorf("%d bytes: %s", len(e.info.Body), e.info.Body)
		}
		if all := e.info.Append(nil, func(string) bool { return true }); !bytes.Equal(all, e.info.Body) {
			t.Errorf("\n%s\n%s", all, e.info.Body)
		}
		if part := e.info.Append(nil, func(topic string) bool { return len(topic)%2 == 0 }); !json.Valid(part) {
			t.Errorf("%s", part)
		}
	})
}

// The same topics in another order are no news: their order is that of a map.
func TestOrderOfTopicsIsNoNews(t *testing.T) {
	server := golden
	server.TopicTable = map[string]TopicInfo{}
	body := func(topics string) []byte {
		info := text(t, TrackerInfo{ServerTable: map[string]ServerInfo{"a": server}})
		return bytes.Replace(info, []byte(`"topicTable":{}`), []byte(`"topicTable":{`+topics+`}`), 1)
	}
	x := `"x":{"mask":0,"consumerCount":1,"consumeGroupList":[{"groupName":"g"}]}`
	y := `"y":{"mask":2,"consumerCount":3}`
	shapes := map[uint64]bool{}
	for _, topics := range []string{x + "," + y, y + "," + x} {
		all, err := decodeTable(body(topics), 1<<20, nil, nil)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		shapes[all[0].shape] = true
	}
	if len(shapes) != 1 {
		t.Error("the same topics in another order look changed")
	}
	for _, topics := range []string{x, strings.Replace(x, `"g"`, `"h"`, 1) + "," + y} {
		if all, err := decodeTable(body(topics), 1<<20, nil, nil); err != nil || shapes[all[0].shape] {
			t.Errorf("other topics look the same: %v", err)
		}
	}
}

// Of a table that comes again only what has changed is read, whichever tracker has told it first.
func TestServersThatHaveNotChangedAreTheSame(t *testing.T) {
	second := golden
	second.ServerAddress.Address, second.InfoVersion = "10.0.0.2:15555", 7
	encode := func(unchanged ...string) []byte {
		info := TrackerInfo{Unchanged: unchanged, ServerTable: map[string]ServerInfo{"b": second}}
		if len(unchanged) == 0 {
			info.ServerTable["a"] = golden
		}
		return text(t, info)
	}
	before, err := decodeTable(encode(), 1<<20, nil, nil)
	if err != nil || len(before) != 2 {
		t.Fatal(before, err)
	}
	second.InfoVersion++
	second.TopicTable = map[string]TopicInfo{"new": {TopicName: "new"}}
	known := map[edition]*Info{{before[0].Address, before[0].Revision}: before[0]}
	for _, unchanged := range [][]string{nil, {golden.ServerAddress.Key()}} {
		after, err := decodeTable(encode(unchanged...), 1<<20, before, known)
		if err != nil || len(after) != 2 || after[0] != before[0] || after[1] == before[1] {
			t.Fatalf("%+v, %v", after, err)
		}
		if _, ok := after[1].Topic("new"); !ok || after[1].Topics() != 1 {
			t.Errorf("%+v", after[1])
		}
		// They count for the limit as before.
		if _, err := decodeTable(encode(unchanged...), len(before[0].Body), before, known); err == nil {
			t.Error("more than the limit is kept")
		}
		known = nil // what is named alone is found without
	}
	if _, err := decodeTable(encode("10.0.0.3:15555"), 1<<20, before, nil); err == nil {
		t.Error("a server that was never told is unchanged")
	}
}
