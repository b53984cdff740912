package contract

import "testing"

func TestTextThatJSONCannotCarryIsRefusedAndNotAltered(t *testing.T) {
	c := startClient(t)
	c.post("/topics", object{"name": "T"}).want(201)
	for _, x := range []struct {
		body rawJSON
		word string
	}{
		{"{\"id\":\"lat\",\"body\":\"caf\xe9\"}", "the body is not UTF-8 at byte 23"},
		{"[{\"body\":\"a\"},{\"tag\":\"caf\xe9\"}]", "not UTF-8 at byte 25"},
		{"{\"headers\":{\"a\":\"\xff\"}}", "not UTF-8"},
		{"{\"caf\xe9\":\"x\"}", "not UTF-8"},
		{`{"body":"\ud800"}`, `\ud800 at byte 9`},
		{`{"body":"\\\udfff"}`, `\udfff at byte 11`},
		{`{"body":"\ud83dx"}`, `\ud83d at byte 9`},
		{`{"tag":"\ud83d\ud83d\ude00"}`, `\ud83d at byte 8`},
	} {
		c.post("/topics/T/messages", x.body, anyway).refused(400, "invalid", x.word, "bodyBase64")
	}
	c.post("/topics/T/messages", lines("{\"body\":\"a\"}\n{\"body\":\"caf\xe9\"}\n"), anyway).
		refused(400, "invalid", "line 2", "not UTF-8", "bodyBase64").is("stored", 1)
	c.post("/topics/T/groups", rawJSON("{\"name\":\"g\",\"filter\":\"caf\xe9\"}"), anyway).refused(400, "invalid", "not UTF-8")
	c.post("/messages:transaction", rawJSON("{\"messages\":[{\"topic\":\"T\",\"body\":\"caf\xe9\"}]}"), anyway).
		refused(400, "invalid", "not UTF-8")
	c.get("/topics/T").is("nextOffset", 1, "groups.0", nil)
	for body, want := range map[rawJSON]string{
		`{"body":"café"}`:               "café",
		`{"body":"\ud83d\ude00\u00e9"}`: "\U0001f600é",
		`{"body":"\ufffd"}`:             "\ufffd",
		`{"body":"\\ud800"}`:            `\ud800`,
	} {
		offset := c.post("/topics/T/messages", body).want(201).str("offset")
		c.get("/topics/T/messages/"+offset).is("body", want)
	}
}
