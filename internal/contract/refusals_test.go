package contract

import (
	"strings"
	"testing"
)

// refusal is a request that the contract allows and the broker has to refuse.
type refusal struct {
	method, path string
	body         any // nil: none
	status       int
	code         string
	word         string // in the detail
}

// refusals have at least one for every operation that can refuse by itself.
var refusals = []refusal{
	{"POST", "/topics", object{"name": "T"}, 409, "exists", "T"},
	{"POST", "/topics", object{"name": "t"}, 409, "exists", "T"},
	{"POST", "/topics", object{"name": "a b"}, 400, "invalid", "a b"},
	{"POST", "/topics", object{"name": ""}, 400, "invalid", "name"},
	{"POST", "/topics", object{"name": "a..b"}, 400, "invalid", "a..b"},
	{"POST", "/topics", object{"name": "~a"}, 400, "invalid", "~"},
	{"POST", "/topics", object{"name": strings.Repeat("n", 201)}, 400, "invalid", "name"},
	{"GET", "/topics/no", nil, 404, "not_found", "no"},
	{"PATCH", "/topics/no", object{}, 404, "not_found", "no"},
	{"DELETE", "/topics/no", nil, 404, "not_found", "no"},
	{"POST", "/topics/no:empty", nil, 404, "not_found", "no"},
	{"POST", "/topics/no:pause", nil, 404, "not_found", "no"},
	{"POST", "/topics/no:resume", nil, 404, "not_found", "no"},
	{"POST", "/topics/no:accept", nil, 404, "not_found", "no"},
	{"POST", "/topics/no/messages", object{}, 404, "not_found", "no"},
	{"POST", "/topics/T/messages", object{"id": ""}, 400, "invalid", "id"},
	{"POST", "/topics/T/messages", object{"id": "a\nb"}, 400, "invalid", "id"},
	{"POST", "/topics/T/messages", object{"body": "a", "bodyBase64": "YQ=="}, 400, "invalid", "bodyBase64"},
	{"POST", "/topics/T/messages", object{"bodyBase64": "%"}, 400, "invalid", "the member bodyBase64 is not base64 at character 1"},
	{"POST", "/topics/T/messages", list{object{"body": "a"}, object{"bodyBase64": "YQ=x"}}, 400, "invalid", "message 2: the member bodyBase64 is not base64 at character 3"},
	{"POST", "/messages:transaction", object{"messages": list{object{"topic": "T"}, object{"topic": "T", "bodyBase64": "YQ"}}}, 400, "invalid", "number 2 of messages: the member bodyBase64 is not base64"},
	{"POST", "/topics/T/messages", object{"headers": object{"Cookie": "c"}}, 400, "invalid", "cookie"},
	{"POST", "/topics/T/messages", object{"headers": object{"Content-Length": "1"}}, 400, "invalid", "content-length"},
	{"POST", "/topics/T/messages", object{"headers": object{"transfer-encoding": "chunked"}}, 400, "invalid", "transfer-encoding"},
	{"POST", "/topics/T/messages", object{"headers": object{"connection": "close"}}, 400, "invalid", "connection"},
	{"POST", "/topics/T/messages", object{"headers": object{"a b": "c"}}, 400, "invalid", "a b"},
	{"POST", "/topics/T/messages", object{"headers": object{"key": "c"}}, 400, "invalid", "key"},
	{"GET", "/topics/no/messages", nil, 404, "not_found", "no"},
	{"GET", "/topics/T/messages?from=1&time=1", nil, 400, "invalid", "one of them"},
	{"GET", "/topics/T/messages?time=noon", nil, 400, "invalid", "noon"},
	{"GET", "/topics/T/messages?id=none", nil, 404, "not_found", "none"},
	{"GET", "/topics/T/messages?group=no", nil, 404, "not_found", "no"},
	{"GET", "/topics/T/messages?tag=!", nil, 400, "invalid", "!"},
	{"GET", "/topics/T/messages/1", nil, 404, "not_found", "1"},
	{"GET", "/topics/T/messages/9999999999999999999", nil, 400, "invalid", "at most 9223372036854775807"},
	{"GET", "/topics/T/messages?from=9223372036854775808", nil, 400, "invalid", "at most 9223372036854775807"},
	{"GET", "/topics/no/histogram", nil, 404, "not_found", "no"},
	{"GET", "/topics/no/tags", nil, 404, "not_found", "no"},
	{"POST", "/topics/no/filters:test", object{"filter": "a"}, 404, "not_found", "no"},
	{"POST", "/topics/T/filters:test", object{"filter": "!"}, 400, "invalid", "!"},
	{"POST", "/topics/T/filters:test", object{"filter": "a", "group": "no"}, 404, "not_found", "no"},
	{"GET", "/topics/no/events", nil, 404, "not_found", "no"},
	{"GET", "/topics/T/events?group=g", nil, 400, "invalid", "explicit"},
	{"GET", "/topics/T/events?group=g&filter=a", nil, 400, "invalid", "filter"},
	{"GET", "/topics/no/groups", nil, 404, "not_found", "no"},
	{"POST", "/topics/no/groups", object{"name": "g"}, 404, "not_found", "no"},
	{"POST", "/topics/T/groups", object{"name": "g"}, 409, "exists", "g"},
	{"POST", "/topics/T/groups", object{"name": ""}, 400, "invalid", "name"},
	{"POST", "/topics/T/groups", object{"name": "~g"}, 400, "invalid", "~"},
	{"POST", "/topics/T/groups", object{"name": "h", "filter": "!"}, 400, "invalid", "!"},
	{"GET", "/topics/T/groups/no", nil, 404, "not_found", "no"},
	{"PATCH", "/topics/T/groups/no", object{}, 404, "not_found", "no"},
	{"DELETE", "/topics/T/groups/no", nil, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/no:pull", nil, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/no:ack", object{"handles": list{"0.x"}}, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/g:ack", object{"handles": list{"0.x"}}, 400, "invalid", "handle"},
	{"POST", "/topics/T/groups/no:nack", object{"handles": list{"0.x"}}, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/no:extend", object{"handles": list{"0.x"}}, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/no/plans", object{"to": "latest"}, 404, "not_found", "no"},
	{"POST", "/topics/T/groups/g/plans", object{"to": object{"messageId": "none"}}, 404, "not_found", "none"},
	{"POST", "/topics/T/groups/g/plans", object{"to": object{"time": "noon"}}, 400, "invalid", "RFC 3339"},
	{"GET", "/plans/p-none", nil, 404, "not_found", "p-none"},
	{"POST", "/plans/p-none:apply", nil, 404, "not_found", "p-none"},
	{"GET", "/topics/T/groups/no/journal", nil, 404, "not_found", "no"},
	{"GET", "/topics/T/groups/g/journal?after=x", nil, 400, "invalid", "after"},
	{"POST", "/journal/999:revert", nil, 404, "not_found", "999"},
	{"POST", "/journal/x:revert", nil, 400, "invalid", "x"},
	{"POST", "/messages:transaction", object{}, 400, "invalid", ""},
	{"POST", "/messages:transaction", object{"messages": list{object{"topic": "no"}}}, 404, "not_found", "no"},
	{"DELETE", "/sessions", nil, 400, "invalid", "at least one"},
	{"DELETE", "/sessions/none", nil, 404, "not_found", "none"},
	{"GET", "/audit?after=x", nil, 400, "invalid", "after"},
	{"POST", "/definitions", object{"topics": list{object{"name": "a b"}}}, 400, "invalid", "a b"},
	{"POST", "/definitions", object{"topics": list{object{"name": "T", "kind": "rpc"}}}, 400, "invalid", "rpc"},
}

func TestEveryOperationRefusesWithAProblem(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	for _, x := range refusals {
		var args []any
		if x.body != nil {
			args = append(args, x.body)
		}
		c.do(x.method, x.path, args...).refused(x.status, x.code, x.word)
	}
}
