package cli

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// shell is a command of the command interpreter, not started. It has its own process group:
// Ctrl-C is for this process, which waits for it.
func shell(ctx context.Context, command string) *exec.Cmd {
	interpreter := os.Getenv("COMSPEC")
	if interpreter == "" {
		interpreter = "cmd.exe"
	}
	cmd := exec.CommandContext(ctx, interpreter)
	cmd.SysProcAttr = &syscall.SysProcAttr{ // as it is written: its rules of quoting are its own
		CmdLine: `/S /C "` + command + `"`, CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP,
	}
	return cmd
}
