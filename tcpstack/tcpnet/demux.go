package tcpnet

import (
	"encoding/binary"
	"net/netip"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// receive takes the frame that was read.
func (s *Stack) receive(now mono.Time) {
	f := s.frame.Bytes
	if len(f) < wire.EthLen {
		return
	}
	if binary.BigEndian.Uint16(f[12:]) == etherARP {
		s.receiveARP(f)
		return
	}
	v := &s.view
	kind := v.Parse(f)
	if kind == wire.KindOther {
		s.receiveDiscovery()
		return
	}
	if [6]byte(f) != s.cfg.MAC || kind != wire.KindTCP && kind != wire.KindICMPError {
		return
	}
	v.Partial = s.frame.Virtio.Flags&wire.VirtioNeedsCsum != 0
	if !v.Partial && s.frame.Virtio.Flags&wire.VirtioDataValid == 0 && !v.ChecksumOK() {
		return // RFC 9293, MUST-3
	}
	if kind == wire.KindICMPError {
		s.receiveICMP(now)
		return
	}
	s.receiveTCP(now)
}

// receiveTCP gives the segment in view to whom it is for.
func (s *Stack) receiveTCP(now mono.Time) {
	v, g := &s.view, &s.segment
	key := v.Tuple().Reverse() // ours first
	from, to := key.Dst.Netip(), key.Src.Netip()
	// RFC 9293, MUST-57 and MUST-63; RFC 1122, 3.2.1.3: such a source is nobody.
	if !s.ours(to) || s.ours(from) || from.IsUnspecified() || from.IsMulticast() || from.IsLoopback() || s.isBroadcast(from) {
		return
	}
	if hop, ok := s.nextHop(from); ok {
		if x := s.known[hop]; x == nil || !x.is {
			s.learn(hop, [6]byte(v.Frame[6:])) // who sends can be answered
		}
	}
	*g = tcpstack.Segment{Seq: v.Seq(), Ack: v.Ack(), Flags: v.Flags(), ECN: v.ECN(), Window: v.Window(), Urgent: v.Urgent()}
	g.Options.Decode(v.OptionBytes())
	if v.Data < v.End {
		g.Payload = s.frame.Ref(v.Data, v.End)
	}
	if c := s.conns[key]; c != nil {
		c.tcp.Receive(now, g)
		s.flush(now, c)
		return
	}
	if w, ok := s.waiting.get(key); ok {
		iss, again := w.Reopens(now, g)
		if again && s.opens(key) {
			s.waiting.drop(key)
			s.listen(now, key, &iss)
			return
		}
		if w.Receive(now, g, &s.packet) {
			s.send(now, key, &s.packet)
		}
		s.waiting.set(key, w)
		return
	}
	s.listen(now, key, nil)
}

// isBroadcast reports whether a is the broadcast address of a network of ours.
func (s *Stack) isBroadcast(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	if a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	for _, p := range s.addrs {
		if p.Bits() < 31 && p.Contains(a) {
			b, host := a.As4(), uint32(1)<<(32-p.Bits())-1
			if binary.BigEndian.Uint32(b[:])&host == host {
				return true
			}
		}
	}
	return false
}

// receiveICMP is news of a packet of ours that did not arrive (RFC 5927: only what
// quotes a sequence number in flight is believed, which the Conn sees to).
func (s *Stack) receiveICMP(now mono.Time) {
	v := &s.view
	key, seq := v.Quote()
	c := s.conns[key]
	if c == nil {
		return
	}
	if mtu, ok := v.PacketTooBig(); ok {
		c.tcp.PacketTooBig(now, seq, mtu)
	} else {
		c.tcp.Unreachable(now, seq, v.Unreachable())
	}
	s.flush(now, c)
}

// send writes one packet from key.Src to key.Dst.
func (s *Stack) send(now mono.Time, key wire.Tuple, p *tcpstack.Packet) {
	h := &s.header
	*h = wire.Header{
		SrcMAC: s.cfg.MAC, Tuple: key, TTL: s.cfg.TTL, TOS: s.cfg.DSCP<<2 | uint8(p.ECN),
		Seq: p.Seq, Ack: p.Ack, Flags: p.Flags, Window: p.Window, Urgent: p.Urgent, Options: &p.Options, PayloadLen: p.Len,
	}
	x, ok, dead := s.reach(now, key.Dst.Netip())
	if ok {
		h.DstMAC = x.mac
	}
	n, l4 := h.Put(s.head[:])
	s.virtio = wire.VirtioHeader{}
	if s.cfg.Queue.Caps().Offload && ok {
		s.virtio.Flags, s.virtio.CsumStart, s.virtio.CsumOffset = wire.VirtioNeedsCsum, uint16(l4), 16
		if p.GSOSize > 0 && p.Len > p.GSOSize {
			s.virtio.GSOType = wire.VirtioGSOTCPv6
			if key.Is4() {
				s.virtio.GSOType = wire.VirtioGSOTCPv4
			}
			s.virtio.GSOSize, s.virtio.HdrLen = uint16(p.GSOSize), uint16(n)
		}
	} else {
		wire.FinishChecksum(s.head[:n], l4, p.Payload)
	}
	switch {
	case ok:
		s.broken(s.cfg.Queue.Send(&s.virtio, s.head[:n], p.Payload))
	case dead:
		if c := s.conns[key]; c != nil {
			c.tcp.Unreachable(now, p.Seq, true) // RFC 1122, 2.3.2.2: the link layer tells
		}
	case p.GSOSize == 0 || p.Len <= p.GSOSize:
		x.wait(s.head[:n], p.Payload) // a superpacket needs the device, and comes again
	}
}
