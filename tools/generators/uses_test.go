// Package generators has what a program does with each of the Go clients: that it compiles says that they fit.
package generators

import (
	"testing"

	"github.com/rushmore/zbus-go/tools/generators/out/oapi"
	"github.com/rushmore/zbus-go/tools/generators/out/ogen"
)

// nobody has no credential: nothing is asked for.
type nobody struct{ ogen.SecuritySource }

func TestClientsAreMade(t *testing.T) {
	const server = "http://127.0.0.1:15555/api/v1"
	if _, err := oapi.NewClientWithResponses(server); err != nil {
		t.Error(err)
	}
	if _, err := ogen.NewClient(server, nobody{}); err != nil {
		t.Error(err)
	}
	if a, b := (oapi.NewTopic{Name: "orders"}), (ogen.NewTopic{Name: "orders"}); a.Name != b.Name {
		t.Errorf("%+v, %+v", a, b)
	}
}
