//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package browsertest

import (
	"os"
	"os/exec"
	"path/filepath"
)

var running process

type process struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts Chromium. Nothing but Stop ends it here.
func launch(dir, program string, flags []string) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, flags...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	running.cmd, running.ended = cmd, make(chan struct{})
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
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
