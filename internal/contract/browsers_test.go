package contract

import (
	"regexp"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	c := startClient(t)
	for _, from := range []header{
		{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"},
	} {
		c.post("/topics", object{"name": "T"}, from).refused(403, "forbidden", "allow-origin")
		c.do("DELETE", "/topics/T", from).refused(403, "forbidden")
	}
	c.get("/topics", header{"Sec-Fetch-Site", "cross-site"}).is("total", 0)
	c.post("/topics", object{"name": "T"}, header{"Origin", "http://" + c.addr}, header{"Sec-Fetch-Site", "same-origin"}).want(201)
}

func TestAllowedOriginsChangeThings(t *testing.T) {
	c := start(t, func(cfg *config.Config) { cfg.AllowOrigin = []string{"*.app.example"} }).client(t)
	site := header{"Sec-Fetch-Site", "cross-site"}
	c.post("/topics", object{"name": "T"}, header{"Origin", "https://www.app.example"}, site).want(201)
	c.post("/topics", object{"name": "U"}, header{"Origin", "https://app.example.evil"}, site).refused(403, "forbidden")
	c.get("/topics").is("total", 1)
}

func TestEveryOperationRefusesNamesThatAreNotThisServers(t *testing.T) {
	c := startClient(t)
	hole := regexp.MustCompile(`\{[^}]*\}`)
	for _, o := range theContract().operations {
		path := hole.ReplaceAllString(o.template, "1")
		c.do(o.method, path, anyway, header{"Host", "rebound.example"}).refused(421, "forbidden", "rebound.example")
	}
	c.get("/topics", header{"Host", "localhost:1"})
	c.get("/topics", header{"Host", "[::1]:1"})
}
