package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"accd/e2e/peers"
	"accd/netcfg/netlab"
)

// kernelEnd is an end on the kernel's TCP, in this process.
type kernelEnd struct {
	prepare  func() error                               // nil: nothing
	converse func(o peers.Order) (peers.Outcome, error) // once for each order
	finish   func() error                               // nil: nothing
}

func (n *network) kernelServer(f family, c *combination) end {
	var l net.Listener
	return &kernelEnd{
		prepare: func() (err error) {
			if l, err = n.listen(f, sockets{server: c.control(), port: peerPort}); err != nil {
				return err
			}
			return l.(*net.TCPListener).SetDeadline(time.Now().Add(peerTime))
		},
		converse: func(peers.Order) (peers.Outcome, error) {
			a, err := l.Accept()
			if err != nil {
				return peers.Outcome{}, err
			}
			return peers.Answer(a.(*net.TCPConn), peerTime)
		},
		finish: func() error { return l.Close() },
	}
}

func (n *network) kernelClient(to netip.AddrPort, c *combination) end {
	return &kernelEnd{converse: func(o peers.Order) (peers.Outcome, error) {
		a, err := n.dial(to, sockets{client: c.control()}, peerTime)
		if err != nil {
			return peers.Outcome{}, err
		}
		return peers.Ask(a.(*net.TCPConn), o, peerTime)
	}}
}

func (k *kernelEnd) start() error {
	if k.prepare == nil {
		return nil
	}
	return k.prepare()
}

func (k *kernelEnd) outcomes() ([]peers.Outcome, error) {
	var mu sync.Mutex
	var all []peers.Outcome
	fs := make([]func() error, len(orders))
	for i, o := range orders {
		fs[i] = func() error {
			x, err := k.converse(o)
			if err == nil {
				mu.Lock()
				all = append(all, x)
				mu.Unlock()
			}
			return err
		}
	}
	err := together(fs...)
	return all, err
}

func (k *kernelEnd) stop() error {
	if k.finish == nil {
		return nil
	}
	return k.finish()
}

// gvisorEnd is an end on gVisor's TCP: the program of e2e/peers/gvisor.
type gvisorEnd struct {
	ns     *netlab.Namespace
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	errors strings.Builder
}

func (n *network) gvisor(ns *netlab.Namespace, c *combination, self, gateway netip.Addr, role ...string) end {
	bits := 24
	if self.Is6() {
		bits = 64
	}
	args := append([]string{
		"-address", netip.PrefixFrom(self, bits).String(), "-gateway", gateway.String(),
		"-congestion", c.Control, fmt.Sprintf("-sack=%v", c.Without != "sack"), fmt.Sprintf("-rack=%v", c.Without != "rack"),
		"-count", fmt.Sprint(len(orders)), "-limit", peerTime.String(),
	}, role...)
	return &gvisorEnd{ns: ns, cmd: exec.Command(os.Getenv("PEER_GVISOR"), args...)}
}

func (g *gvisorEnd) start() error {
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return err
	}
	g.cmd.Stderr = &g.errors
	if err := g.ns.Start(g.cmd); err != nil {
		return err
	}
	g.out = bufio.NewScanner(out)
	if !g.out.Scan() || g.out.Text() != "ready" {
		return errors.Join(errors.New("the program does not start"), g.stop())
	}
	w := json.NewEncoder(g.in)
	for _, o := range orders {
		if err := w.Encode(o); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	return nil
}

func (g *gvisorEnd) outcomes() ([]peers.Outcome, error) {
	var all []peers.Outcome
	for g.out.Scan() && g.out.Text() != "done" {
		var o peers.Outcome
		if err := json.Unmarshal(g.out.Bytes(), &o); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, g.out.Err()
}

func (g *gvisorEnd) stop() error {
	g.in.Close()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(g.errors.String()))
	}
	return nil
}
