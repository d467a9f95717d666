package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"accd/netcfg/netlab"
)

// child is a program of the demo that runs until it is stopped.
type child struct {
	cmd  *exec.Cmd
	log  string // file with what it says
	done chan struct{}
	err  error // of Wait, once done
}

// startChild starts a program in a namespace and waits until ready gives nil.
func startChild(ctx context.Context, ns *netlab.Namespace, log string, ready func(context.Context) error, name string, args ...string) (*child, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &child{cmd: exec.Command(name, args...), log: log, done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = f, f
	c.cmd.SysProcAttr = ownGroup()
	if err := ns.Start(c.cmd); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		err := ready(ctx)
		if err == nil {
			tick.Stop()
			return c, nil
		}
		select {
		case <-tick.C:
			continue
		case <-c.done:
			return nil, fmt.Errorf("%s ended at once: %w\n%s", filepath.Base(name), c.err, c.said())
		case <-ctx.Done():
		}
		return nil, errors.Join(fmt.Errorf("%s is not ready: %w\n%s", filepath.Base(name), err, c.said()), c.stop())
	}
}

// ownGroup keeps a ^C at the terminal from a program: it is for the demo, which
// stops its programs itself.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// said gives the end of what the program has written.
func (c *child) said() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}

// stop asks the program to end and makes it end.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		err := c.cmd.Process.Kill()
		<-c.done
		return errors.Join(fmt.Errorf("%s did not stop within %v of SIGTERM and was killed\n%s", c.cmd.Path, patience, c.said()), err)
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.cmd.Path), c.err, c.said())
	}
	return nil
}

// nginxConf is the server's configuration: one process, whose every file is in
// the demo's directory.
const nginxConf = `daemon off;
master_process off;
user root;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	sendfile on;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]d;
		listen [::]:%[2]d;
		root %[1]s;
	}
}
`

// startNginx starts the server.
func (d *demo) startNginx(ctx context.Context, nginx string) (*child, error) {
	conf := filepath.Join(d.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, d.dir, demoPort), 0o644); err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error {
		c, err := d.top.Server.Dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", demoPort))
		if err != nil {
			return err
		}
		return c.Close()
	}
	return startChild(ctx, d.top.Server, filepath.Join(d.dir, "nginx.log"), ready, nginx, "-e", "stderr", "-p", d.dir, "-c", conf)
}
