package contract

import "testing"

// A provider of the native protocol answers what callers of the API ask for.
func TestServicesAreListedAndCalled(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/rpc/calc/add", list{1, 2}).refused(503, "unavailable", "calc")
	c.post("/topics", object{"name": "log"}).want(201)
	c.do("GET", "/rpc/log").refused(404, "not_found", "log")
	c.post("/rpc/log", object{"method": "add"}).refused(400, "invalid", "log")

	p := b.native(t)
	p.send("declare topic=calc id=d")
	p.next()
	p.send("consume topic=calc id=c window=10")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for range 2 {
			call := p.next()
			_, err := p.Write([]byte("GET / HTTP/1.1\r\ncmd: route\r\nrecver: " + call.Get("sender") + "\r\nid: " + call.Get("origin_id") +
				"\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"result\":3}"))
			if err != nil {
				t.Error(err)
			}
		}
	}()
	eventually(t, "the provider is there", func() bool {
		return c.get("/rpc/calc").want(200).str("topic") == "calc" && c.get("/topics/calc").num("consumers") == 1
	})
	if got := string(c.post("/rpc/calc/add", list{1, 2}).want(200).raw); got != "3" && got != "3\n" {
		t.Errorf("the result is %q", got)
	}
	c.post("/rpc/calc", object{"method": "add", "params": list{1, 2}}).want(200).is("result", 3)
	<-answered
	c.get("/rpc").want(200).is("total", 1, "services.0.topic", "calc")
}
