package tcpnet

// Who is where on the link: ARP (RFC 826) and neighbour discovery (RFC 4861),
// asked and answered.

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Numbers of the protocols.
const (
	etherARP      = 0x0806
	arpRequest    = 1
	arpReply      = 2
	arpLen        = 28
	solicitation  = 135 // RFC 4861, 4.3
	advertisement = 136 // RFC 4861, 4.4
	sourceMAC     = 1   // RFC 4861, 4.6.1: option with the sender's link-layer address
	targetMAC     = 2
	discoveryLen  = 32 // of a solicitation or advertisement with one option
	hopLimit      = 255
)

// Ours, but for the times, which are RFC 4861's (10: RETRANS_TIMER and
// MAX_MULTICAST_SOLICIT).
const (
	askAgain       = time.Second
	askTimes       = 3
	mostNeighbours = 1024
	mostWaiting    = 8 // frames that wait for one neighbour
)

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// neighbours is what a Stack knows of its link.
type neighbours struct {
	addrs    []netip.Prefix
	gateways [2]netip.Addr // IPv4, IPv6; invalid: none
	known    map[netip.Addr]*neighbour
}

// neighbour is one host on the link.
type neighbour struct {
	mac     [6]byte
	is      bool      // mac is known
	asked   mono.Time // when it was asked for last
	tries   int       // how often, without an answer
	waiting [][]byte  // frames for it, without their destination
}

func (n *neighbours) init(cfg *Config) error {
	n.addrs, n.known = cfg.Addrs, make(map[netip.Addr]*neighbour)
	for _, p := range n.addrs {
		if a := p.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
			return fmt.Errorf("tcpnet: %s cannot be an address of a Stack", p)
		}
	}
	for _, g := range cfg.Gateways {
		i := family(g)
		if n.gateways[i].IsValid() {
			return fmt.Errorf("tcpnet: gateways %s and %s are of one family: give one", n.gateways[i], g)
		}
		if !n.onLink(g) {
			return fmt.Errorf("tcpnet: the gateway %s is on no network of %v", g, n.addrs)
		}
		n.gateways[i] = g
	}
	return nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// ours reports whether a is an address of the Stack.
func (n *neighbours) ours(a netip.Addr) bool {
	for _, p := range n.addrs {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// onLink reports whether a is on a network of the Stack.
func (n *neighbours) onLink(a netip.Addr) bool {
	for _, p := range n.addrs {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// sourceFor gives the address to speak to a from.
func (n *neighbours) sourceFor(a netip.Addr) (src netip.Addr, ok bool) {
	for _, p := range n.addrs {
		switch {
		case family(p.Addr()) != family(a):
		case p.Contains(a):
			return p.Addr(), true
		case !src.IsValid():
			src = p.Addr()
		}
	}
	_, reachable := n.nextHop(a)
	return src, src.IsValid() && reachable
}

// nextHop gives the neighbour that leads to a.
func (n *neighbours) nextHop(a netip.Addr) (hop netip.Addr, ok bool) {
	if n.onLink(a) {
		return a, true
	}
	hop = n.gateways[family(a)]
	return hop, hop.IsValid()
}

// of gives the entry of a neighbour, a new one if there is room; nil if not.
func (n *neighbours) of(a netip.Addr) *neighbour {
	x := n.known[a]
	if x == nil {
		if len(n.known) >= mostNeighbours {
			for k := range n.known { // any: it is asked for again when needed
				if k != n.gateways[0] && k != n.gateways[1] {
					delete(n.known, k)
					break
				}
			}
		}
		x = new(neighbour)
		n.known[a] = x
	}
	return x
}

// reach gives the MAC that leads to a. If it is not known yet the neighbour is
// asked for it, ok is false, and the frame should be left with wait; dead says
// that nobody has answered.
func (s *Stack) reach(now mono.Time, a netip.Addr) (x *neighbour, ok, dead bool) {
	hop, ok := s.nextHop(a)
	if !ok {
		return nil, false, true
	}
	x = s.of(hop)
	if x.is {
		return x, true, false
	}
	if x.tries == 0 || now.Sub(x.asked) >= askAgain {
		if dead = x.tries >= askTimes; dead {
			x.tries = 0
			x.waiting = nil
			return x, false, true
		}
		x.asked = now
		x.tries++
		s.ask(hop)
	}
	return x, false, false
}

// wait keeps a frame until the neighbour is known.
func (x *neighbour) wait(head []byte, body [][]byte) {
	if len(x.waiting) == mostWaiting {
		return // TCP sends it again
	}
	f := append([]byte(nil), head...)
	for _, p := range body {
		f = append(f, p...)
	}
	x.waiting = append(x.waiting, f)
}

// learn notes where a neighbour is, and sends what waits for it.
func (s *Stack) learn(a netip.Addr, mac [6]byte) {
	if isGroup(mac) || !s.onLink(a) || s.ours(a) {
		return
	}
	x := s.of(a)
	x.mac, x.is, x.tries = mac, true, 0
	for _, f := range x.waiting {
		copy(f, mac[:])
		s.virtio = wire.VirtioHeader{}
		s.broken(s.cfg.Queue.Send(&s.virtio, f, nil))
	}
	x.waiting = nil
}

// isGroup reports whether a MAC is that of many: broadcast or multicast (IEEE 802).
func isGroup(mac [6]byte) bool { return mac[0]&1 != 0 }

// ask asks the link for a.
func (s *Stack) ask(a netip.Addr) {
	src, _ := s.sourceFor(a)
	if a.Is4() {
		s.sendARP(arpRequest, broadcast, src, [6]byte{}, a)
		return
	}
	// RFC 4291, 2.7.1: the solicited-node multicast address; RFC 2464, 7.
	t := a.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]}
	s.sendDiscovery(solicitation, [6]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}, src, netip.AddrFrom16(group), a, 0)
}

// sendFrame sends a frame of protocols below TCP.
func (s *Stack) sendFrame(f []byte) {
	s.virtio = wire.VirtioHeader{}
	s.broken(s.cfg.Queue.Send(&s.virtio, f, nil))
}

func (s *Stack) sendARP(op uint16, to [6]byte, src netip.Addr, mac [6]byte, dst netip.Addr) {
	var b [wire.EthLen + arpLen]byte
	copy(b[0:], to[:])
	copy(b[6:], s.cfg.MAC[:])
	binary.BigEndian.PutUint16(b[12:], etherARP)
	p := b[wire.EthLen:]
	copy(p, []byte{0, 1, 8, 0, 6, 4}) // Ethernet, IPv4, lengths of their addresses
	binary.BigEndian.PutUint16(p[6:], op)
	from, target := src.As4(), dst.As4()
	copy(p[8:], s.cfg.MAC[:])
	copy(p[14:], from[:])
	copy(p[18:], mac[:])
	copy(p[24:], target[:])
	s.sendFrame(b[:])
}

// receiveARP is the packet reception of RFC 826.
func (s *Stack) receiveARP(f []byte) {
	p := f[wire.EthLen:]
	if len(p) < arpLen || [6]byte(p) != [6]byte{0, 1, 8, 0, 6, 4} {
		return
	}
	sender, target := netip.AddrFrom4([4]byte(p[14:])), netip.AddrFrom4([4]byte(p[24:]))
	mac := [6]byte(p[8:])
	if isGroup(mac) {
		return // nobody; and all would hear the answer
	}
	if !s.ours(target) {
		if x := s.known[sender]; x != nil && x.is {
			s.learn(sender, mac) // it has moved
		}
		return
	}
	s.learn(sender, mac)
	if binary.BigEndian.Uint16(p[6:]) == arpRequest {
		s.sendARP(arpReply, mac, target, mac, sender)
	}
}

// sendDiscovery sends a neighbour solicitation or advertisement.
func (s *Stack) sendDiscovery(kind byte, to [6]byte, src, dst, target netip.Addr, flags byte) {
	var b [wire.EthLen + wire.IPv6Len + discoveryLen]byte
	copy(b[0:], to[:])
	copy(b[6:], s.cfg.MAC[:])
	binary.BigEndian.PutUint16(b[12:], wire.EtherIPv6)
	ip := b[wire.EthLen:]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], discoveryLen)
	ip[6], ip[7] = wire.ProtoICMPv6, hopLimit
	from, group, about := src.As16(), dst.As16(), target.As16()
	copy(ip[8:], from[:])
	copy(ip[24:], group[:])
	p := ip[wire.IPv6Len:]
	p[0], p[4] = kind, flags
	copy(p[8:], about[:])
	p[24], p[25] = sourceMAC, 1
	if kind == advertisement {
		p[24] = targetMAC
	}
	copy(p[26:], s.cfg.MAC[:])
	sum := wire.Sum(p, wire.PseudoSum(ip[8:24], ip[24:40], wire.ProtoICMPv6, len(p)))
	binary.BigEndian.PutUint16(p[2:], ^wire.Fold(sum))
	s.sendFrame(b[:])
}

// receiveDiscovery is RFC 4861, 7.1.1 and 7.1.2, for the packet in view.
func (s *Stack) receiveDiscovery() {
	v := &s.view
	ip, p := v.Frame[v.L3:], v.Frame[v.L4:v.End]
	if !v.Is6 || ip[6] != wire.ProtoICMPv6 || v.TTL() != hopLimit || len(p) < 24 || p[1] != 0 ||
		p[0] != solicitation && p[0] != advertisement ||
		wire.Fold(wire.Sum(p, wire.PseudoSum(ip[8:24], ip[24:40], wire.ProtoICMPv6, len(p)))) != 0xffff {
		return
	}
	target := netip.AddrFrom16([16]byte(p[8:]))
	mac, has := linkAddress(p[24:], map[byte]byte{solicitation: sourceMAC, advertisement: targetMAC}[p[0]])
	sender := netip.AddrFrom16([16]byte(ip[8:]))
	const solicited, override = 1 << 6, 1 << 5 // RFC 4861, 4.4
	if p[0] == advertisement {
		if x := s.known[target]; x != nil && has && (!x.is || p[4]&override != 0) { // RFC 4861, 7.2.5
			s.learn(target, mac)
		}
		return
	}
	if !has {
		mac = [6]byte(v.Frame[6:])
	}
	if !s.ours(target) || sender.IsMulticast() || isGroup(mac) {
		return
	}
	if sender.IsUnspecified() {
		// Somebody wants the address for itself (RFC 4862, 5.4.3): it is ours.
		all := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 15: 1})
		s.sendDiscovery(advertisement, [6]byte{0x33, 0x33, 0, 0, 0, 1}, target, all, target, override)
		return
	}
	s.learn(sender, mac)
	s.sendDiscovery(advertisement, mac, target, sender, target, solicited|override)
}

// linkAddress finds an option of a kind with a MAC.
func linkAddress(o []byte, kind byte) (mac [6]byte, ok bool) {
	for len(o) >= 8 && o[1] > 0 && 8*int(o[1]) <= len(o) {
		if o[0] == kind && o[1] == 1 {
			return [6]byte(o[2:]), true
		}
		o = o[8*int(o[1]):]
	}
	return mac, false
}
