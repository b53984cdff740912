package contract

import (
	"strconv"
	"testing"
)

func TestNamesMayHaveColonsTildesAndDots(t *testing.T) {
	c := startClient(t)
	for _, name := range []string{"a:empty", "a:b:pull", "x~y.z-1:", ":pause", "a:messages:empty"} {
		t.Run(name, func(t *testing.T) {
			c := &client{t, c.http, c.addr}
			// Colons may be escaped or not; what follows the last one is the action.
			for _, written := range []string{name, escaped(name)} {
				topic := "/topics/" + written
				made := c.post("/topics", object{"name": name}).want(201)
				if where := made.header.Get("Location"); c.get("/"+where).str("name") != name {
					t.Errorf("Location %q", where)
				}
				c.post(topic+"/messages", list{object{"body": "a"}, object{"body": "b"}}).want(201)
				c.get(topic).is("name", name, "depth", 2)
				group := topic + "/groups/" + written
				c.post(topic+"/groups", object{"name": name, "settle": "explicit", "start": "earliest"}).want(201)
				c.get(group).is("name", name, "topic", name)
				taken := c.post(group+":pull", object{"timeout": 5000}).want(200)
				c.post(group+":ack", object{"handles": list{taken.str("deliveries.0.handle")}}).want(200)
				plan := c.post(group+"/plans", object{"to": "earliest"}).want(201)
				c.post("/plans/"+plan.str("id")+":apply").want(200).is("group.name", name, "group.cursor", 0)
				c.get(group+"/journal").is("entries.0.kind", "relocate")
				c.get(topic+"/messages/1").is("body", "b")
				c.post(topic+":pause").want(200).is("name", name, "paused", true)
				c.post(topic+":resume").want(200).is("paused", false)
				c.post(topic+":empty").want(200).is("name", name, "depth", 0)
				c.do("DELETE", group).want(204)
				c.do("DELETE", topic).want(204)
			}
		})
	}
	c.post("/topics", object{"name": "a"}).want(201)
	c.post("/topics/a/messages", object{}).want(201)
	c.do("GET", "/topics/a:empty", anyway).refused(405, "not_found", "Topic(a:empty) not found", "use POST")
	c.get("/topics/a").is("depth", 1)
}

// escaped writes a name with every colon and tilde escaped.
func escaped(name string) (s string) {
	for _, r := range name {
		if r == ':' || r == '~' {
			s += "%" + strconv.FormatInt(int64(r), 16)
		} else {
			s += string(r)
		}
	}
	return s
}
