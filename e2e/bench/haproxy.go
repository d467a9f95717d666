package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"accd/netcfg/netlab"
)

// haproxyConfig makes HAProxy a transparent proxy: it accepts what TPROXY gives
// it and connects to where the client wanted, from the client's address.
const haproxyConfig = `global
  nbthread %d
  maxconn 9700
  maxpipes 200
  %s
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend clients
  bind 0.0.0.0:%d transparent
  default_backend servers
backend servers
  source 0.0.0.0 usesrc clientip
%s  server original 0.0.0.0
`

// haproxyPort is where TPROXY sends connections to.
const haproxyPort = 1

// tproxyRules give connections from the client, and what servers answer to the
// proxy's sockets, to the box itself. Without "socket wildcard 0" the
// listener would count as the socket of everything.
const tproxyRules = `table inet bench {
	chain prerouting {
		type filter hook prerouting priority mangle
		meta l4proto tcp socket wildcard 0 socket transparent 1 meta mark set 1 accept
		iifname %q meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:%d meta mark set 1 accept
	}
}
`

// haproxy gives a peer that is HAProxy with a line more in global, and lines more
// in the backend.
func haproxy(name, what, global, backend string) peer {
	return peer{name: name, what: what, start: func(n *network) (*program, error) {
		path, err := exec.LookPath("haproxy")
		if err != nil {
			return nil, fmt.Errorf("%w: make deps-bench installs it, or leave the peer out with PEERS=", err)
		}
		if err := tproxy(n); err != nil {
			return nil, err
		}
		config := n.file("haproxy.cfg")
		text := fmt.Appendf(nil, haproxyConfig, runtime.NumCPU(), global, haproxyPort, backend)
		if err := os.WriteFile(config, text, 0o644); err != nil {
			return nil, err
		}
		cmd := exec.Command(path, "-db", "-f", config)
		return startProgram(n.box, n.file("haproxy.log"), func() bool { return listening(n.box, haproxyPort) }, cmd)
	}}
}

// tproxy steers the box's TCP connections to its own sockets; twice does no harm.
func tproxy(n *network) error {
	// What is marked is for the box, whatever its address.
	if err := n.box.LocalMark(1); err != nil {
		return err
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table inet bench\ndelete table inet bench\n" + fmt.Sprintf(tproxyRules, boxLAN, haproxyPort))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.box.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, out.String())
	}
	return nil
}

// listening reports whether somebody listens on a port of a namespace. It does not
// connect: the proxy would go on to where that leads, to itself.
func listening(ns *netlab.Namespace, port uint16) bool {
	found := false
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/tcp")
		found = strings.Contains(string(b), fmt.Sprintf(":%04X 00000000:0000 0A ", port))
		return err
	})
	return err == nil && found
}
