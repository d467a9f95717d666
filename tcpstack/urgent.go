package tcpstack

// Urgent data: a mark in a Stream, the first byte behind it. Read RFC 9293 3.8.5 and
// RFC 6093 first. The bytes themselves stay where they are in the stream; whether
// the last of them is taken out of it is for applications to agree on.

import (
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// SetUrgent says that the bytes before offset to, which may not be here yet, are
// urgent. A mark moves on, never back (RFC 9293, 3.8.5).
func (s *Stream) SetUrgent(to uint64) { s.urgent = max(s.urgent, to) }

// Urgent gives the offset behind the urgent bytes; ok is false when there are none
// that were not read, or acknowledged.
func (s *Stream) Urgent() (to uint64, ok bool) { return s.urgent, s.urgent > s.base }

// receiveUrgent is the sixth step: the pointer counts from the segment's first byte,
// whatever of it the window takes, to the first that is not urgent (RFC 9293,
// MUST-62, MUST-66; RFC 6093, 3).
func (c *Conn) receiveUrgent(s *Segment) {
	if !s.Flags.Has(wire.URG) || c.FINReceived() {
		return
	}
	if to := int64(c.in.end) + int64(s.Seq.Add(int(s.Urgent)).Sub(c.rcvSeq(c.in.end))); to > 0 {
		c.in.SetUrgent(uint64(to))
	}
}

// stampUrgent tells of the mark in a packet that begins at offset off. One that is
// further away than the field can say waits for a later packet: a pointer to
// somewhere before it would name a byte that is not urgent.
func (c *Conn) stampUrgent(p *Packet, off uint64) {
	if to, ok := c.out.Urgent(); ok && off < to && to-off <= 65535 {
		p.Flags |= wire.URG
		p.Urgent = uint16(to - off)
		c.urgentTold = to
	}
}

// sendUrgent tells of a mark that no data can carry, since the peer's window is
// closed (RFC 9293, 3.8.5): an ACK with the pointer.
func (c *Conn) sendUrgent(now mono.Time, p *Packet) bool {
	to, ok := c.out.Urgent()
	if !ok || to == c.urgentTold || to <= c.nxt || to-c.nxt > 65535 || c.usable() > 0 {
		return false
	}
	c.sendAck(now, p)
	c.stampUrgent(p, c.nxt)
	return true
}
