package broker

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
)

// EphemeralGroup creates a group of a topic that lasts as long as its one consumer. Its name is made
// up.
func (v View) EphemeralGroup(ctx context.Context, t *Topic, spec GroupSpec) (*Group, error) {
	if t.Calls() { // before there is a group that would never be removed
		return nil, errorf(Invalid, "Topic(%s) is for calls: only a provider that speaks the native protocol can answer them", t.name)
	}
	spec.Topic, spec.Name, spec.New = t.name, Ephemeral+strings.ToLower(rand.Text()), true
	if err := v.Check(access.Consume, t, spec.Name); err != nil {
		return nil, err
	}
	yes := true
	spec.Ephemeral, spec.Exclusive = &yes, &yes
	g, _, err := v.DeclareGroup(context.WithoutCancel(ctx), spec)
	return g, err
}
