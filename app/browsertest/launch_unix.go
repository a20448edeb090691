//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package browsertest

import (
	"io"
	"os/exec"
	"syscall"
	"time"
)

// keeper runs Chromium and ends it with us: its input is a pipe that we hold, of which it reads the end when this process is gone,
// however that came about. It has a process group of its own, out of reach of a Ctrl-C. If Chromium ends first, so does it.
const keeper = `
dir=$1; shift
exec 3<&0 # what runs in the background has no input
"$@" >"$dir/log" 2>&1 </dev/null 3<&- &
chromium=$!
{ read -r _ <&3; kill -KILL $chromium; } 2>/dev/null &
watcher=$!
wait $chromium
kill $watcher 2>/dev/null
for _ in 1 2 3 4 5; do # its other processes end with it, and write until then
	rm -rf "$dir" 2>/dev/null && break
	sleep 0.1
done
`

var running process

type process struct {
	dir    string
	keeper *exec.Cmd
	pipe   io.Closer
	ended  chan struct{}
}

func launch(dir, program string, flags []string) error {
	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "keeper", dir, program}, flags...)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if running.pipe, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	running.keeper, running.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(running.ended)
	}()
	return nil
}

// gone reports whether Chromium has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) stop() {
	if p.keeper == nil {
		return
	}
	_ = p.pipe.Close()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-p.keeper.Process.Pid, syscall.SIGKILL) // the group that launch made
		<-p.ended
	}
}
