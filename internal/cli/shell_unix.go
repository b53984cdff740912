//go:build unix

package cli

import (
	"context"
	"os/exec"
	"syscall"
)

// shell is a command of the shell, not started. It has its own process group: Ctrl-C is for
// this process, which waits for it, and a kill is for all that it has started.
func shell(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}
