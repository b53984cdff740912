package contract

import (
	"regexp"
	"strings"
	"testing"

	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// queryParameters are the names of an operation's query parameters.
func (o *operation) queryParameters() (names []string) {
	all := o.item.Parameters
	for method, op := range o.item.GetOperations().FromOldest() {
		if strings.EqualFold(method, o.method) {
			all = append(append([]*v3.Parameter(nil), all...), op.Parameters...)
		}
	}
	for _, p := range all {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	return names
}

func TestEveryOperationRefusesParametersThatItDoesNotHave(t *testing.T) {
	c := startClient(t)
	hole := regexp.MustCompile(`\{[^}]*\}`)
	known := 0
	for _, o := range theContract().operations {
		path := hole.ReplaceAllString(o.template, "1")
		c.do(o.method, path+"?zzzzzz=1", anyway).refused(400, "invalid", `unknown query parameter "zzzzzz"`)
		for _, name := range o.queryParameters() {
			known++
			wrong := strings.ToUpper(name)
			c.do(o.method, path+"?"+wrong+"=1", anyway).refused(400, "invalid", `"`+wrong+`"`, `(did you mean "`+name+`"?)`)
		}
	}
	if known < 30 {
		t.Errorf("only %d parameters were found in the document", known)
	}
}

func TestMisspeltParameterChangesNothing(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 1)
	holder := b.native(t)
	holder.send("consume id=c topic=T consume_group=g window=5")
	holder.delivered(0)

	nothing := object{"topics": list{}}
	c.post("/definitions?dryrun=true&prune=true", nothing, anyway).refused(400, "invalid", `"dryrun"`, `(did you mean "dryRun"?)`)
	c.post("/definitions?dryRun=%zz&prune=true", nothing, anyway).refused(400, "invalid", "%zz")
	c.post("/definitions?prune=true;dryRun=true", nothing, anyway).refused(400, "invalid", "semicolon")
	c.post("/definitions?prune=true&dryRun=true&dryRun=false", nothing, anyway).refused(400, "invalid", "dryRun")
	c.post("/definitions?prune=true&dryRun=", nothing, anyway).refused(400, "invalid", "dryRun")
	c.do("DELETE", "/sessions?protocol=tcp&topc=orders", anyway).refused(400, "invalid", `"topc"`, `(did you mean "topic"?)`)
	c.do("DELETE", "/sessions?protocol=tcp&topic=%", anyway).refused(400, "invalid", "%")
	c.do("DELETE", "/topics/T?dryRun=true", anyway).refused(400, "invalid", `"dryRun"`, "there are none")
	c.get("/topics/T").is("name", "T", "groups.0.name", "g")
	c.get("/sessions?topic=T").is("total", 1)
	holder.quiet()
}
