package tcpstack

// Entering a busy flow: docs/custody.md, Shadow, is to be read first.

import (
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// shadowOrigin is the offset at which a Shadow begins, so that the numbers of a
// window before it have offsets too.
const shadowOrigin = wire.MaxWindow

// Shadow keeps references to the bytes of one direction that pass between two
// endpoints, as the Conn of their receiver would: in order in a Stream, behind
// holes in reassembly. Two Conns go on with it at any moment. The zero Shadow
// holds nothing; Begin comes first.
type Shadow struct {
	stream Stream
	reasm  reassembly
	seq0   wire.Seq // of the stream's offset 0
}

// Begin forgets what is held. The bytes from at on are to be kept.
func (s *Shadow) Begin(at wire.Seq) {
	s.Release()
	s.stream.Discard(shadowOrigin)
	s.seq0 = at.Add(-shadowOrigin)
}

// Release forgets what is held.
func (s *Shadow) Release() {
	s.stream.Reset()
	s.reasm.reset()
}

// First gives the oldest byte that is kept, or is to be.
func (s *Shadow) First() wire.Seq { return s.seq(s.stream.base) }

// Next gives where the bytes in order end.
func (s *Shadow) Next() wire.Seq { return s.seq(s.stream.end) }

// Len gives the bytes held.
func (s *Shadow) Len() int { return s.stream.Len() + s.reasm.bytes }

// Insert takes ref, the bytes from seq on, and keeps what it does not have of
// them. Of bytes that come twice the first stay.
func (s *Shadow) Insert(now mono.Time, seq wire.Seq, ref buf.Ref) {
	d, n := seq.Sub(s.Next()), ref.Len()
	switch {
	case d+n <= 0:
		ref.Release()
	case d > 0:
		s.reasm.insert(now, s.stream.end+uint64(d), ref)
	default:
		s.stream.Append(ref.Slice(-d, n))
		s.pull(now)
	}
}

// Discard releases the bytes before to: their receiver has them.
func (s *Shadow) Discard(now mono.Time, to wire.Seq) {
	if d := to.Sub(s.First()); d > 0 {
		s.stream.Discard(s.stream.base + uint64(d))
		s.pull(now)
	}
}

func (s *Shadow) pull(now mono.Time) { s.reasm.pull(now, &s.stream) }

func (s *Shadow) seq(off uint64) wire.Seq { return s.seq0.Add(int(uint32(off))) }

// Give moves the bytes in order to an empty Stream, for both Conns to be resumed
// with.
func (s *Shadow) Give(to *Stream) { *to, s.stream = s.stream, *to }

// AdoptOut tells the Conn that sends the bytes of s which of those behind holes
// its peer was sent before: as soon as they are in the Stream they count as sent.
// It comes after Resume and before AdoptIn of the other Conn.
func (c *Conn) AdoptOut(s *Shadow) { c.passed = append(c.passed[:0], s.reasm.ranges...) }

// AdoptIn moves what waits behind holes of s to the reassembly of the Conn that
// receives it, after Resume.
func (c *Conn) AdoptIn(s *Shadow) {
	if s.reasm.empty() {
		return
	}
	c.reasm, s.reasm = s.reasm, c.reasm
	s.reasm.reset()
	c.oweNow()
}

// adopt counts the next n bytes as in flight, sent by the endpoint they come from
// within the last round trip: before all that the Conn sends, and what is
// delivered of them tells what of them is lost (RFC 8985, 6.2). Neither a round
// trip nor a rate is known from them.
func (c *Conn) adopt(now mono.Time, n uint64) {
	c.control.Sent(now, int(n), c.flight)
	c.record(now, n)
	r := c.sent.last()
	c.rate.sent(now, r, c.flight-int(n))
	r.at = now.Add(-c.rtt.srtt)
	r.again, r.appLimited = true, true
	c.arm(now, 0)
}

// unsent gives the end of the bytes from nxt on that nobody has sent yet.
func (c *Conn) unsent(now mono.Time) uint64 {
	for len(c.passed) > 0 {
		p := &c.passed[0]
		if c.nxt < p.off {
			return min(p.off, c.out.end)
		}
		if end := min(p.end, c.out.end); c.nxt < end {
			c.adopt(now, end-c.nxt)
		}
		if c.nxt < p.end {
			break
		}
		c.passed = c.passed[:copy(c.passed, c.passed[1:])]
	}
	return c.out.end
}
