package contract

import "testing"

func TestDefinitionsAreExportedAndImportedElsewhere(t *testing.T) {
	from, to := startClient(t), startClient(t)
	from.post("/topics", object{"name": "a:b", "kind": "memory"}).want(201)
	explicitGroup(from, 3, object{"filter": "x", "maxDeliver": 4})
	all := from.get("/definitions")
	all.is("topics.0.name", "T", "topics.0.groups.0.name", "g", "topics.0.groups.0.maxDeliver", 4, "topics.1.kind", "memory")

	dry := to.post("/definitions?dryRun=true", all.value).want(200)
	dry.is("dryRun", true, "unchanged", 0, "changes.0.action", "create", "changes.0.target", "T", "changes.1.target", "T/g")
	to.get("/topics").is("total", 0)
	to.post("/topics", object{"name": "extra"}).want(201)
	done := to.post("/definitions?prune=true", all.value).want(200)
	done.is("dryRun", false, "changes.3.action", "delete", "changes.3.target", "extra", "changes.3.messages", 0)
	if got, want := to.get("/definitions").raw, all.raw; string(got) != string(want) {
		t.Errorf("imported\n%s, exported\n%s", got, want)
	}
	to.post("/definitions", all.value).want(200).is("unchanged", 3, "changes.0", nil)
}
