package sqlite

import (
	"crypto/sha256"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// witness is the same for two processes if what the first wrote to a directory is there
// for the second, synced or not: the machine has not been started again in between, and
// the file system is still mounted. Where it is not known, or a process has mounts of its
// own, it is all zeros or another one: then what was not synced may be missing.
func witness(dir string) (w [16]byte) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return w
	}
	var st unix.Statx_t
	const unique = unix.STATX_MNT_ID_UNIQUE
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unique, &st); err != nil || st.Mask&unique == 0 {
		return w // a kernel before 6.8 gives the number of a mount to the next one
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(boot, st.Mnt_id))
	copy(w[:], sum[:])
	return w
}
