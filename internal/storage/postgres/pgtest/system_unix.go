//go:build unix

package pgtest

import (
	"os"
	"syscall"
)

// as are the attributes of a process of another user.
func as(uid, gid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// give makes a file that of another user.
func give(path string, user *syscall.SysProcAttr) error {
	return os.Chown(path, int(user.Credential.Uid), int(user.Credential.Gid))
}

// pause stops processes where they are, or resumes them.
func pause(pids []int, stop bool) {
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal)
	}
}
