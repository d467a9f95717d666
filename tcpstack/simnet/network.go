package simnet

import (
	"fmt"
	"time"

	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Config is a whole network: two hosts, the paths between them, accd in the
// middle, and what goes wrong.
type Config struct {
	Is6     bool
	Hosts   [2]HostConfig
	Scripts [2]Script
	Near    Path // between the client and the box
	Far     Path // between the box and the server
	Box     BoxConfig
	Faults  []Fault
	Forged  []Attack
	Leaps   []Leap
}

// Leap is a clock that jumps ahead, as when a virtual machine was paused and is
// told afterwards.
type Leap struct {
	At, By time.Duration
	Box    bool        // accd's clock; else
	Side   splice.Side // that of this host
}

// Attack is a forged packet: what, when, whose address it carries, and whether
// it enters before the box or behind it.
type Attack struct {
	Kind   Forgery
	At     time.Duration
	From   splice.Side
	Behind bool
}

// Network is a Config that runs.
type Network struct {
	Sim   *Sim
	Hosts [2]*Host
	Box   *Box
	Limit time.Duration // how long the connection may take; 0: an hour

	pool     *buf.Pool // of both hosts
	cfg      Config
	genuine  [2]*Packet  // the last packet each host sent
	sentUpTo [2]wire.Seq // the highest sequence number each host sent
}

// NewNetwork builds cfg.
func NewNetwork(s *Sim, cfg Config) *Network {
	n := &Network{Sim: s, cfg: cfg, pool: s.pool()}
	client, server := splice.Client, splice.Server
	toServer := NewLink(s, cfg.Far.Out, func(p *Packet) { n.Hosts[server].Arrive(p) })
	toClient := NewLink(s, cfg.Near.Back, func(p *Packet) { n.Hosts[client].Arrive(p) })
	fromClient := NewLink(s, cfg.Near.Out, func(p *Packet) { n.Box.Arrive(p) })
	fromServer := NewLink(s, cfg.Far.Back, func(p *Packet) { n.Box.Arrive(p) })
	tell := func(side splice.Side) func(p *Packet, mtu int) {
		return func(p *Packet, mtu int) { n.Hosts[side].TooBig(p.Seq, mtu) }
	}
	fromClient.TooBig, fromServer.TooBig = tell(client), tell(server)
	toServer.TooBig = func(p *Packet, mtu int) { n.Box.TooBig(p, mtu, func() { tell(client)(p, mtu) }) }
	toClient.TooBig = func(p *Packet, mtu int) { n.Box.TooBig(p, mtu, func() { tell(server)(p, mtu) }) }

	key := tupleOf(0, cfg.Is6)
	keys := [2]uint64{s.Rand.Uint64(), s.Rand.Uint64()}
	n.Hosts[client] = NewHost(s, client, 0, key, keys, cfg.Hosts[client], cfg.Scripts[client], n.pool, n.tap(fromClient))
	n.Hosts[server] = NewHost(s, server, 0, key.Reverse(), keys, cfg.Hosts[server], cfg.Scripts[server], n.pool, n.tap(fromServer))
	n.Box = NewBox(s, key, keys, cfg.Box, s.pool(), [2]func(*Packet){toClient.Send, toServer.Send})
	for _, f := range cfg.Faults {
		s.At(Start.Add(f.At), func() { n.Box.Fault(f) })
	}
	for _, a := range cfg.Forged {
		s.At(Start.Add(a.At), func() { n.attack(a) })
	}
	for _, l := range cfg.Leaps {
		s.At(Start.Add(l.At), func() {
			s.Tracef("clock      leaps by %v: %+v", l.By, l)
			if l.Box {
				n.Box.leapt = true
				n.Box.Leap(l.By)
			} else {
				n.Hosts[l.Side].Leap(l.By)
			}
		})
	}
	s.Check = n.check
	return n
}

// tap keeps what an attacker on the path would know of what a host sends.
func (n *Network) tap(l *Link) func(*Packet) {
	return func(p *Packet) {
		if n.genuine[p.From] == nil || n.sentUpTo[p.From].Less(p.End()) {
			n.sentUpTo[p.From] = p.End()
		}
		if !p.Flags.Has(wire.RST) {
			n.genuine[p.From] = p
		}
		l.Send(p)
	}
}

// attack happens on an open connection only: before that a forged packet that
// fits needs no flaw to do harm.
func (n *Network) attack(a Attack) {
	if !n.Hosts[0].Open() || !n.Hosts[1].Open() {
		return
	}
	if p := n.forge(a.Kind, a.From); p != nil {
		if a.Behind {
			n.Hosts[a.From.Other()].Arrive(p)
		} else {
			n.Box.Arrive(p)
		}
	}
}

func (n *Network) check() { n.Box.check() }

// letGo is within which accd forgets a connection whose ends are gone
// (RFC 9293, 3.8.3: R2).
const letGo = 40 * time.Minute

// Run carries the connection to its end and judges it.
func (n *Network) Run() error {
	n.Hosts[splice.Client].Connect()
	// The server whose client was answered by a cookie that never came back knows
	// of no connection, nor does one whose SYN was lost before accd stopped, or whose
	// client was answered early and given up when accd's clock leapt.
	unasked := func() bool {
		return n.Box.Ended == byCookie && n.Box.Count.Custodies == 0 ||
			n.Hosts[splice.Server].state == hostListen && (n.Box.Ended == stopped || n.Box.Seen.blind && n.Box.leapt)
	}
	ended := func() bool { return n.Hosts[0].Ended() && (n.Hosts[1].Ended() || unasked()) }
	patience := n.Limit
	if patience == 0 {
		patience = limit
	}
	if err := n.Sim.Run(patience, ended); err != nil {
		return err
	}
	if ended() {
		// What is under way arrives, and accd lets go, at the latest when its
		// last retransmission has not been answered.
		if err := n.Sim.Run(letGo, nil); err != nil {
			return err
		}
	}
	if unasked() && n.Hosts[splice.Client].Ended() {
		return nil
	}
	// A connection torn in its handshake may end anyhow, but not with a wrong byte:
	// docs/custody.md, What is accepted.
	if err := judge(n.Hosts, n.Box.Seen, n.Box.describe(), n.Box.Ended != "", n.pool); err != nil && !n.Box.Torn {
		return err
	}
	if f := n.Box.flow; f != nil && f.State() != splice.OnWire && f.State() != splice.Gone {
		return fmt.Errorf("accd keeps a connection that has ended: %s", n.Box.describe())
	}
	if b := n.Box.pool.InUse(); b != 0 {
		return fmt.Errorf("accd leaks %d bytes of buffers: %s", b, n.Box.describe())
	}
	if n.pool.InUse() == 0 {
		n.Sim.Spare = append(n.Sim.Spare, n.pool, n.Box.pool)
	}
	return nil
}
