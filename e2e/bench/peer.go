package main

import (
	"errors"
	"fmt"
	"time"
)

// peer is something that can stand between client and server.
type peer struct {
	name  string
	what  string // for people
	start func(n *network) (*program, error)
	// carried gives the bytes towards the client that the program itself
	// moved so far; nil: what it does shows in its CPU time alone.
	carried func(n *network) (int64, error)
	gcTrace bool // it writes a line for each garbage collection
}

// baseline is the peer that the others are compared with.
const baseline = "kernel"

var peers = []peer{
	{name: baseline, what: "kernel forwarding", start: func(*network) (*program, error) { return nil, nil }},
	haproxy("haproxy-splice", "HAProxy, splice(2)", "tune.pipesize 1048576", "  option splice-request\n  option splice-response\n"),
	haproxy("haproxy-copy-16k", "HAProxy, copying, 16K buffers", "tune.bufsize 16384", ""),
	haproxy("haproxy-copy-128k", "HAProxy, copying, 128K buffers", "tune.bufsize 131072", ""),
	{name: "gvisor", what: "gVisor netstack, a splice in userspace", start: startGVisor},
	{name: "accd", what: "accd", start: startAccd, carried: accdTaken, gcTrace: true},
}

// site is a peer at work in a network of its own.
type site struct {
	peer *peer
	net  *network
	box  *program
}

func newSite(p *peer, f frames) (*site, error) {
	n, err := newNetwork(f)
	if err != nil {
		return nil, err
	}
	s := &site{peer: p, net: n}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return s, nil
}

func (s *site) start() (err error) {
	if s.box, err = s.peer.start(s.net); err != nil {
		return fmt.Errorf("%s: %w", s.peer.name, err)
	}
	return s.meet()
}

// restart gives the site a program that has seen nothing yet.
func (s *site) restart() error {
	if err := s.box.stop(); err != nil {
		return err
	}
	return s.start()
}

func (s *site) close() error {
	return errors.Join(s.box.stop(), s.net.close())
}

// meet sends one byte through the box, so that no measure pays for finding
// neighbours, and waits until that works.
func (s *site) meet() error {
	l, at, err := s.net.listen()
	if err != nil {
		return err
	}
	defer l.close()
	for deadline := time.Now().Add(patience); ; {
		client, server, err := s.net.pair(l, clientAddr(0), at)
		if err == nil {
			err = server.write([]byte{1})
			if err == nil {
				_, err = client.read(make([]byte, 1))
			}
			client.reset()
			server.reset()
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: nothing passes the box: %w\n%s", s.peer.name, err, s.said())
		}
	}
}

func (s *site) said() string {
	if s.box == nil {
		return ""
	}
	return s.box.said()
}
