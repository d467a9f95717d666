package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"accd/netcfg/netlab"
)

// program is what runs on a box. A nil program is the kernel alone.
type program struct {
	cmd  *exec.Cmd
	log  string // the file with what it says
	done chan struct{}
	err  error // of Wait, once done
}

// startProgram starts a program in a namespace and waits until ready says so.
func startProgram(ns *netlab.Namespace, log string, ready func() bool, cmd *exec.Cmd) (*program, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	p := &program{cmd: cmd, log: log, done: make(chan struct{})}
	if err := ns.Start(cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	for deadline := time.Now().Add(patience); !ready(); {
		select {
		case <-p.done:
			return nil, fmt.Errorf("%s ended at once: %v\n%s", cmd.Path, p.err, p.said())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			err := fmt.Errorf("%s does not start within %v\n%s", cmd.Path, patience, p.said())
			return nil, errors.Join(err, p.kill())
		}
	}
	return p, nil
}

// pid is the number of the process; 0: the kernel alone.
func (p *program) pid() int {
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// said gives what the program has written.
func (p *program) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// stop asks the program to end.
func (p *program) stop() error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended: what it said is told below
	select {
	case <-p.done:
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s does not end within %v of SIGTERM\n%s", p.cmd.Path, patience, p.said()), p.kill())
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w\n%s", p.cmd.Path, p.err, p.said())
	}
	return nil
}

func (p *program) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// ended tells, as an error, that the program is no more; nil: it runs.
func (p *program) ended() error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %v\n%s", p.cmd.Path, p.err, p.said())
	default:
		return nil
	}
}
