package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Costs of a password's hash: 19 MiB and two passes, which takes some 30 ms.
const (
	hashMemory  = 19 << 10 // KiB
	hashPasses  = 2
	hashThreads = 1
	hashBytes   = 32
	saltBytes   = 16
)

// The length of passwords, in bytes.
const (
	minPassword = 8
	maxPassword = 512
)

// hashPassword gives what is stored of a password, in the usual form
// $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func hashPassword(password string) (string, error) {
	if len(password) < minPassword || len(password) > maxPassword {
		return "", invalid("a password has %d to %d bytes, not %d", minPassword, maxPassword, len(password))
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	hash := argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashThreads, hashBytes)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads,
		enc.EncodeToString(salt), enc.EncodeToString(hash)), nil
}

// checkPassword reports whether a password is the one of a stored hash. It takes as long
// for what has none.
func checkPassword(stored, password string) bool {
	memory, passes, threads, salt, want, ok := parseHash(stored)
	if !ok {
		memory, passes, threads, salt, want = hashMemory, hashPasses, hashThreads, make([]byte, saltBytes), make([]byte, hashBytes)
	}
	if len(password) > maxPassword {
		password = ""
		ok = false
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && ok
}

// parseHash reads a stored hash, whose costs may be those of another version of zbus.
func parseHash(stored string) (memory, passes uint32, threads uint8, salt, hash []byte, ok bool) {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return 0, 0, 0, nil, nil, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); n != 3 || err != nil ||
		memory == 0 || memory > 1<<20 || passes == 0 || passes > 100 || threads == 0 {
		return 0, 0, 0, nil, nil, false
	}
	enc := base64.RawStdEncoding
	salt, err := enc.DecodeString(parts[4])
	hash, err2 := enc.DecodeString(parts[5])
	return memory, passes, threads, salt, hash, err == nil && err2 == nil && len(salt) >= 8 && len(hash) >= 16 && len(hash) <= 64
}
