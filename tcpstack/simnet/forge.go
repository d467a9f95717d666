package simnet

import (
	"accd/splice"
	"accd/tcpstack/wire"
)

// Forgery is a kind of packet that somebody without the endpoints' consent puts
// into a connection whose addresses and ports are known. Each of them is
// harmless to an endpoint that follows RFC 9293, 5961 and 7323; the test is
// that accd between two of them makes it no worse.
type Forgery int

// The kinds.
const (
	Blind        Forgery = iota // everything but the tuple is random
	ResetInside                 // an RST in the window, but not where the next byte is
	ResetOld                    // an RST left of the window
	AckBeyond                   // the right sequence number, an ACK of what was never sent
	DataAckBound                // the same with data
	StampHigh                   // a TSval far ahead on a segment left of the window
	StampLow                    // data at the right place with a TSval far behind
	Urgent                      // an empty segment that differs from a genuine one by URG
	NewSyn                      // a SYN with a number of its own
	NewSynAck                   // a SYN-ACK likewise
	BadSum                      // data and an RST at the right place with a wrong checksum
	Forgeries    = iota
)

// forge makes a packet of a kind that seems to come from side. It gives nil
// where the kind makes no sense yet.
func (n *Network) forge(kind Forgery, side splice.Side) *Packet {
	r := n.Sim.Rand
	last, answer := n.genuine[side], n.genuine[side.Other()]
	if last == nil || answer == nil {
		return nil
	}
	// Sequence numbers that no byte of either stream ever has.
	beyond := func(s splice.Side) wire.Seq {
		return n.Hosts[s].iss.Add(1 + int(n.Hosts[s].app.Total()) + 2 + r.IntN(1<<16))
	}
	p := &Packet{
		From: side, Is6: last.Is6, Forged: true, Borrowed: last,
		Seq: n.sentUpTo[side], Ack: last.Ack, Flags: wire.ACK, Window: uint16(r.Uint32()), Options: last.Options,
	}
	p.Options.Set &= wire.HasTS
	p.Options.NSACK = 0
	stamps := p.Options.Has(wire.HasTS)
	garbage := func() {
		p.Data = make([]byte, 1+r.IntN(1400))
		for i := range p.Data {
			p.Data[i] = byte(r.Uint32())
		}
	}
	switch kind {
	case Blind:
		kinds := []wire.Flags{wire.ACK, wire.RST, wire.RST | wire.ACK, wire.SYN, wire.FIN | wire.ACK, wire.URG | wire.ACK, wire.PSH | wire.ACK, wire.SYN | wire.ACK, 0}
		p.Flags = kinds[r.IntN(len(kinds))]
		p.Seq, p.Ack, p.Urgent = wire.SeqOf(r.Uint32()), wire.SeqOf(r.Uint32()), uint16(r.Uint32())
		p.Options.TSVal, p.Options.TSEcr = r.Uint32(), r.Uint32()
		if !p.Flags.Any(wire.SYN | wire.RST) {
			garbage()
		}
	case ResetInside:
		p.Flags, p.Seq = wire.RST, beyond(side)
	case ResetOld:
		p.Flags, p.Seq = wire.RST, n.Hosts[side].iss.Add(-1000-r.IntN(1<<20))
	case AckBeyond, DataAckBound:
		p.Ack = beyond(side.Other())
		if kind == DataAckBound {
			garbage()
		}
	case StampHigh:
		if !stamps || n.Box == nil {
			return nil
		}
		// Left of the window as accd knows it, too: the endpoint may be further,
		// but in its place accd cannot know that.
		p.Seq = n.Box.Seen.side[side.Other()].told.Add(-1 - r.IntN(60000))
		p.Options.TSVal += 1 << 30
	case StampLow:
		if !stamps {
			return nil
		}
		p.Options.TSVal -= 1 << 30
		garbage()
	case Urgent:
		if last.Flags.Has(wire.SYN) {
			return nil
		}
		p.Forged = false // what it acknowledges is true
		p.Flags |= wire.URG
		p.Urgent = uint16(r.Uint32())
		p.Window = last.Window
	case NewSyn:
		p.Flags, p.Seq = wire.SYN, wire.SeqOf(r.Uint32())
		p.Options.TSVal, p.Options.TSEcr = r.Uint32(), 0
	case NewSynAck:
		p.Flags, p.Seq = wire.SYN|wire.ACK, wire.SeqOf(r.Uint32())
		p.Options.TSVal = r.Uint32()
	case BadSum:
		p.Bad = true
		if r.IntN(2) == 0 {
			p.Flags = wire.RST
		} else {
			garbage()
		}
	}
	return p
}
