// Package bubbles checks properties with random cases in which time passes only while the test
// sleeps.
package bubbles

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// Few has rapid try n cases, unless -rapid.checks says how many.
func Few(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// Check tries a property in a bubble of testing/synctest, each case with a directory of its own.
func Check(t *testing.T, prop func(rt *rapid.T, dir string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(hidden{t}, func(rt *rapid.T) {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				rt.Fatal(err)
			}
			prop(rt, dir)
		})
	})
}

// hidden is a testing.T that rapid does not recognise: inside a bubble it must
// not ask for the deadline of the test.
type hidden struct{ *testing.T }
