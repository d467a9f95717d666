package terminator

import (
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// neighbours is what the addresses of all neighbours begin with.
var neighbours = [5]byte{0x02, 0xac, 0xcd}

// neighbour reads the destination of a frame: 02:ac:cd:00:00:0n is the
// neighbour that the routes of steered packets point to, n the network of the
// interface they came in by.
func neighbour(frame []byte) (n splice.Network, ok bool) {
	if len(frame) < wire.EthLen || [5]byte(frame) != neighbours || frame[5] > byte(splice.WAN) {
		return 0, false
	}
	return splice.Network(frame[5]), true
}

// receive decides about one frame that came in by from's tap. handed says that
// another shard read it.
func (s *shard) receive(from splice.Side, f *link.Frame, handed bool) {
	network, forwarded := neighbour(f.Bytes)
	s.direct = !forwarded && s.takesShortcut(f.Bytes)
	if !forwarded && !s.direct {
		s.count.reasons[NotForUs]++
		return
	}
	v := &s.view
	kind := v.Parse(f.Bytes)
	if s.direct {
		why, drop := NotForUs, kind != wire.KindTCP || v.Flags().Has(wire.SYN)
		if !drop && !handed {
			why, drop = s.route(from, f)
		}
		if drop {
			s.count.reasons[why]++
			return
		}
	}
	if v.End == 0 {
		s.count.reasons[NotIP]++
		return
	}
	v.Partial = f.Virtio.Flags&wire.VirtioNeedsCsum != 0
	if !handed {
		s.vigil.frame(s.count.count(from, v, f.Virtio.GSOSize))
	}
	switch kind {
	case wire.KindTCP:
		s.receiveTCP(from, f, network, handed)
	case wire.KindICMPError:
		s.receiveICMP(from, f, handed)
	case wire.KindFragment:
		s.receiveOdd(Fragmented, splice.Fragment, from, f)
	case wire.KindIPOptions:
		s.receiveOdd(IPOptions, splice.IPOption, from, f)
	case wire.KindBad:
		s.passFor(Malformed, from, f)
	default:
		s.passFor(NotTCP, from, f)
	}
}

// receiveTCP asks the flow of a segment what becomes of it.
func (s *shard) receiveTCP(from splice.Side, f *link.Frame, network splice.Network, handed bool) {
	v := &s.view
	// What is partial or marked valid needs no look (RFC 9293, MUST-3: the
	// rest does). A corrupted segment changes nothing here.
	if !v.Partial && f.Virtio.Flags&wire.VirtioDataValid == 0 && !v.ChecksumOK() {
		s.passFor(BadChecksum, from, f)
		return
	}
	client := v.Tuple()
	if from == splice.Server {
		client = client.Reverse()
	}
	fl := s.attend(&client)
	if fl == nil && !handed && !v.Flags().Has(wire.SYN) {
		if to := s.other(client); to != nil {
			s.count.handoff.tcp++
			s.hand(to, from, f)
			return
		}
	}
	meta := s.meta(network)
	s.read(f)
	if fl == nil && s.answers && from == splice.Client && s.early(client, meta) {
		return
	}
	if fl != nil {
		was := fl.State()
		taken := s.offer(fl, from, meta) == splice.Taken
		if from == splice.Client {
			s.detours(fl)
		}
		switch {
		case taken:
			return
		case fl.Reopening() || was == splice.Gone:
			// It may be of another connection. Who has the old one takes no SYN
			// before the reset that the old one still has to send.
			if s.segment.Flags.Has(wire.SYN) {
				s.sendFlow(fl)
			}
		default:
			s.segment.Drop()
			s.passFlow(fl, from, f)
			return
		}
		s.ready(fl)
	}
	made, why := s.handshake(from, client, fl, meta)
	if made != nil {
		taken := s.offer(made, from, meta) == splice.Taken
		if from == splice.Client {
			s.detours(made)
		}
		if !taken {
			s.segment.Drop()
			s.count.reasons[why]++
			s.passFlow(made, from, f)
		}
		return
	}
	s.segment.Drop()
	if why == Rewritten {
		s.count.reasons[why]++
		return
	}
	s.passFor(why, from, f)
}

// offer gives the segment to its flow.
func (s *shard) offer(fl *flow, from splice.Side, meta splice.Meta) splice.Disposition {
	s.place(fl).heard = s.now
	s.backlog.read(s.view.End-s.view.L3, fl.at)
	s.current = fl
	disposition := fl.Receive(s.now, from, &s.segment, meta)
	s.current = nil
	if fl.active || fl.State() != splice.OnWire || fl.Owes() || s.late(fl) {
		s.ready(fl)
	}
	return disposition
}

// meta is what a flow is told of the packet in view beside the segment. The TTL
// is what the packet had before the kernel, or route, forwarded it to the tap.
func (s *shard) meta(network splice.Network) splice.Meta {
	v := &s.view
	return splice.Meta{TTL: above(v.TTL()), TOS: v.TOS(), FlowLabel: v.FlowLabel(), From: network}
}

// above gives the TTL one hop back.
func above(ttl uint8) uint8 {
	if ttl == 255 {
		return ttl
	}
	return ttl + 1
}

// read fills the shard's segment from the frame in view.
func (s *shard) read(f *link.Frame) {
	v, seg := &s.view, &s.segment
	seg.Seq, seg.Ack = v.Seq(), v.Ack()
	seg.Flags, seg.ECN, seg.Window, seg.Urgent = v.Flags(), v.ECN(), v.Window(), v.Urgent()
	seg.Options.Decode(v.OptionBytes())
	seg.Payload, seg.GSOSize = buf.Ref{}, int(f.Virtio.GSOSize)
	if v.Data < v.End {
		seg.Payload = f.Ref(v.Data, v.End)
	}
}

// receiveICMP asks the flow that an ICMP error quotes. Only news of a packet too
// big concern accd, and of a server that it asks in its own name; all others are
// the endpoints' business (RFC 5927, 5).
func (s *shard) receiveICMP(from splice.Side, f *link.Frame, handed bool) {
	v := &s.view
	mtu, tooBig := v.PacketTooBig()
	if !v.Partial && f.Virtio.Flags&wire.VirtioDataValid == 0 && !v.ChecksumOK() {
		s.passFor(ICMPError, from, f)
		return
	}
	quoted, seq := v.Quote()
	// The quoted packet went to the server, or else to the client.
	client, to := quoted, splice.Server
	fl := s.attend(&client)
	if fl == nil {
		client, to = quoted.Reverse(), splice.Client
		fl = s.attend(&client)
	}
	if fl != nil {
		s.current = fl
		var disposition splice.Disposition
		if tooBig {
			disposition = fl.PacketTooBig(s.now, to, seq, mtu)
		} else {
			disposition = fl.Unreachable(s.now, to, seq, v.Unreachable())
		}
		s.current = nil
		s.ready(fl)
		if disposition == splice.Pass {
			s.passFor(ICMPError, from, f)
		}
		return
	}
	for _, client := range [2]wire.Tuple{quoted, quoted.Reverse()} {
		if owner := s.other(client); owner != nil && !handed {
			s.count.handoff.icmp++
			s.hand(owner, from, f)
			return
		}
	}
	s.passFor(ICMPError, from, f)
}

// receiveOdd passes a packet with IP options or a fragment. If it shows the
// ports of a flow and a number that fits, that flow drains first (custody.md, "URG,
// unknown option, IP option, fragment").
func (s *shard) receiveOdd(why Reason, drain splice.Reason, from splice.Side, f *link.Frame) {
	v := &s.view
	if client, seq, ok := v.TCPTuple(); ok {
		if from == splice.Server {
			client = client.Reverse()
		}
		if fl := s.attend(&client); fl != nil {
			s.current = fl
			fl.Unreadable(s.now, from, seq, drain)
			s.current = nil
			s.ready(fl)
		}
	}
	s.passFor(why, from, f)
}
