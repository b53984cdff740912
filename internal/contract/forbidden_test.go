package contract

import (
	"slices"
	"strings"
	"testing"
)

// violations are requests that the contract does not allow. Each has to be refused,
// with a text that names what is wrong.
var violations = []struct {
	method, path string
	body         any
	word         string
}{
	// Members that the contract does not have.
	{"POST", "/topics", object{"name": "x", "nam": 1}, `"nam"`},
	{"POST", "/topics", object{"name": "x", "retention": object{"maxHeight": 1}}, `"maxHeight"`},
	{"PATCH", "/topics/T", object{"name": "x"}, `"name"`},
	{"PUT", "/topics/T", object{"name": "x"}, `"name"`},
	{"PUT", "/topics/T/groups/g", object{"name": "x"}, `"name"`},
	{"PUT", "/topics/T/groups/g", object{"maxDeliver": -1}, "maxDeliver"},
	{"POST", "/topics/T/messages", object{"bdy": "x"}, `"bdy"`},
	{"POST", "/topics/T/messages", list{object{"body": "x", "ofset": 1}}, `"ofset"`},
	{"POST", "/topics/T/messages", list{object{}, object{"headers": object{"a": "b"}}, object{"ofset": 1}}, `message 3: unknown member "ofset"`},
	{"POST", "/topics/T/messages", list{object{}, nil}, "message 2"},
	{"POST", "/messages:transaction", object{"messages": list{object{"topic": "T"}, object{"topic": "T", "tga": ""}}}, `number 2 of messages: unknown member "tga"`},
	{"POST", "/messages:transaction", object{"messages": list{object{"topic": "T"}, object{"body": "x"}}}, "number 2 of messages: the member topic is missing"},
	{"POST", "/definitions?dryRun=true", object{"topics": list{object{"name": "x"}, object{"name": "y", "groups": list{object{"name": "g"}, object{"nam": "h"}}}}}, `number 2 of topics: number 2 of groups: unknown member "nam"`},
	{"POST", "/topics/T/filters:test", object{"filter": "", "lst": 1}, `"lst"`},
	{"POST", "/topics/T/groups", object{"name": "x", "cursor": "1"}, `"cursor"`},
	{"POST", "/topics/T/groups", object{"name": "x", "start": object{"ofset": "1"}}, `ofset`},
	{"PATCH", "/topics/T/groups/g", object{"start": "latest"}, `"start"`},
	{"POST", "/topics/T/groups/g:pull", object{"maximum": 1}, `"maximum"`},
	{"POST", "/topics/T/groups/g:ack", object{"handles": list{"0.x"}, "delay": 1}, `"delay"`},
	{"POST", "/topics/T/groups/g:nack", object{"handles": list{"0.x"}, "wait": 1}, `"wait"`},
	{"POST", "/topics/T/groups/g:extend", object{"handles": list{"0.x"}, "by": 1}, `"by"`},
	{"POST", "/topics/T/groups/g/plans", object{"to": "latest", "from": "1"}, `"from"`},
	{"POST", "/plans/p:apply", object{"force": true}, `"force"`},
	{"POST", "/journal/1:revert", object{"why": "x"}, `"why"`},
	{"POST", "/messages:transaction", object{"message": list{}}, `"message"`},
	{"POST", "/messages:transaction", object{"messages": list{object{"topic": "T", "bdy": ""}}}, `"bdy"`},
	{"POST", "/definitions?dryRun=true", object{"topics": list{object{"name": "x", "grups": list{}}}}, `"grups"`},
	{"POST", "/definitions?dryRun=true", object{"topics": list{object{"name": "x", "groups": list{object{"name": "x", "ackWindow": 10_001}}}}}, "10000"},
	{"POST", "/definitions?dryRun=true", object{"topics": list{object{"name": "x", "groups": list{object{"name": "x", "maxDeliver": -1}}}}}, "1048576"},
	{"POST", "/definitions?dryRun=true", object{"topics": list{object{"kind": "log"}}}, "name"},
	{"POST", "/definitions?dryRun=true", object{}, "topics"},
	{"POST", "/definitions?dryRun=yes", object{"topics": list{}}, "dryRun"},
	{"POST", "/topics", object{"Name": "x"}, "Name"},
	{"POST", "/topics/T/messages", object{"Body": "x"}, "Body"},
	// Members that are missing.
	{"POST", "/topics", object{}, "name"},
	{"POST", "/topics/T/groups", object{"filter": "a"}, "name"},
	{"POST", "/topics/T/filters:test", object{}, "filter"},
	{"POST", "/topics/T/groups/g:ack", object{}, "handles"},
	{"POST", "/topics/T/groups/g/plans", object{}, "to"},
	{"POST", "/messages:transaction", object{"messages": list{object{"body": "x"}}}, "topic"},
	{"POST", "/messages:transaction", object{"acks": list{object{"topic": "T", "group": "g"}}}, "handles"},
	{"POST", "/messages:transaction", object{"relocations": list{object{"topic": "T", "group": "g"}}}, "to"},
	// Wrong types, and null, which nothing here can be.
	{"POST", "/topics", object{"name": 5}, "name"},
	{"POST", "/topics", list{}, "array"},
	{"POST", "/topics", object{"name": "x", "retention": object{"maxCount": 5}}, "maxCount"},
	{"POST", "/topics/T/messages", "text", "string"},
	{"POST", "/topics/T/messages", list{nil}, "null"},
	{"POST", "/topics/T/messages", object{"body": nil}, "body"},
	{"POST", "/topics/T/messages", object{"headers": object{"a": 1}}, "headers"},
	{"PATCH", "/topics/T", object{"retention": object{"maxAge": nil}}, "maxAge"},
	{"PATCH", "/topics/T/groups/g", object{"paused": "yes"}, "paused"},
	{"PATCH", "/topics/T/groups/g", object{"filter": nil}, "filter"},
	{"POST", "/topics/T/groups/g/plans", object{"to": 5}, "to"},
	{"POST", "/topics/T/groups/g/plans", object{"to": object{"offset": "+5"}}, "offset"},
	{"POST", "/topics/T/groups/g/plans", object{"to": object{"earliest": false}}, "to"},
	{"POST", "/topics/T/groups/g/plans", object{"to": object{"offset": "1", "time": 1}}, "one of"},
	{"POST", "/topics/T/groups/g/plans", object{"to": "middle"}, "middle"},
	{"GET", "/topics/T/messages?fates=yes", nil, "fates"},
	{"GET", "/topics/T/messages?from=-1", nil, "from"},
	{"GET", "/topics/T/messages?from=%2B1", nil, "from"},
	{"GET", "/topics/T/messages?limit=many", nil, "limit"},
	{"GET", "/topics/T/messages/one", nil, "offset"},
	{"GET", "/topics/T/histogram?to=x", nil, "to"},
	// Words that are not among those there are.
	{"GET", "/stats?range=1y", nil, "1y"},
	{"GET", "/topics/T/stats?range=1y", nil, "1y"},
	{"GET", "/topics/T/groups/g/stats?range=1y", nil, "1y"},
	{"GET", "/topics?kind=queue", nil, "queue"},
	{"POST", "/topics", object{"name": "x", "kind": "queue"}, "queue"},
	{"GET", "/topics/T/messages?dir=up", nil, "up"},
	{"GET", "/topics/T/histogram?axis=x", nil, "axis"},
	{"GET", "/sessions?protocol=udp", nil, "udp"},
	{"DELETE", "/sessions?protocol=udp", nil, "udp"},
	{"POST", "/topics/T/groups", object{"name": "x", "settle": "maybe"}, "maybe"},
	// Out of range.
	{"GET", "/topics?limit=0", nil, "limit"},
	{"GET", "/topics?limit=1001", nil, "limit"},
	{"GET", "/rpc?limit=0", nil, "limit"},
	{"GET", "/rpc?limit=1001", nil, "limit"},
	{"GET", "/topics/T/groups?limit=1001", nil, "limit"},
	{"GET", "/topics/T/groups/g/journal?limit=0", nil, "limit"},
	{"GET", "/sessions?limit=0", nil, "limit"},
	{"GET", "/audit?limit=-1", nil, "limit"},
	{"GET", "/topics/T/messages?limit=1001", nil, "limit"},
	{"GET", "/topics/T/histogram?buckets=0", nil, "buckets"},
	{"GET", "/topics/T/histogram?buckets=501", nil, "buckets"},
	{"GET", "/topics/T/tags?last=100001", nil, "last"},
	{"GET", "/topics/T/tags?last=0", nil, "last"},
	{"POST", "/topics/T/filters:test", object{"filter": "", "last": 0}, "last"},
	{"POST", "/topics/T/messages", list{}, "empty"},
	{"POST", "/topics/T/groups", object{"name": "x", "ackTimeout": 0}, "ackTimeout"},
	{"POST", "/topics/T/groups", object{"name": "x", "ackTimeout": 86_400_001}, "86400000"},
	{"POST", "/topics/T/groups", object{"name": "x", "ackWindow": 10_001}, "10000"},
	{"POST", "/topics/T/groups", object{"name": "x", "maxDeliver": -1}, "1048576"},
	{"PATCH", "/topics/T/groups/g", object{"maxDeliver": 1_048_577}, "1048576"},
	{"POST", "/topics", object{"name": "x", "retention": object{"maxAge": -1}}, "maxAge"},
	{"POST", "/topics", object{"name": "x", "retention": object{"maxBytes": "-1"}}, "maxBytes"},
	{"POST", "/topics/T/groups/g:pull", object{"max": 1001}, "1000"},
	{"POST", "/topics/T/groups/g:pull", object{"timeout": 60_001}, "60000"},
	{"POST", "/topics/T/groups/g:ack", object{"handles": list{}}, "handles"},
	{"POST", "/topics/T/groups/g:nack", object{"handles": list{"0.x"}, "delay": -1}, "delay"},
	{"POST", "/topics/T/groups/g/plans", object{"to": "latest", "examples": 101}, "examples"},
	{"POST", "/topics/T/groups/g/plans", object{"to": "latest", "tolerance": "-1"}, "tolerance"},
	{"POST", "/messages:transaction", object{"acks": slices.Repeat(list{object{"topic": "T", "group": "g", "handles": list{"0.x"}}}, 1001)}, "1000"},
	// Too long.
	{"POST", "/topics/T/messages", object{"id": strings.Repeat("i", 129)}, "128"},
	{"POST", "/topics/T/messages", object{"tag": strings.Repeat("t", 128)}, "127"},
	{"POST", "/topics/T/messages", object{"key": strings.Repeat("k", 257)}, "256"},
	{"POST", "/topics/T/messages", make([]struct{}, 10_001), "10000"},
	{"POST", "/topics/T/groups", object{"name": "x", "filter": strings.Repeat("f", 1025)}, "1024"},
	{"POST", "/topics/T/filters:test", object{"filter": "", "current": strings.Repeat("f", 1025)}, "1024"},
	{"PATCH", "/topics/T/groups/g", object{"reason": strings.Repeat("r", 501)}, "reason"},
	{"POST", "/plans/p:apply", object{"reason": strings.Repeat("r", 501)}, "reason"},
	{"POST", "/journal/1:revert", object{"reason": strings.Repeat("r", 501)}, "reason"},
	{"DELETE", "/sessions/none?reason=" + strings.Repeat("r", 501), nil, "reason"},
}

func TestWhatTheContractForbidsIsRefused(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	before := c.get("/topics/T").str("groups.0.version")
	for _, x := range violations {
		args := []any{forbidden}
		if x.body != nil {
			args = append(args, x.body)
		}
		t.Run(x.method+" "+x.path[:min(len(x.path), 60)]+" "+x.word, func(t *testing.T) {
			r, err := c.try(x.method, x.path, args...)
			if err != nil {
				t.Fatal(err)
			}
			r.t = t
			r.refused(400, "invalid", x.word)
		})
	}
	c.get("/topics").is("total", 1)
	c.get("/topics/T").is("nextOffset", 1, "groups.0.version", before, "groups.1", nil)
}
