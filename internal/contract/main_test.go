// Package contract checks a running broker against openapi.yaml: what it is asked
// and what it answers, and that the clients generated from the document can work
// with it. It consists of tests, and of a client that only they use.
package contract

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails, besides for failed tests, when the whole suite has left out a part
// of the document.
func TestMain(m *testing.M) {
	// Each check talks to a broker with a disk: a hundred of them, the default, is
	// more than every run needs.
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if code == 0 && wholeSuite() {
			for _, gap := range theContract().gaps() {
				fmt.Fprintln(os.Stderr, "FAIL:", gap)
				code = 1
			}
		}
		os.Exit(code)
	}))
}

// wholeSuite reports whether all tests were asked for.
func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}
