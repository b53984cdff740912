package contract

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// pages goes through all pages of a list of total entries and gives one member of
// each entry. path ends with the limit.
func (c *client) pages(path, list, member string, total int) (all []string) {
	c.t.Helper()
	limit := atoi(path[strings.LastIndex(path, "=")+1:])
	for next, more := "", true; more; {
		r := c.get(path + next)
		page := r.each(list, member)
		if all = append(all, page...); len(page) > limit {
			c.t.Errorf("%s: %d at once", path, len(page))
		}
		if r.at("total") != nil {
			r.is("total", total)
		}
		if more = r.at("next") != nil; more {
			next = "&after=" + r.str("next")
		}
	}
	return all
}

func TestPagesListEverythingOnce(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 0)
	for i := range 10 {
		c.post("/topics", object{"name": "t" + strconv.Itoa(i)}).want(201)
		c.post("/topics/T/groups", object{"name": "h" + strconv.Itoa(i)}).want(201)
		c.do("PATCH", "/topics/T/groups/g", object{"filter": strconv.Itoa(i)}).want(200)
		n := b.native(t)
		n.send("server id=1")
		n.next()
	}
	for _, x := range []struct {
		path, list, id string
		want           int
	}{
		{"/topics?", "topics", "name", 11},
		{"/topics?name=T&kind=log&", "topics", "name", 11},
		{"/topics?name=9&", "topics", "name", 1},
		{"/topics?kind=rpc&", "topics", "name", 0},
		{"/topics/T/groups?", "groups", "name", 11},
		{"/topics/T/groups?name=h&", "groups", "name", 10},
		{"/topics/T/groups/g/journal?", "entries", "id", 11},
		{"/sessions?protocol=tcp&", "sessions", "id", 10},
		{"/audit?action=topic.create&", "entries", "id", 11},
		{"/audit?target=t/H3&", "entries", "id", 1},
	} {
		for _, limit := range []string{"1", "4", "5", "1000"} {
			all := c.pages(x.path+"limit="+limit, x.list, x.id, x.want)
			seen := map[string]bool{}
			for _, id := range all {
				seen[id] = true
			}
			if len(all) != x.want || len(seen) != x.want {
				t.Errorf("%slimit=%s: got %q, want %d different ones", x.path, limit, all, x.want)
			}
		}
	}
	c.do("GET", "/topics?after=zzz").want(200).is("total", 11, "topics.0", nil)
}

func TestETagGuardsAgainstLostUpdates(t *testing.T) {
	c := startClient(t)
	made := c.post("/topics", object{"name": "T"}).want(201)
	group := c.post("/topics/T/groups", object{"name": "g"}).want(201)
	for path, x := range map[string]struct {
		first *reply
		patch object
	}{
		"/topics/T":          {made, object{"retention": object{"maxCount": "9"}}},
		"/topics/T/groups/g": {group, object{"paused": true}},
	} {
		old := x.first.header.Get("ETag")
		if got := c.get(path).header.Get("ETag"); got != old {
			t.Errorf("%s: the ETag is %s and was %s when it was made", path, got, old)
		}
		c.post("/topics/T/messages", object{}).want(201) // not a change of the definition
		now := c.do("PATCH", path, x.patch, header{"If-Match", old}).want(200).header.Get("ETag")
		if now == old || now != c.get(path).header.Get("ETag") {
			t.Errorf("%s: the ETag was %s and is %s", path, old, now)
		}
		c.do("PATCH", path, x.patch, header{"If-Match", old}).refused(412, "precondition_failed")
		c.do("DELETE", path, header{"If-Match", old}).refused(412, "precondition_failed")
		c.do("PATCH", path, x.patch, header{"If-Match", now}).want(200)
		c.do("PATCH", path, x.patch, header{"If-Match", "*"}).want(200)
	}
	plan := c.post("/topics/T/groups/g/plans", object{"to": "earliest"}).want(201)
	seen := c.get("/topics/T/groups/g").header.Get("ETag")
	c.post("/plans/" + plan.str("id") + ":apply").want(200)
	c.do("DELETE", "/topics/T/groups/g", header{"If-Match", seen}).refused(412, "precondition_failed")
	c.do("DELETE", "/topics/T/groups/g", header{"If-Match", c.get("/topics/T/groups/g").header.Get("ETag")}).want(204)
	c.do("DELETE", "/topics/T", header{"If-Match", c.get("/topics/T").header.Get("ETag")}).want(204)
}

// Another topic or group of the same name is not what was seen, whether the broker was
// restarted in between or not.
func TestETagIsOfOneGroupAndOfOneTopicOnly(t *testing.T) {
	b := start(t)
	c := b.client(t)
	create := func() {
		c.post("/topics", object{"name": "T"}).want(201)
		c.post("/topics/T/groups", object{"name": "g"}).want(201)
	}
	create()
	seen := map[string]string{}
	for _, path := range []string{"/topics/T", "/topics/T/groups/g"} {
		seen[path] = c.get(path).header.Get("ETag")
	}
	plan := c.post("/topics/T/groups/g/plans", object{"to": "latest"}).want(201)
	plan.is("version", c.get("/topics/T/groups/g").str("version"))
	b = b.restart(t)
	c = b.client(t)
	for path, tag := range seen {
		if now := c.get(path).header.Get("ETag"); now != tag {
			t.Errorf("%s: the ETag was %s and is %s after a restart", path, tag, now)
		}
	}
	c.do("DELETE", "/topics/T/groups/g", header{"If-Match", seen["/topics/T/groups/g"]}).want(204)
	for _, restart := range []bool{false, true} {
		if restart { // with nothing left that has the number of the old ones
			b = b.restart(t)
			c = b.client(t)
		}
		c.do("DELETE", "/topics/T").want(204)
		create()
		for path, tag := range seen {
			c.do("PATCH", path, object{}, header{"If-Match", tag}).refused(412, "precondition_failed")
			c.do("DELETE", path, header{"If-Match", tag}).refused(412, "precondition_failed")
			c.get(path).want(200)
		}
	}
}

func TestJournalIsFilteredPageByPage(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 3)
	group := "/topics/T/groups/g"
	for i := range 5 {
		c.do("PATCH", group, object{"filter": "f" + strconv.Itoa(i)}).want(200)
		if i%2 == 0 {
			plan := c.post(group+"/plans", object{"to": object{"offset": strconv.Itoa(i % 3)}}).want(201)
			c.post("/plans/" + plan.str("id") + ":apply").want(200)
		}
	}
	all := c.get(group + "/journal")
	for kind, want := range map[string]int{"create": 1, "filter": 5, "relocate": 3, "empty": 0, "revert": 0} {
		var ids []string
		for pages, after := 0, ""; ; pages++ {
			path := group + "/journal" + query("kind", kind, "limit", "2")
			if after != "" {
				path += "&after=" + after
			}
			r := c.get(path)
			ids = append(ids, r.each("entries", "id")...)
			if r.at("next") == nil {
				if pages != max(0, want-1)/2 {
					t.Errorf("%s: %d entries on %d pages and one", kind, want, pages)
				}
				break
			}
			after = r.str("next")
		}
		var wanted []string
		for i, id := range all.each("entries", "id") {
			if all.str("entries."+strconv.Itoa(i)+".kind") == kind {
				wanted = append(wanted, id)
			}
		}
		if len(wanted) != want || !slices.Equal(ids, wanted) {
			t.Errorf("%s: got %q, want %d: %q", kind, ids, want, wanted)
		}
	}
	mine := c.get(group + "/journal" + query("actor", "127.0.0.1:", "kind", "relocate"))
	mine.is("entries.0.kind", "relocate", "entries.3", nil, "next", nil)
	c.get(group+"/journal"+query("actor", "10.")).is("entries.0", nil, "next", nil)
	c.do("GET", group+"/journal?kind=move", forbidden).refused(400, "invalid", "relocate")
}

func TestIfMatchIsAListOfTagsAndNeverTakenForAny(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 1)
	for _, x := range []struct {
		method, path, action string
		args                 []any
	}{
		{"PATCH", "/topics/T/groups/g", "", []any{object{}}},
		{"DELETE", "/topics/T/groups/g", "", nil},
		{"PATCH", "/topics/T", "", []any{object{}}},
		{"POST", "/topics/T", ":pause", nil},
		{"POST", "/topics/T", ":resume", nil},
		{"POST", "/topics/T", ":empty", nil},
		{"DELETE", "/topics/T", "", nil},
	} {
		now, depth := c.get(x.path).header.Get("ETag"), c.get("/topics/T").num("depth")
		try := func(tags string) *reply {
			return c.do(x.method, x.path+x.action, append([]any{header{"If-Match", tags}, anyway}, x.args...)...)
		}
		for _, bad := range []string{"", " ", `""`, `W/""`, strings.Trim(now, `"`), `"a`, `a"`, `"a" "b"`, `,`, `*, "a"`, `w/"a"`, `"a", b`} {
			try(bad).refused(400, "invalid", "If-Match")
		}
		for _, other := range []string{`"a"`, `"a",, "b,c"`, "W/" + now, `"a", W/` + now} {
			try(other).refused(412, "precondition_failed")
		}
		c.get("/topics/T").is("depth", depth)
		if got := c.get(x.path).header.Get("ETag"); got != now {
			t.Errorf("%s %s%s: what was refused has changed it", x.method, x.path, x.action)
		}
		if x.method != "DELETE" && x.action != ":empty" {
			try("*").want(200)
			now = c.get(x.path).header.Get("ETag")
		}
		if r := try(`"a" ,W/"b",` + now + ` , "c,d"`); r.status >= 300 {
			t.Errorf("%s %s%s: got %d %s", x.method, x.path, x.action, r.status, r.raw)
		}
	}
	c.do("DELETE", "/topics/T", header{"If-Match", "*"}).refused(404, "not_found", "T")
}

func TestBodiesOverTheLimitAreRefused(t *testing.T) {
	c := start(t, func(cfg *config.Config) { cfg.MaxBody = 4 << 10 }).client(t)
	c.post("/topics", object{"name": "T"}).want(201)
	c.post("/topics/T/messages", object{"body": text(4 << 10)}).want(201)
	c.post("/topics/T/messages", object{"body": text(4<<10 + 1)}).refused(413, "too_large")
	c.post("/topics/T/messages", object{"body": text(9 << 10)}).refused(413, "too_large", "8192")
	c.post("/topics/T/groups", object{"name": "g"}).want(201)
	many := object{"handles": make([]string, 5000)}
	c.post("/topics/T/groups/g:ack", many).refused(413, "too_large")
	var bulk lines
	for range 200 {
		bulk += lines(`{"body":"` + text(4<<10) + `"}` + "\n")
	}
	c.post("/topics/T/messages", bulk).refused(413, "too_large")
	c.post("/topics/T/messages", bulk[:len(bulk)/2+1]).refused(400, "invalid") // a line that ends in the middle
	c.get("/topics/T").is("groups.0.name", "g")
}

// text is n bytes of it.
func text(n int) string { return strings.Repeat("x", n) }
