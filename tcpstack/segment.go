package tcpstack

import (
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Segment is one TCP segment, or superpacket, as it came in. Its receiver takes
// the payload reference.
type Segment struct {
	Seq, Ack wire.Seq
	Flags    wire.Flags
	ECN      wire.ECN // of its IP header
	Window   uint16   // as on the wire, unscaled
	Urgent   uint16   // the urgent pointer, meaningful with URG
	Options  wire.Options
	Payload  buf.Ref
	GSOSize  int // payload bytes of each segment it stands for, but the last; 0: it is one
}

// Count gives how many segments of the wire it stands for.
func (s *Segment) Count() int {
	if n := s.Payload.Len(); s.GSOSize > 0 && n > s.GSOSize {
		return (n + s.GSOSize - 1) / s.GSOSize
	}
	return 1
}

// Len gives the length in sequence space: payload, SYN and FIN (RFC 9293, 3.4).
func (s *Segment) Len() int {
	n := s.Payload.Len()
	if s.Flags.Has(wire.SYN) {
		n++
	}
	if s.Flags.Has(wire.FIN) {
		n++
	}
	return n
}

// End gives the sequence number behind the segment.
func (s *Segment) End() wire.Seq { return s.Seq.Add(s.Len()) }

// Drop releases the payload of a segment that nobody took.
func (s *Segment) Drop() {
	s.Payload.Release()
	s.Payload = buf.Ref{}
}

// Packet is one TCP packet to send. Payload borrows from a Stream: it is valid
// until the next call into the Conn or the Stream. One Packet is reused.
type Packet struct {
	Seq, Ack wire.Seq
	Flags    wire.Flags // CWR is the first segment's alone
	ECN      wire.ECN   // for the IP header
	Window   uint16     // as on the wire, scaled
	Urgent   uint16     // the urgent pointer, 0 without URG
	Options  wire.Options
	Payload  [][]byte
	Len      int // bytes in Payload
	GSOSize  int // payload bytes per segment when Len is larger; 0: one segment
}

// reset makes p empty and keeps the room of Payload.
func (p *Packet) reset() {
	p.Flags, p.ECN, p.Window, p.Urgent, p.Len, p.GSOSize = 0, 0, 0, 0, 0, 0
	p.Options.Set, p.Options.NSACK = 0, 0
	p.Payload = p.Payload[:0]
}
