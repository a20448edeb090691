//go:build unix

package app_test

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a process group of a command and all that it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the processes of a group that are left.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// alive reports whether a process is there.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
