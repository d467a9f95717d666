package simnet

import (
	"fmt"
	"strings"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Packet is one TCP packet, or superpacket, between two nodes. Nobody changes
// it once it was sent: what differs is a copy.
type Packet struct {
	Flow     int         // which connection of the simulation
	From     splice.Side // the endpoint whose address it carries as source
	Is6      bool
	Seq, Ack wire.Seq
	Flags    wire.Flags
	ECN      wire.ECN
	Window   uint16 // as on the wire
	Urgent   uint16
	Options  wire.Options
	Data     []byte
	GSOSize  int     // payload bytes per segment of a superpacket; 0: one segment
	Bad      bool    // the checksum is wrong
	Forged   bool    // made by an attacker,
	Borrowed *Packet // who has seen this one of the same endpoint
}

// Len gives the length in sequence space (RFC 9293, 3.4).
func (p *Packet) Len() int {
	n := len(p.Data)
	if p.Flags.Has(wire.SYN) {
		n++
	}
	if p.Flags.Has(wire.FIN) {
		n++
	}
	return n
}

// End gives the sequence number behind the packet.
func (p *Packet) End() wire.Seq { return p.Seq.Add(p.Len()) }

// headers gives the bytes of a packet of this kind before its payload, from the
// IP header on.
func (p *Packet) headers() int {
	var room [40]byte
	n := wire.IPv4Len
	if p.Is6 {
		n = wire.IPv6Len
	}
	return n + wire.TCPLen + p.Options.Encode(room[:])
}

// overWire gives o as it arrives: encoded and decoded, so that what does not
// fit or cannot be said is lost here as it is outside.
func overWire(o *wire.Options) (got wire.Options) {
	var room [40]byte
	got.Decode(room[:o.Encode(room[:])])
	return got
}

// packetOf copies what a Conn or a Flow wants to send.
func packetOf(p *tcpstack.Packet) *Packet {
	q := &Packet{Seq: p.Seq, Ack: p.Ack, Flags: p.Flags, ECN: p.ECN, Window: p.Window, Urgent: p.Urgent, Options: overWire(&p.Options), GSOSize: p.GSOSize}
	q.Data = make([]byte, 0, p.Len)
	for _, b := range p.Payload {
		q.Data = append(q.Data, b...)
	}
	return q
}

// segment copies the packet into a Segment, its payload into pool.
func (p *Packet) segment(pool *buf.Pool, s *tcpstack.Segment) {
	*s = tcpstack.Segment{
		Seq: p.Seq, Ack: p.Ack, Flags: p.Flags, ECN: p.ECN, Window: p.Window,
		Options: p.Options, GSOSize: p.GSOSize,
	}
	if len(p.Data) > 0 {
		s.Payload = pool.Copy(p.Data)
	}
}

// describe gives the packet in one line, much as tcpdump does, with sequence
// numbers counted from the two initial ones.
func (p *Packet) describe(iss [2]wire.Seq) string {
	var b strings.Builder
	own, peer := iss[p.From], iss[p.From.Other()]
	fmt.Fprintf(&b, "%c %-2v %d:%d(%d)", "CS"[p.From], p.Flags, p.Seq.Sub(own), p.Seq.Add(len(p.Data)).Sub(own), len(p.Data))
	if p.Flags.Has(wire.ACK) {
		fmt.Fprintf(&b, " ack %d", p.Ack.Sub(peer))
	}
	fmt.Fprintf(&b, " win %d", p.Window)
	o := &p.Options
	if o.Has(wire.HasTS) {
		fmt.Fprintf(&b, " ts %d/%d", o.TSVal, o.TSEcr)
	}
	if o.Has(wire.HasMSS) {
		fmt.Fprintf(&b, " mss %d", o.MSS)
	}
	if o.Has(wire.HasWScale) {
		fmt.Fprintf(&b, " wscale %d", o.WScale)
	}
	if o.Has(wire.HasSACKPermitted) {
		b.WriteString(" sackOK")
	}
	for _, s := range o.Blocks() {
		fmt.Fprintf(&b, " sack %d:%d", s.Left.Sub(peer), s.Right.Sub(peer))
	}
	if p.GSOSize > 0 {
		fmt.Fprintf(&b, " gso %d", p.GSOSize)
	}
	if p.ECN != wire.NotECT {
		fmt.Fprintf(&b, " %v", p.ECN)
	}
	if p.Bad {
		b.WriteString(" bad checksum")
	}
	if p.Forged {
		b.WriteString(" forged")
	}
	return b.String()
}
