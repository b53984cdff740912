package broker

import (
	"testing"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// expired is a caller whose credential is no longer good.
type expired struct{ system }

func (expired) Check(access.Verb, string, string) error {
	return &access.Refused{Text: "the token is revoked"}
}

// It is asked to say who it is. To be told that a topic does not exist would be final for
// a publisher, which comes again with another token.
func TestWhoHasLostItsCredentialIsNotToldThatTopicsAreMissing(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("orders", storage.KindLog, storage.Retention{})
		v := r.b.As(expired{}, access.Publish)
		for _, name := range []string{"orders", "none"} {
			if _, err := v.Topic(name); CodeOf(err) != Unauthorized {
				r.Errorf("topic %s: %v", name, err)
			}
			if _, err := v.Group(name, "g"); CodeOf(err) != Unauthorized {
				r.Errorf("a group of %s: %v", name, err)
			}
		}
	})
}
