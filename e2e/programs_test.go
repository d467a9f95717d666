package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Ports of the server's programs.
const (
	webPort    = 8080 // nginx, which serves pattern files
	uploadPort = 8081 // takes uploads
)

// nginxConf is one process whose every file is in a directory of the test.
const nginxConf = `daemon off;
master_process off;
user root;
pid %[1]s/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
	access_log off;
	sendfile on;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[3]d backlog=1024;
		listen [::]:%[3]d backlog=1024;
		root %[2]s;
	}
}
`

// program finds a program that the tests run.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatalf("%s is not there: apt-get install -y %s, or make e2e, which does it", name, name)
	}
	return path
}

// startNginx lets the server serve files of the given sizes.
func (n *network) startNginx(sizes ...int64) {
	t := n.t
	t.Helper()
	var file string
	var err error
	for _, size := range sizes {
		file, err = patternFile(size)
		must(t, err)
	}
	conf := filepath.Join(n.dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, n.dir, filepath.Dir(file), webPort), 0o644))
	cmd := exec.Command(program(t, "nginx"), "-e", "stderr", "-p", n.dir, "-c", conf)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, n.server.Start(cmd))
	t.Cleanup(func() {
		check(t, cmd.Process.Kill())
		cmd.Wait() // killed, which is no news
		if t.Failed() && said.Len() > 0 {
			t.Logf("nginx said:\n%s", said.String())
		}
	})
	up := await(patience, func() bool {
		c, err := n.server.Dial(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", webPort))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if !up {
		t.Fatalf("nginx does not start:\n%s", said.String())
	}
}

// url gives where a file of that size is.
func url(f family, port uint16, size int64) string {
	return fmt.Sprintf("http://%s/%d", netip.AddrPortFrom(f.server, port), size)
}

// curl runs curl on the client; what it gets goes to out.
func (n *network) curl(limit time.Duration, out *checker, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args = append([]string{"-q", "--silent", "--show-error", "--fail", "--noproxy", "*"}, args...)
	cmd := exec.CommandContext(ctx, program(n.t, "curl"), args...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.Stdout = out
	if err := n.client.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("curl: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// download fetches a file with curl from nginx.
func (n *network) download(f family, size int64) error {
	var got checker
	if err := n.curl(2*time.Minute, &got, url(f, webPort, size)); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if got.off != size {
		return fmt.Errorf("download: got %d bytes of %d", got.off, size)
	}
	return nil
}

// startUploads lets the server take uploads of the pattern.
func (n *network) startUploads() {
	n.t.Helper()
	for _, f := range families {
		l, err := n.listen(f, sockets{port: uploadPort})
		must(n.t, err)
		s := &http.Server{Handler: http.HandlerFunc(takeUpload)}
		go s.Serve(l)
		n.t.Cleanup(func() { s.Close() })
	}
}

func takeUpload(w http.ResponseWriter, r *http.Request) {
	if err := receive(r.Body, 0, r.ContentLength); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// upload sends a file with curl.
func (n *network) upload(f family, size int64) error {
	file, err := patternFile(size)
	if err != nil {
		return err
	}
	var got checker
	if err := n.curl(2*time.Minute, &got, "--upload-file", file, url(f, uploadPort, size)); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// exchange sends the pattern both ways over one connection at the same time, and
// then closes it. Nobody closes before: an end's FIN passes end to end, and what
// the other has on its way meanwhile passes with it.
func exchange(client, server *net.TCPConn, up, down int64) error {
	err := together(
		func() error { return say("client", send(client, 0, up)) },
		func() error { return say("server", send(server, 0, down)) },
		func() error { return say("client", receive(client, 0, down)) },
		func() error { return say("server", receive(server, 0, up)) },
	)
	if err != nil {
		return err
	}
	return errors.Join(
		client.CloseWrite(), say("server", wantEOF(server)),
		server.CloseWrite(), say("client", wantEOF(client)),
		client.Close(), server.Close())
}

// say puts who in front of an error.
func say(who string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", who, err)
}
