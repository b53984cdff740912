package contract

import (
	"database/sql"
	"path/filepath"
	"testing"
)

// A topic whose row is damaged says so, is refused, and is served once it is accepted.
func TestDamagedTopicIsAccepted(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "orders"}).want(201)
	c.post("/topics/orders/messages", list{object{"body": "a"}, object{"body": "b"}}).want(201)
	c.post("/topics/orders:accept").refused(409, "conflict", "nothing to accept")
	b.stop(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.cfg.Data, "zbus.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE topics SET next = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c = run(t, b.cfg).client(t)
	c.get("/topics/orders").is("damage", "what is stored of the extent of its log is damaged", "nextOffset", 2)
	c.post("/topics/orders/messages", object{"body": "c"}).refused(503, "unavailable", "zbus topic accept")
	c.post("/topics/orders:accept").want(200).is("damage", nil, "nextOffset", 2)
	c.post("/topics/orders/messages", object{"body": "c"}).want(201)
	c.get("/topics/orders").is("depth", 3)
}
