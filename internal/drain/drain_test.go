package drain

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A look that takes long, as on a machine that is busy with other things, does not take the time away that
// consumers have: what is so is found soon after.
func TestALongLookIsNotFollowedByALongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began, looks := time.Now(), 0
		new(Drain).await(ctx, func() bool {
			looks++
			time.Sleep(3 * time.Second)
			return true
		})
		if d := time.Since(began); looks != 2 || d > 10*time.Second {
			t.Errorf("%d looks of 3 s each take %v", looks, d)
		}
	})
}
