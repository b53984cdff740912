package cluster

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rushmore/zbus-go/internal/wire"
)

// maxTokenFile is how long the file of tokens may be.
const maxTokenFile = 64 << 10

// readToken reads by which token this server joins a tracker. A line of the file has a token
// for all trackers, or the address of one and the token for that, since each server has
// accounts of its own. No file is no token.
func readToken(path string, tracker Address) (token string, err error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("tracker-token-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("tracker-token-file: %w", err)
	}
	found := false
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		last := words[len(words)-1]
		if len(words) > 2 || !wire.ValidValue(last) {
			return "", fmt.Errorf("tracker-token-file %q, line %d: must be a token, or the address of a tracker and a token", path, i+1)
		}
		if its := len(words) == 2 && words[0] == tracker.Key(); its || len(words) == 1 && !found {
			token, found = last, its
		}
	}
	if token == "" {
		return "", fmt.Errorf("tracker-token-file %q: it has no token for %s", path, tracker.Key())
	}
	return token, nil
}
