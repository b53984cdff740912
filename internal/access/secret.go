package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// tokenPrefix begins every token, so that people and scanners know one.
const tokenPrefix = "zb_"

// alphabet has no upper case: names and ids have none either.
var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// random is n random bytes as text.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return alphabet.EncodeToString(b)
}

// newSecret creates a secret of 256 bits.
func newSecret() string { return random(32) }

// hashOf is what is kept of a secret. It is random, so a quick hash is enough.
func hashOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// splitToken cuts zb_<id>_<secret>.
func splitToken(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(text) > 200 {
		return "", "", false
	}
	return strings.Cut(rest, "_")
}

// IsToken reports whether a text has the form of a token.
func IsToken(text string) bool {
	_, _, ok := splitToken(text)
	return ok
}
