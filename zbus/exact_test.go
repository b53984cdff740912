package zbus_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestAnExactSpecificationSaysZero(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	limited := zbus.TopicSpec{MaxAge: time.Hour, MaxCount: 10, MaxBytes: 1000}
	full := zbus.GroupSpec{Name: "g", Filter: "a", Explicit: true, AckTimeout: time.Minute, AckWindow: 5, MaxDeliver: 3, Topic: limited}
	declare := func(g zbus.GroupSpec) (group map[string]any, topic map[string]any) {
		t.Helper()
		if _, err := c.DeclareGroup(within(t), "log", g); err != nil {
			t.Fatal(err)
		}
		for path, v := range map[string]*map[string]any{"/groups/g": &group, "": &topic} {
			if status, body := httpGet(t, "http://"+addr+"/api/v1/topics/log"+path); status != 200 || json.Unmarshal([]byte(body), v) != nil {
				t.Fatalf("%d %s", status, body)
			}
		}
		return group, topic
	}
	before, topic := declare(full)
	if same, _ := declare(zbus.GroupSpec{Name: "g"}); same["filter"] != "a" || same["maxDeliver"] != before["maxDeliver"] || same["ackTimeout"] != before["ackTimeout"] {
		t.Errorf("changed without being asked: %v, %v", before, same)
	}
	fresh := zbus.GroupSpec{Name: "fresh", Exact: true}
	if _, err := c.DeclareGroup(within(t), "log", fresh); err != nil {
		t.Fatal(err)
	}
	group, after := declare(zbus.GroupSpec{Name: "g", Exact: true, Topic: zbus.TopicSpec{Exact: true}})
	var usual map[string]any
	if _, body := httpGet(t, "http://"+addr+"/api/v1/topics/log/groups/fresh"); json.Unmarshal([]byte(body), &usual) != nil {
		t.Fatal(body)
	}
	for _, name := range []string{"filter", "settle", "ackTimeout", "ackWindow", "maxDeliver"} {
		if group[name] != usual[name] {
			t.Errorf("%s is %v, in a new group %v", name, group[name], usual[name])
		}
	}
	if group["maxDeliver"] == before["maxDeliver"] || group["filter"] == "a" {
		t.Errorf("nothing has changed: %v", group)
	}
	if topic["retention"] == nil || after["retention"] == nil {
		t.Fatalf("no retention in %v", after)
	}
	if a, b := topic["retention"].(map[string]any), after["retention"].(map[string]any); a["maxCount"] == b["maxCount"] {
		t.Errorf("retention %v, then %v", a, b)
	}
}
