package contract

import (
	"fmt"
	"testing"
)

func TestBodiesAreReadByTheirMediaType(t *testing.T) {
	c := startClient(t)
	for i, kind := range []string{
		"", "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8", "application/x-www-form-urlencoded",
	} {
		c.post("/topics", object{"name": fmt.Sprint("T", i)}, anyway, header{"Content-Type", kind}).want(201)
	}
	for _, kind := range []string{"application/jsonfoo", "text/plain", "application/json; charset=latin1", "json", "multipart/form-data; boundary=x", ";"} {
		c.post("/topics", object{"name": "no"}, anyway, header{"Content-Type", kind}).refused(415, "invalid", "")
	}
	for _, coding := range []string{"gzip", "br", "identity, gzip"} {
		c.post("/topics", object{"name": "no"}, anyway, header{"Content-Encoding", coding}).refused(415, "invalid", "encoded as")
	}
	c.post("/topics", object{"name": "plain"}, anyway, header{"Content-Encoding", "Identity"}).want(201)
	c.do("GET", "/topics/no").refused(404, "not_found", "")
}

func TestLinesMayBeginWithAMarkAndEndInCRLF(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.do("POST", "/topics/T/messages", lines("\ufeff{\"body\":\"a\"}\r\n\r\n{\"body\":\"b\"}\r\n"), anyway).want(201)
	c.do("POST", "/topics/T/messages", lines("{\"body\":\"a\"}\n\ufeff{\"body\":\"b\"}\n"), anyway).refused(400, "invalid", "line 2: it begins with a byte order mark")
	c.get("/topics/T").is("depth", "3")
}
