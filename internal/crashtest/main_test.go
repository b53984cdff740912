// Package crashtest kills a broker under load, again and again, and checks that
// it kept what it had promised. It consists of tests alone.
//
// The broker is the real binary in a process of its own. The test is its
// clients, and the checker: it writes down what it sent and what was answered,
// and after every restart it compares that with what the broker has, through the
// protocol that all clients use.
//
// A checker that has never found anything proves little. So there are brokers,
// made of the same parts, that answer before they commit: a test fails unless the
// checker finds them out.
package crashtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/daemon"
)

const (
	// binaryVariable names the built binary to the tests. TestMain sets it.
	binaryVariable = "ZBUS_CRASH_BINARY"
	// hastyVariable makes this test binary a broker that answers too early; it
	// says what. The other names its data directory.
	hastyVariable    = "ZBUS_CRASH_HASTY"
	hastyDirVariable = "ZBUS_CRASH_HASTY_DIR"
)

// TestMain builds the broker, once, or is the broker that answers too early.
func TestMain(m *testing.M) {
	if kind := os.Getenv(hastyVariable); kind != "" {
		fmt.Fprintln(os.Stderr, runHasty(kind, os.Getenv(hastyDirVariable)))
		os.Exit(1)
	}
	if os.Getenv(binaryVariable) != "" { // a process of a test, which looks at files alone
		os.Exit(m.Run())
	}
	// Results are cached by the content of the test binary. With this the broker
	// is in it, and the result of an older one is not shown for a broken one.
	fmt.Fprintf(io.Discard, "%p", daemon.Run)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "zbus-crash-")
		if err == nil {
			defer os.RemoveAll(dir)
		}
		binary := filepath.Join(dir, "zbus")
		build := exec.Command("go", "build", "-o", binary, "../../cmd/zbus")
		build.Stderr = os.Stderr
		if err := errors.Join(err, build.Run(), os.Setenv(binaryVariable, binary)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}
